"""Receptive fields, in theory and by gradients."""

import keras
import numpy as np
import pytest
from keras import layers

from keras_resnet.analysis.receptive_field import (
    effective_receptive_field,
    theoretical_receptive_field,
)
from tests.helpers.reference import images
from tests.helpers.small_nets import SIZE, data, shared_net


def chain(*found, side=15):
    """Layers one behind the other, with kernels of ones."""
    inputs = keras.Input((side, side, 1))
    x = inputs
    for layer in found:
        x = layer(x)
    model = keras.Model(inputs, x, name="chain")
    for weight in model.weights:
        if weight.path.endswith("kernel"):
            weight.assign(np.ones(weight.shape))
    return model


def test_the_gradient_of_convolutions_of_ones_is_binomial():
    model = chain(*[layers.Conv2D(1, 3, padding="same") for _ in range(2)])
    done = []
    found = effective_receptive_field(
        model, images(3, 15, 15, 1), batch_size=2, progress=lambda *n: done.append(n)
    )
    assert done == [(2, 3), (3, 3)]
    row = np.zeros(15)
    row[5:10] = [1, 2, 3, 2, 1]
    np.testing.assert_allclose(found.gradient, np.outer(row, row) / 9, rtol=1e-6)
    # Of each axis two variances of 2/3.
    assert found.radius == pytest.approx(np.sqrt(8 / 3), rel=1e-6)
    assert found.theoretical == (5, 5) and found.images == 3
    assert found.side() == 5 and found.side(0.5) == np.sqrt(5)


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (
            [layers.Conv2D(2, 7, strides=2, padding="same"), layers.MaxPooling2D(3, 2)],
            11,
        ),
        ([layers.Conv2D(2, 3, dilation_rate=2), layers.DepthwiseConv2D(3)], 7),
        ([layers.AveragePooling2D(2, padding="same"), layers.Conv2D(1, 3)], 6),
        (
            [layers.ZeroPadding2D(1), layers.Conv2D(2, 3, strides=2), layers.ReLU()]
            + [layers.Conv2D(2, (3, 3), padding="same")],
            7,
        ),
        ([layers.SeparableConv2D(2, 5, strides=2), layers.Conv2D(1, 1)], 5),
    ],
)
def test_what_a_unit_can_see(found, expected):
    model = chain(*found)
    assert theoretical_receptive_field(model) == (expected, expected)


def test_networks_see_what_the_formula_says():
    # The stem, 4 in stage 1, then the first block of stage 2 with its stride, and one.
    model = shared_net()
    seen = 1 + 2 * (1 + 4 + 1) + 4 * 3
    assert theoretical_receptive_field(model) == (seen, seen)
    assert theoretical_receptive_field(model, layer="stem_conv") == (3, 3)
    nested = keras.Sequential(
        [keras.Input(SIZE), keras.Model(model.input, model.output)]
    )
    assert theoretical_receptive_field(nested) == (seen, seen)
    (x, _), before = data(4), model.get_weights()
    found = effective_receptive_field(model, x, layer="stage1_block1_1_conv")
    for a, b in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    assert found.theoretical == (5, 5)
    outside = found.gradient.copy()
    outside[2:7, 2:7] = 0
    assert not outside.any() and (found.gradient[2:7, 2:7] > 0).all()
    assert found.gradient.max() == 1 and 0 < found.radius < 2.5


def test_what_takes_the_whole_image_has_no_window():
    inputs = keras.Input((8, 8, 4))
    gate = layers.GlobalAveragePooling2D(keepdims=True)(inputs)
    maps = layers.Multiply()([inputs, layers.Conv2D(4, 1)(gate)])
    model = keras.Model(inputs, layers.Conv2D(2, 3)(maps))
    assert theoretical_receptive_field(model) is None


def test_a_unit_that_depends_on_nothing():
    model = chain(layers.Conv2D(1, 3))
    model.layers[1].kernel.assign(np.zeros((3, 3, 1, 1)))
    found = effective_receptive_field(model, images(1, 15, 15, 1))
    assert np.isnan(found.radius) and not found.gradient.any() and found.side() == 0


def test_what_does_not_fit_is_refused():
    model, (x, _) = shared_net(), data(2)
    with pytest.raises(ValueError, match="shape of the model's input"):
        effective_receptive_field(model, x[:, :7])
    with pytest.raises(ValueError, match="4 dimensions.*'logits'"):
        effective_receptive_field(model, x, layer="logits")
    bad = chain(layers.Conv2D(1, 3))
    bad.layers[1].bias.assign([np.nan])
    with pytest.raises(ValueError, match="finite"):
        effective_receptive_field(bad, images(1, 15, 15, 1))


def test_channels_that_a_function_pads_move_nothing():
    # As option A's shortcuts of runs of before, whose graph has `keras.ops.pad`.
    inputs = keras.Input((9, 9, 2))
    x = layers.Conv2D(2, 3, padding="same")(inputs)
    channels = keras.ops.pad(x, ((0, 0), (0, 0), (0, 0), (1, 1)))
    border = keras.ops.pad(x, ((0, 0), (1, 0), (0, 0), (0, 0)))
    for padded, sides in ((channels, (3, 3)), (border, None)):
        model = keras.Model(inputs, layers.ReLU(name="last")(padded))
        assert theoretical_receptive_field(model, layer="last") == sides
