"""Gradients by layer, and networks as they are initialised."""

import keras
import numpy as np
import pytest

from keras_resnet.analysis.gradients import (
    gradient_norms,
    gradient_norms_along,
    initialized,
)
from keras_resnet.applications import create
from keras_resnet.data import sources
from tests.helpers.small_nets import data, plain_gradients, shared_net


@pytest.mark.parametrize(
    "training", [True, pytest.param(False, marks=pytest.mark.slow)]
)
def test_norms_are_those_of_the_kernels(training):
    model = shared_net()
    before = model.get_weights()
    found = gradient_norms(model, *data(), training=training)
    for a, b in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    _, expected = plain_gradients(model, *data(), training)
    assert set(found.layers) == set(expected)
    assert found.layers[0] == "stem_conv" and found.layers[-1] == "logits"
    norms = [np.linalg.norm(expected[name]) / 12 for name in found.layers]
    np.testing.assert_allclose(found.norms, norms, rtol=1e-4)
    assert found.convolutions.tolist() == [True] * 9 + [False]
    assert found.layers[found.first] == "stage1_block1_1_conv"
    assert found.ratio == pytest.approx(norms[1] / norms[8], rel=1e-4)


def test_initialisation_is_a_function_of_the_seed():
    model = shared_net()
    first, again, other = (initialized(model, seed) for seed in (1, 1, 2))
    kernels = [
        m.get_layer("stage2_block2_1_conv").kernel for m in (first, again, other)
    ]
    kernels = [np.asarray(kernel) for kernel in kernels]
    np.testing.assert_array_equal(kernels[0], kernels[1])
    assert np.abs(kernels[0] - kernels[2]).max() > 0.01
    # He initialisation: 3 x 3 x 8 inputs.
    assert kernels[0].std() == pytest.approx(np.sqrt(2 / 72), rel=0.1)
    norm = first.get_layer("stage2_block2_1_bn")
    np.testing.assert_array_equal(norm.gamma, 1)
    np.testing.assert_array_equal(norm.moving_mean, 0)


def test_norms_of_a_network_without_convolutions():
    inputs = keras.Input((3,))
    hidden = keras.layers.Dense(4, activation="tanh", name="hidden")(inputs)
    model = keras.Model(inputs, keras.layers.Dense(2, name="logits")(hidden))
    found = gradient_norms(model, np.ones((2, 3)), np.array([0, 1]))
    assert found.layers == ("hidden", "logits")
    assert found.ratio == pytest.approx(found.norms[0] / found.norms[1])


def test_norms_along_the_training_are_those_of_each_moment():
    model, done = shared_net(), []
    own = model.get_weights()
    other = [weight * 0.5 for weight in own]
    moments = iter([(0, other), (70, own)])
    found = gradient_norms_along(model, moments, *data(), progress=done.append)
    assert found.updates.tolist() == [0, 70] and done == [1, 2]
    last = gradient_norms(model, *data())
    assert found.layers == last.layers
    np.testing.assert_allclose(found.norms[1], last.norms, rtol=1e-5)
    assert found.ratio[1] == pytest.approx(last.ratio, rel=1e-5)
    assert found.loss[1] == pytest.approx(last.loss, rel=1e-5)
    assert abs(found.loss[0] - found.loss[1]) > 1e-3
    for wrong in ([(0, other), (1, own[:-1])], []):
        with pytest.raises(ValueError, match="`moments` must hold"):
            gradient_norms_along(model, wrong, *data())
        for a, b in zip(own, model.get_weights(), strict=True):
            np.testing.assert_array_equal(a, b)


def test_what_does_not_fit_is_refused():
    x, y = data()
    with pytest.raises(ValueError, match="0 ... 4"):
        gradient_norms(shared_net(), x, y + 4)


@pytest.mark.exhaustive
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_gradients_explode_backward_in_plain_nets_alone(seed):
    split = sources.load("fashion_mini").validation
    x = np.float32(split.images[:64]).reshape(-1, 28, 28, 1) / 90 - 0.8
    y = np.asarray(split.labels[:64], "int64")
    plain, residual = (
        gradient_norms(initialized(create(name, input_shape=(28, 28, 1)), seed), x, y)
        for name in ("plain56", "resnet56")
    )
    assert plain.ratio > 100
    assert residual.ratio < 10
