"""The pieces of blocks: padding, grouped convolutions, constants."""

import keras
import numpy as np
import pytest

from keras_resnet.models import layers
from tests.helpers.reference import assert_close, called, conv, images, model_of


@pytest.mark.parametrize("size", [8, 9])
@pytest.mark.parametrize(("kernel_size", "stride"), [(1, 2), (3, 1), (3, 2), (7, 2)])
def test_convolutions_pad_symmetrically(kernel_size, stride, size):
    x = images(2, size, size, 4)
    model = model_of(
        lambda inputs: layers.conv(inputs, 8, kernel_size, stride=stride, name="a"),
        x.shape[1:],
    )
    kernel = keras.ops.convert_to_numpy(model.get_layer("a_conv").kernel)
    assert_close(model, x, conv(x, kernel, stride=stride))


def grouped(**options):
    return layers.GroupedConv2D(
        32, 3, groups=8, use_bias=False, **({"padding": "same"} | options)
    )


@pytest.mark.parametrize("only_cpus", [True, False])
@pytest.mark.parametrize("options", [{}, {"strides": 2, "padding": "valid"}], ids=str)
def test_grouped_convolution_is_kerass(options, only_cpus, monkeypatch):
    monkeypatch.setattr(layers, "_only_cpus", lambda: only_cpus)
    x = images(2, 9, 9, 16)
    ours, theirs = (
        grouped(**options),
        keras.layers.Conv2D.from_config(grouped(**options).get_config()),
    )
    ours.build(x.shape)
    theirs.build(x.shape)
    theirs.set_weights(ours.get_weights())
    np.testing.assert_allclose(called(ours, x), called(theirs, x), atol=1e-5)


def test_pytorch_is_not_asked_for_devices(monkeypatch):
    # `keras.distribution.list_devices` fails there.
    monkeypatch.setattr(layers, "_only_cpus", lambda: pytest.fail("It was asked."))
    monkeypatch.setattr("keras.backend.backend", lambda: "torch")
    assert called(grouped(), images(1, 8, 8, 16)).shape == (1, 8, 8, 32)


def test_each_group_is_convolved_by_itself_on_cpus(monkeypatch):
    seen = []
    original = keras.layers.Conv2D.convolution_op

    def spy(self, inputs, kernel):
        seen.append(tuple(inputs.shape))
        return original(self, inputs, kernel)

    monkeypatch.setattr(keras.layers.Conv2D, "convolution_op", spy)
    monkeypatch.setattr(layers, "_only_cpus", lambda: True)
    layer = grouped()
    layer(images(2, 8, 8, 16))
    # Keras builds the layer on a symbol of its own before.
    assert seen[-8:] == [(2, 8, 8, 2)] * 8


@pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="of TensorFlow's graphs"
)
def test_graphs_to_be_served_need_no_xla_for_groups(monkeypatch):
    import tensorflow as tf

    monkeypatch.setattr(layers, "_only_cpus", lambda: False)  # As with a GPU.
    layer = grouped()
    layer.build((None, 8, 8, 16))

    def graph():
        spec = tf.TensorSpec([None, 8, 8, 16])
        traced = tf.function(lambda x: layer(x), input_signature=[spec])
        return str(traced.get_concrete_function().graph.as_graph_def())

    assert "_XlaMustCompile" in graph()
    with layers.groups_apart():
        assert "_XlaMustCompile" not in graph()
    assert "_XlaMustCompile" in graph()


def test_a_grouped_convolution_is_saved_with_its_network(tmp_path):
    inputs = keras.Input((8, 8, 16))
    model = keras.Model(inputs, layers.conv(inputs, 16, 3, groups=4, name="a"))
    model.save(tmp_path / "m.keras")
    loaded = keras.saving.load_model(tmp_path / "m.keras")
    assert isinstance(loaded.get_layer("a_conv"), layers.GroupedConv2D)
    x = images(1, 8, 8, 16)
    np.testing.assert_array_equal(called(loaded, x), called(model, x))


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_channels_are_appended_and_taken_apart(data_format):
    before = keras.config.image_data_format()
    keras.config.set_image_data_format(data_format)
    try:
        axis = layers.channel_axis()
        shape = (4, 5, 3) if axis == -1 else (3, 4, 5)
        inputs = keras.Input(shape)
        padded = keras.Model(inputs, layers.pad_channels(inputs, 2, name="pad"))
        middle = keras.Model(inputs, layers.one_channel(inputs, 1, name="middle"))
    finally:
        keras.config.set_image_data_format(before)
    x = np.random.default_rng(0).normal(size=(2, *shape)).astype("float32")
    border = [(0, 0)] * 4
    border[axis] = (0, 2)
    np.testing.assert_array_equal(called(padded, x), np.pad(x, border))
    np.testing.assert_array_equal(called(middle, x), np.take(x, [1], axis=axis))
