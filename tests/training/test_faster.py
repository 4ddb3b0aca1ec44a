"""Networks whose layers train faster: the gradients are those of Keras's own layers."""

import keras
import numpy as np
import pytest

from keras_resnet.training.faster import PointwiseConv2D, faster

tf = pytest.importorskip("tensorflow")
pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="on other backends nothing changes"
)


def convolving(kernel=1, **options):
    """A network of one convolution with a bias."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((None, None, 16))
    conv = keras.layers.Conv2D(8, kernel, padding="same", **options)
    return keras.Model(inputs, conv(inputs))


@pytest.fixture
def bfloat16():
    keras.config.set_dtype_policy("mixed_bfloat16")
    yield
    keras.config.set_dtype_policy("float32")


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


@pytest.mark.parametrize("xla", [False, True])
def test_gradients_are_those_of_float32(xla, request):
    exact = convolving()
    exact.set_weights([rounded(weight) for weight in exact.get_weights()])
    rng = np.random.default_rng(0)
    x = rounded(rng.normal(size=(4, 9, 7, 16)))
    weights = rounded(rng.normal(size=exact(x).shape))
    expected = gradients(exact, x, weights)
    request.getfixturevalue("bfloat16")
    model = faster(convolving())
    assert type(model.layers[-1]) is PointwiseConv2D
    model.set_weights(exact.get_weights())
    found = tf.function(lambda: gradients(model, x, weights), jit_compile=xla)()
    for own, other in zip(found, expected, strict=True):
        assert np.std(other) > 0.3
        # bfloat16 has 8 bits: a value of 1 is rounded by up to 0.004.
        np.testing.assert_allclose(own, other, rtol=0.01, atol=0.02 * np.std(other))


def test_float32_stays():
    assert type(faster(convolving()).layers[-1]) is keras.layers.Conv2D


@pytest.mark.parametrize("option", [{"kernel": 3}, {"groups": 2}, {"strides": 2}])
def test_other_convolutions_stay(bfloat16, option):
    assert type(faster(convolving(**option)).layers[-1]) is keras.layers.Conv2D
