"""Class activation maps, Grad-CAM and occlusion, and what they are asked for."""

import functools

import keras
import numpy as np
import pytest
from keras import layers

from keras_resnet.analysis.attribution import (
    class_activation_map,
    grad_cam,
    occlusion,
)
from keras_resnet.analysis.filters import first_filters
from tests.helpers.reference import called, images, with_random_weights
from tests.helpers.small_nets import CLASSES, data, shared_net


@functools.cache
def ending(*end, side=8):
    """A convolution, and what is at the end of a network."""
    inputs = keras.Input((side, side, 3))
    x = inputs
    for layer in [layers.Conv2D(4, 3, padding="same", name="conv"), *end]:
        x = layer(x)
    return with_random_weights(keras.Model(inputs, x, name="ending"))


def test_grad_cam_is_the_class_activation_map():
    model, (x, _) = shared_net(), data(5)
    before = model.get_weights()
    cam = class_activation_map(model, x, 2, batch_size=3)
    grad = grad_cam(model, x, 2, batch_size=3)
    for a, b in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    assert cam.layer == grad.layer == model.layers[-3].name
    assert cam.maps.shape == (5, 4, 4) and (cam.method, grad.method) == (
        "cam",
        "grad_cam",
    )
    np.testing.assert_allclose(grad.maps, cam.maps / 16, atol=1e-6, rtol=0)
    # What its mean is.
    bias = np.asarray(model.get_layer("logits").bias)[2]
    np.testing.assert_allclose(cam.maps.mean(axis=(1, 2)) + bias, cam.scores, rtol=1e-4)
    np.testing.assert_allclose(cam.scores, called(model, x)[:, 2], rtol=1e-4)


def test_the_predicted_class_is_the_default():
    model, (x, _) = shared_net(), data(5)
    predicted = called(model, x).argmax(axis=1)
    found = class_activation_map(model, x)
    np.testing.assert_array_equal(found.classes, predicted)
    given = class_activation_map(model, x, predicted)
    np.testing.assert_array_equal(found.maps, given.maps)
    assert predicted.all()  # Not the first class.


def test_scores_are_those_before_a_softmax_and_through_nested_models():
    x = images(2, 8, 8, 3)
    pooled = layers.GlobalAveragePooling2D()
    plain = ending(pooled, layers.Dense(CLASSES, name="logits"))
    expected = grad_cam(plain, x, 1)
    inner = keras.Sequential(plain.layers[:2])
    inputs = keras.Input((8, 8, 3))
    y = layers.GlobalAveragePooling2D(keepdims=True)(inner(inputs))
    y = layers.Dropout(0.5)(layers.Flatten()(y))
    softmax = layers.Dense(CLASSES, activation="softmax")
    last = keras.Model(inputs, layers.Activation("linear")(softmax(y)))
    softmax.set_weights(plain.get_layer("logits").get_weights())
    apart = keras.Model(plain.input, layers.Softmax()(plain.output))
    for model in (last, apart):
        for found in (grad_cam(model, x, 1), class_activation_map(model, x, 1)):
            assert found.layer == "conv"
            positions = 64 if found.method == "cam" else 1
            np.testing.assert_allclose(found.maps / positions, expected.maps, atol=1e-6)
            np.testing.assert_allclose(found.scores, expected.scores, rtol=1e-5)


def test_a_network_that_pools_a_map_for_each_class():
    model, x = ending(layers.GlobalAveragePooling2D()), images(2, 8, 8, 3)
    maps = called(keras.Model(model.input, model.get_layer("conv").output), x)
    found = class_activation_map(model, x, [3, 0])
    expected = [maps[0, ..., 3], maps[1, ..., 0]]
    np.testing.assert_allclose(found.maps, expected, rtol=1e-5)
    grad = grad_cam(model, x, [3, 0])
    np.testing.assert_allclose(grad.maps, found.maps / 64, atol=1e-6)


def test_grad_cam_of_any_layer_is_the_derivative():
    # A residual, past which the shortcut leads, against finite differences.
    model, (x, _) = shared_net(), data(2)
    layer = "stage1_block2_2_bn"
    found = grad_cam(model, x, 1, layer=layer)
    norm = model.get_layer(layer)
    maps = called(keras.Model(model.input, norm.output), x)
    beta, step = np.asarray(norm.beta), 1e-2
    slopes = []
    try:
        for channel in range(len(beta)):
            ends = []
            for sign in (1, -1):
                norm.beta.assign(beta + sign * step * np.eye(len(beta))[channel])
                ends.append(called(model, x)[:, 1])
            slopes.append((ends[0] - ends[1]) / (2 * step))
    finally:
        norm.beta.assign(beta)
    # The bias of a channel is in all 64 positions.
    expected = np.einsum("nhwc,cn->nhw", maps, np.array(slopes) / 64)
    np.testing.assert_allclose(found.maps, expected, atol=0.02 * np.abs(expected).max())


def test_grad_cam_without_global_pooling():
    model = ending(layers.Flatten(), layers.Dense(CLASSES, name="logits"))
    x = images(2, 8, 8, 3)
    found = grad_cam(model, x, 2)
    maps = called(keras.Model(model.input, model.get_layer("conv").output), x)
    kernel = np.asarray(model.get_layer("logits").kernel)[:, 2].reshape(8, 8, 4)
    expected = maps @ kernel.mean(axis=(0, 1))
    np.testing.assert_allclose(found.maps, expected, atol=1e-5)
    with pytest.raises(
        ValueError, match="global average pooling.*'ending'.*`grad_cam`"
    ):
        class_activation_map(model, x)


def test_heat_is_a_picture():
    found = class_activation_map(shared_net(), data(5)[0], 2)
    heat = found.heat()
    assert heat.shape == (5, 8, 8)
    assert heat.min() == 0
    np.testing.assert_array_equal(heat.max(axis=(1, 2)), 1)
    below = heat[:, 1::2, 1::2] == 0
    assert below[found.maps < -np.abs(found.maps).max() / 2].all()


def test_occlusion_is_what_the_class_loses():
    model = ending(layers.GlobalAveragePooling2D(), layers.Dense(CLASSES))
    x = images(3, 8, 8, 3)
    done = []
    found = occlusion(
        model, x, 2, patch=4, stride=4, value=0.5, progress=lambda *n: done.append(n)
    )
    assert done == [(1, 4), (2, 4), (3, 4), (4, 4)]
    softmax = keras.Model(model.input, layers.Softmax()(model.output))
    covered = x.copy()
    covered[:, :4, 4:] = 0.5
    fall = called(softmax, x)[:, 2] - called(softmax, covered)[:, 2]
    np.testing.assert_allclose(
        found.maps[:, :4, 4:], np.tile(fall[:, None, None], (4, 4)), atol=1e-6
    )
    # The same of the network with its softmax; by default, the mean colour covers.
    again = occlusion(softmax, x, 2, patch=4, stride=4, value=0.5)
    np.testing.assert_allclose(again.maps, found.maps, atol=1e-6)
    flat = np.broadcast_to(x.mean(axis=(1, 2), keepdims=True), x.shape)
    np.testing.assert_allclose(occlusion(model, flat, 2).maps, 0, atol=1e-6)


def test_patches_that_overlap_end_with_the_image():
    model = ending(layers.GlobalAveragePooling2D(), layers.Dense(CLASSES))
    done = []
    found = occlusion(
        model, images(1, 8, 8, 3), patch=3, stride=2, progress=lambda *n: done.append(n)
    )
    assert done[-1] == (16, 16)  # From 0, 2, 4 and 5.
    assert np.isfinite(found.maps).all() and found.maps.shape == (1, 8, 8)
    assert found.maps[0].std() > 0


def test_filters_are_images():
    model = shared_net()
    found = first_filters(model)
    assert found.layer == "stem_conv"
    kernel = np.asarray(model.get_layer("stem_conv").kernel)
    assert found.images.shape == (4, 3, 3, 3)
    assert found.images.min() >= 0 and found.images.max() <= 1
    weights = (2 * found.images - 1) * found.greatest[:, None, None, None]
    np.testing.assert_allclose(np.moveaxis(weights, 0, -1), kernel, atol=1e-6)
    reached = np.abs(2 * found.images - 1).max(axis=(1, 2, 3))
    np.testing.assert_allclose(reached, 1, rtol=1e-6)


@pytest.mark.parametrize("analysis", [class_activation_map, grad_cam, occlusion])
def test_what_does_not_fit_is_refused(analysis):
    model, (x, _) = shared_net(), data(2)
    with pytest.raises(ValueError, match="0 ... 4.*Received: labels from 5 to 5"):
        analysis(model, x, 5)
    with pytest.raises(
        ValueError, match="one per image.*2 images, labels of shape .3,"
    ):
        analysis(model, x, [1, 2, 3])
    with pytest.raises(ValueError, match=r"shape of the model's input.*\(2, 9, 8, 3\)"):
        analysis(model, np.zeros((2, 9, 8, 3)))
    one = ending(layers.GlobalAveragePooling2D(), layers.Dense(1))
    with pytest.raises(ValueError, match="two or more classes"):
        analysis(one, x)
    nan = ending(layers.GlobalAveragePooling2D(), layers.Dense(3, name="logits"))
    nan.get_layer("logits").bias.assign([0, np.nan, 0])
    with pytest.raises(ValueError, match="finite.*logits"):
        analysis(nan, x)


def test_layers_that_have_no_maps_are_refused():
    model, (x, _) = shared_net(), data(2)
    with pytest.raises(ValueError, match="name of a layer.*'conv9'.*logits"):
        grad_cam(model, x, layer="conv9")
    with pytest.raises(ValueError, match="4 dimensions.*'logits'"):
        grad_cam(model, x, layer="logits")
    inputs = keras.Input((4,))
    dense = keras.Model(inputs, layers.Dense(3)(inputs), name="dense")
    with pytest.raises(ValueError, match="feature maps.*'dense'"):
        grad_cam(dense, np.zeros((2, 4)))
    with pytest.raises(ValueError, match="1 or 3 channels.*'dense'.*None"):
        first_filters(dense)


@pytest.mark.slow
def test_patches_that_do_not_fit_are_refused():
    model, (x, _) = shared_net(), data(2)
    for options in ({"patch": 9}, {"patch": 0}, {"patch": 2, "stride": 3}):
        with pytest.raises(ValueError, match="`patch` must be.*8x8 pixels"):
            occlusion(model, x, **options)
