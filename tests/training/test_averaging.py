"""Averages of weights and statistics, against sums done by hand."""

import keras
import numpy as np
import pytest

from keras_resnet.training.averaging import AverageWeights
from keras_resnet.training.callbacks import Steps


def small_model():
    model = keras.Sequential(
        [keras.Input((3,)), keras.layers.Dense(16), keras.layers.BatchNormalization()]
    )
    model.compile(keras.optimizers.SGD(0.5), "mse")
    return model


def data(batches):
    rng = np.random.default_rng(0)
    x = rng.normal(2, 3, size=(4 * batches, 3)).astype("float32")
    return x, rng.normal(size=(4 * batches, 16)).astype("float32")


class Weights(keras.callbacks.Callback):
    """Notes the weights after each update, and during validation."""

    def __init__(self):
        super().__init__()
        self.seen, self.validated = [], []

    def on_train_batch_end(self, batch, logs=None):
        self.seen.append([w.numpy() for w in self.model.weights])

    def on_test_batch_begin(self, batch, logs=None):
        self.validated = [w.numpy() for w in self.model.weights]


def test_the_average_is_the_sum_it_should_be_statistics_too():
    model, notes = small_model(), Weights()
    steps = Steps(8)
    callback = AverageWeights(0.5, 2, steps=steps, keep=False)
    x, y = data(8)
    model.fit(
        x,
        y,
        batch_size=4,
        validation_data=(x[:4], y[:4]),
        callbacks=[steps, callback, notes],
        verbose=0,
    )
    # Decays of updates 1 to 4: at most (1 + u) / (10 + u), and 0.5.
    expected = notes.seen[1]
    for u, weights in zip((2, 3, 4), notes.seen[3::2], strict=True):
        decay = min(0.5, (1 + u) / (10 + u))
        expected = [
            decay * a + (1 - decay) * b for a, b in zip(expected, weights, strict=True)
        ]
    names = [w.name for w in model.weights]
    assert {"kernel", "gamma", "moving_mean", "moving_variance"} <= set(names)
    for average, validated, sum_ in zip(
        callback.averages, notes.validated, expected, strict=True
    ):
        np.testing.assert_allclose(average, sum_, rtol=1e-5, atol=1e-6)
        np.testing.assert_array_equal(validated, average)
    # After validation the model has its own weights again, and at last the average.
    for weight, own in zip(model.weights, notes.seen[-1], strict=True):
        np.testing.assert_array_equal(weight.numpy(), own)
    callback.put_in()
    for weight, average in zip(model.weights, callback.averages, strict=True):
        np.testing.assert_array_equal(weight.numpy(), average)


def test_an_average_that_never_moved_changes_nothing():
    model = small_model()
    before = model.get_weights()
    callback = AverageWeights(0.5, 100, steps=Steps(8))
    callback.set_model(model)
    callback.put_in()
    for weight, own in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, own)


def test_averages_without_validation_are_kept_at_the_end():
    model, notes = small_model(), []
    note = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: notes.append(note.model.get_weights())
    )
    callback = AverageWeights(0.5, every=2)
    model.fit(
        *data(4), batch_size=4, shuffle=False, callbacks=[note, callback], verbose=0
    )
    decay = min(0.5, 3 / 12)  # Of the second update of the average.
    for weight, first, second in zip(
        model.get_weights(), notes[1], notes[3], strict=True
    ):
        expected = decay * first + (1 - decay) * second
        np.testing.assert_allclose(weight, expected, rtol=1e-5, atol=1e-6)
    assert np.abs(model.get_weights()[0] - notes[3][0]).max() > 1e-6


def test_impossible_decays_are_refused():
    with pytest.raises(ValueError, match="decay=1.0"):
        AverageWeights(1.0)
    with pytest.raises(ValueError, match="every=0"):
        AverageWeights(0.9, 0)
