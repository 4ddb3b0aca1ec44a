"""Calibration, against tables by hand and a temperature that is known."""

import numpy as np
import pytest

from keras_resnet.evaluation.calibration import (
    fit_temperature,
    reliability,
    with_temperature,
)


def softmax(logits):
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def test_a_table_by_hand():
    # Ten bins: 0.55 and 0.6 in (0.5, 0.6], one of two right; 0.9 in (0.8, 0.9], right.
    highest = np.array([0.55, 0.6, 0.9])
    probabilities = np.stack([highest, 1 - highest], axis=1)
    found = reliability(probabilities, np.array([0, 1, 0]), bins=10)
    assert found.counts.tolist() == [0, 0, 0, 0, 0, 2, 0, 0, 1, 0]
    assert found.confidence[[5, 8]] == pytest.approx([0.575, 0.9])
    assert found.accuracy[[5, 8]] == pytest.approx([0.5, 1])
    assert np.isnan(found.accuracy[0]) and np.isnan(found.confidence[0])
    assert found.ece == pytest.approx(2 / 3 * 0.075 + 1 / 3 * 0.1, abs=1e-15)


def test_those_who_are_as_often_right_as_they_say_have_no_error():
    probabilities = np.tile([0.75, 0.25], (8, 1))
    assert reliability(probabilities, np.array([0, 0, 0, 1] * 2)).ece == 0
    sure = np.tile([1.0, 0.0], (8, 1))
    assert reliability(sure, np.ones(8, int)).ece == 1


def test_the_temperature_that_made_logits_too_large_is_found():
    random = np.random.default_rng(0)
    logits = random.normal(size=(40_000, 10)) * 2
    labels = (softmax(logits).cumsum(axis=1) < random.random((40_000, 1))).sum(axis=1)
    too_sure = softmax(3 * logits)
    temperature = fit_temperature(too_sure, labels)
    assert temperature == pytest.approx(3, rel=0.03)
    mended = with_temperature(too_sure, temperature)
    np.testing.assert_allclose(mended.sum(axis=1), 1)
    # The order of the classes is kept, and nothing near it has a lower loss.
    np.testing.assert_array_equal(mended.argmax(1), too_sure.argmax(1))
    assert reliability(mended, labels).ece < reliability(too_sure, labels).ece / 10

    def loss(value):
        chosen = with_temperature(too_sure, value)[np.arange(len(labels)), labels]
        return -np.log(chosen).mean()

    assert loss(temperature) < min(loss(temperature * 1.01), loss(temperature / 1.01))


def test_a_probability_of_zero_has_a_temperature():
    probabilities = np.array([[1, 0], [1, 0], [1, 0], [0, 1]], "float32")
    temperature = fit_temperature(probabilities, np.array([0, 0, 1, 1]))
    mended = with_temperature(probabilities, temperature)
    assert mended[:, 0] == pytest.approx([0.75, 0.75, 0.75, 0.25], abs=1e-6)


def test_bad_input_is_named():
    right = np.array([[0.9, 0.1], [0.2, 0.8]])
    with pytest.raises(ValueError, match=r"Received: 100.0% right of 2 images"):
        fit_temperature(right, np.array([0, 1]))
    with pytest.raises(ValueError, match=r"Received: 0.0% right of 2 images"):
        fit_temperature(right, np.array([1, 0]))
    with pytest.raises(ValueError, match="bins=0"):
        reliability(right, np.array([0, 1]), bins=0)
    with pytest.raises(ValueError, match="temperature=0"):
        with_temperature(right, 0)
    with pytest.raises(ValueError, match="at least one image"):
        reliability(np.empty((0, 2)), np.empty(0, int))
