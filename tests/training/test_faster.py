"""Networks whose layers train faster: the gradients are those of Keras's own layers."""

from functools import partial

import keras
import numpy as np
import pytest

from keras_resnet.training.faster import PointwiseConv2D, faster

tf = pytest.importorskip("tensorflow")
pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="on other backends nothing changes"
)


def convolving(kernel=1, dtype="mixed_bfloat16", **options):
    """A network of one convolution with a bias."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((None, None, 16))
    conv = keras.layers.Conv2D(8, kernel, padding="same", dtype=dtype, **options)
    return keras.Model(inputs, conv(inputs))


def gradients(model, x, weights):
    """Outputs, and gradients of a weighted sum of them, in float32."""
    with tf.GradientTape() as tape:
        tape.watch(x)
        outputs = tf.cast(model(x, training=True), "float32")
        total = tf.reduce_sum(outputs * weights)
    found = tape.gradient(total, [x, *(v.value for v in model.trainable_variables)])
    return [outputs, *(tf.cast(gradient, "float32") for gradient in found)]


def rounded(values):
    """The same in numbers that bfloat16 has."""
    return tf.cast(tf.cast(values, "bfloat16"), "float32")


@pytest.mark.parametrize("way", ["eager", "graph", "xla", "loaded"])
def test_gradients_are_those_of_float32(way, tmp_path):
    exact = convolving(dtype="float32")
    exact.set_weights([rounded(weight) for weight in exact.get_weights()])
    rng = np.random.default_rng(0)
    x = rounded(rng.normal(size=(4, 9, 7, 16)))
    weights = rounded(rng.normal(size=exact(x).shape))
    expected = gradients(exact, x, weights)
    model = faster(convolving())
    model.set_weights(exact.get_weights())
    if way == "loaded":
        model.save(tmp_path / "model.keras")
        model = keras.models.load_model(tmp_path / "model.keras")
    assert type(model.layers[-1]) is PointwiseConv2D
    compute = partial(gradients, model, x, weights)
    if way in ("graph", "xla"):
        compute = tf.function(compute, jit_compile=way == "xla")
    for own, other in zip(compute(), expected, strict=True):
        assert np.std(other) > 0.3
        # bfloat16 has 8 bits: a value of 1 is rounded by up to 0.004.
        np.testing.assert_allclose(own, other, rtol=0.01, atol=0.02 * np.std(other))


@pytest.mark.parametrize("device, kind", [("cpu:0", "product"), ("gpu:0", "Keras's")])
def test_the_kernels_gradient_is_a_product_on_cpus(monkeypatch, device, kind):
    monkeypatch.setattr(keras.distribution, "list_devices", lambda: [device])
    model = faster(convolving())
    x, weights = tf.ones((2, 4, 4, 16)), tf.ones((2, 4, 4, 8))
    graph = tf.function(partial(gradients, model, x, weights)).get_concrete_function()
    found = {operation.type for operation in graph.graph.get_operations()}
    assert ("Conv2DBackpropFilter" in found) == (kind == "Keras's")
    assert ("MatMul" in found) == (kind == "product")


def test_float32_stays():
    model = faster(convolving(dtype="float32"))
    assert type(model.layers[-1]) is keras.layers.Conv2D


@pytest.mark.parametrize("option", [{"kernel": 3}, {"groups": 2}, {"strides": 2}])
def test_other_convolutions_stay(option):
    assert type(faster(convolving(**option)).layers[-1]) is keras.layers.Conv2D


@pytest.mark.parametrize(
    "options", [{"kernel_size": 3}, {"kernel_size": 1, "groups": 2}]
)
def test_a_layer_of_any_other_convolution_is_keras_own(options):
    layers = [
        kind(8, padding="same", dtype="bfloat16", **options)
        for kind in (keras.layers.Conv2D, PointwiseConv2D)
    ]
    x = np.random.default_rng(0).normal(size=(1, 6, 6, 16)).astype("float32")
    expected, own = layers[0](x), layers[1](x)
    assert own.shape == expected.shape
    layers[1].set_weights(layers[0].get_weights())
    np.testing.assert_array_equal(np.float32(layers[1](x)), np.float32(expected))
