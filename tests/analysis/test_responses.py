"""Standard deviations of the responses of 3x3 layers."""

import keras
import numpy as np
import pytest

from keras_resnet.analysis.responses import layer_responses
from tests.helpers.reference import called
from tests.helpers.small_nets import data, shared_net


@pytest.mark.parametrize("training", [False, True])
def test_responses_of_v1(training):
    model, (x, _) = shared_net(), data()
    before = model.get_weights()
    found = layer_responses(
        model, x, training=training, batch_size=12 if training else 5
    )
    for a, b in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    convolutions = [
        layer.name for layer in model.layers if isinstance(layer, keras.layers.Conv2D)
    ]
    assert found.layers == tuple(convolutions)
    assert found.measured == tuple(c.replace("conv", "bn") for c in convolutions)
    assert found.after_norm().all()
    maps = [model.get_layer(name).output for name in found.measured]
    network = keras.Model(model.input, maps)
    outputs = keras.tree.map_structure(np.asarray, network(x, training=training))
    model.set_weights(before)
    np.testing.assert_allclose(found.deviation, [m.std() for m in outputs], rtol=1e-4)


def test_responses_of_v2_are_named():
    model, (x, _) = shared_net("preactivation"), data()
    found = layer_responses(model, x)
    measured = dict(zip(found.layers, found.measured, strict=True))
    assert measured["stage1_block2_1_conv"] == "stage1_block2_1_bn"
    # What is added, without a batch norm of its own.
    assert measured["stage1_block2_2_conv"] == "stage1_block2_2_conv"
    assert found.after_norm().tolist() == [True] + [True, False] * 4
    network = keras.Model(model.input, model.get_layer("stage2_block2_2_conv").output)
    expected = called(network, x).std()
    assert found.deviation[-1] == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("training", [False, True])
def test_a_network_of_one_convolution(training):
    inputs, x = keras.Input((8, 8, 3)), data(2)[0]
    model = keras.Model(inputs, keras.layers.Conv2D(4, 3, name="only")(inputs))
    found = layer_responses(model, x, training=training)
    assert found.layers == ("only",)
    np.testing.assert_allclose(found.deviation, [called(model, x).std()], rtol=1e-4)


def test_what_does_not_fit_is_refused():
    inputs = keras.Input((4,))
    dense = keras.Model(inputs, keras.layers.Dense(3)(inputs), name="dense")
    with pytest.raises(ValueError, match="3x3 convolutions.*'dense'"):
        layer_responses(dense, np.zeros((2, 4)))
    with pytest.raises(ValueError, match="shape of the model's input"):
        layer_responses(shared_net(), np.zeros((2, 9, 8, 3)))
