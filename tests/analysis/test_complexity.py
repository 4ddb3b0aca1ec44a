"""Counts that a reader can follow by hand."""

import keras
import pytest
from keras import layers

from keras_resnet.analysis.complexity import multiply_adds, parameters


def net(*stack, shape=(8, 8, 16)):
    return keras.Sequential([keras.Input(shape), *stack])


COUNTED = {
    "convolution": (layers.Conv2D(32, 3, padding="same"), 8 * 8 * 9 * 16 * 32),
    "stride": (layers.Conv2D(32, 3, strides=2, padding="same"), 4 * 4 * 9 * 16 * 32),
    "valid": (layers.Conv2D(32, 3, use_bias=False), 6 * 6 * 9 * 16 * 32),
    "groups": (layers.Conv2D(32, 3, padding="same", groups=4), 64 * 9 * 4 * 32),
    "depthwise": (layers.DepthwiseConv2D(3, padding="same"), 64 * 9 * 16),
    "multiplier": (
        layers.DepthwiseConv2D(3, padding="same", depth_multiplier=2),
        64 * 9 * 32,
    ),
    "separable": (
        layers.SeparableConv2D(32, 3, padding="same"),
        64 * (9 * 16 + 16 * 32),
    ),
    "transposed": (
        layers.Conv2DTranspose(32, 2, strides=2, padding="same"),
        64 * 4 * 16 * 32,
    ),
    "dense on a map": (layers.Dense(10), 64 * 16 * 10),
    "batch norm": (layers.BatchNormalization(), 0),
}


@pytest.mark.parametrize("layer, expected", COUNTED.values(), ids=COUNTED)
def test_multiply_adds_of_one_layer(layer, expected):
    assert multiply_adds(net(layer)) == expected


def test_channels_first_counts_the_same():
    convolution = layers.Conv2D(32, 3, data_format="channels_first")
    inputs = keras.Input((16, 8, 10))
    try:
        model = keras.Model(inputs, convolution(inputs))
    except Exception as error:  # Some backends refuse the layout on some devices.
        pytest.skip(f"channels_first can't be built here: {error}")
    assert multiply_adds(model) == 6 * 8 * 9 * 16 * 32


def test_a_small_classifier():
    model = net(
        layers.Conv2D(16, 3, padding="same", use_bias=False),
        layers.BatchNormalization(),
        layers.GlobalAveragePooling2D(),
        layers.Dense(10),
        shape=(8, 8, 3),
    )
    assert multiply_adds(model) == 64 * 27 * 16 + 160
    # Batch norm's two moving statistics are not trained.
    assert parameters(model) == 27 * 16 + 2 * 16 + 16 * 10 + 10
    assert isinstance(parameters(model), int)
    assert isinstance(multiply_adds(model), int)


def test_nested_models_count():
    inner = net(layers.Conv2D(16, 1))
    outer = net(inner, layers.Conv2D(16, 1))
    assert multiply_adds(outer) == 2 * 64 * 16 * 16


def test_unknown_size_is_an_error():
    model = net(layers.Conv2D(16, 3), shape=(None, None, 3))
    with pytest.raises(ValueError, match="input_shape"):
        multiply_adds(model)
    assert parameters(model) == 27 * 16 + 16


def test_a_pooled_classifier_of_unknown_size_is_an_error_too():
    model = net(
        layers.Conv2D(16, 3),
        layers.GlobalAveragePooling2D(),
        layers.Dense(10),
        shape=(None, None, 3),
    )
    with pytest.raises(ValueError, match="input_shape"):
        multiply_adds(model)


def test_every_call_counts():
    inputs = keras.Input((8, 8, 16))
    layer = layers.Conv2D(16, 3, padding="same")
    inner = net(layers.Conv2D(16, 1))
    twice = keras.Model(inputs, inner(inner(layer(layer(inputs)))))
    assert multiply_adds(twice) == 2 * 64 * 16 * 16 * (9 + 1)
    once = keras.Model(inputs, layer(inputs))
    assert multiply_adds(once) == 64 * 16 * 16 * 9
