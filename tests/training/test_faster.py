"""Networks whose layers train faster: the gradients are those of Keras's own layers."""

from functools import partial

import keras
import numpy as np
import pytest

import keras_resnet
from keras_resnet.training.faster import PointwiseConv2D, faster
from keras_resnet.training.optimizers import CoupledSGD
from tests.helpers.by_keras import ByKeras

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


def trained(change, optimizer, learning_rate):
    """What a ResNet-20 trains, before 8 updates and after, and its statistics."""
    keras.utils.set_random_seed(0)
    shape, updates, batch = (32, 32, 3), 8, 16
    model = change(keras_resnet.create("resnet20", input_shape=shape, classes=10))
    before = [variable.numpy() for variable in model.trainable_variables]
    options = {"momentum": 0.9, "coupled_weight_decay": 1e-4}
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer(learning_rate, **options), loss)
    rng = np.random.default_rng(0)
    x = rng.normal(size=(updates * batch, *shape)).astype("float32")
    y = rng.integers(0, 10, updates * batch)
    model.fit(x, y, batch_size=batch, shuffle=False, verbose=0)
    trained = [variable.numpy() for variable in model.trainable_variables]
    statistics = [variable.numpy() for variable in model.non_trainable_variables]
    return before, trained, statistics


def largest_difference(some, others):
    return max(np.abs(a - b).max() for a, b in zip(some, others, strict=True))


@pytest.mark.slow
def test_eight_updates_in_few_operations_have_the_bits_of_many():
    before, own, statistics = trained(faster, CoupledSGD, 0.1)
    _, expected, others = trained(faster, ByKeras, 0.1)
    assert largest_difference(before, own) > 0.1
    for one, other in zip(own + statistics, expected + others, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.slow
def test_eight_updates_are_those_of_keras_own_layers_and_optimizer():
    """The rate is small: at 0.01, a ReLU that rounding turns off grows to 3e-3."""
    before, own, statistics = trained(faster, CoupledSGD, 1e-4)
    _, expected, others = trained(lambda model: model, ByKeras, 1e-4)
    assert largest_difference(own, expected) < 1e-5
    assert largest_difference(statistics, others) < 1e-5
    assert largest_difference(before, own) > 1e-3
