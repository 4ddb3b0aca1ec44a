"""Reactive schedules and guards, on a net that learns nothing."""

import json
import math
import os
import subprocess
import sys
from dataclasses import replace

import keras
import numpy as np
import pytest

from keras_resnet.config.recipes import RECIPES
from keras_resnet.config.schedules import StepDecay
from keras_resnet.training.callbacks import (
    ReduceOnPlateau,
    Steps,
    StopAtNaN,
    WarmUpUntilLearning,
    current_learning_rate,
    steps_done,
)
from keras_resnet.training.fit import compile_model, reactive_schedules
from tests.helpers.tiny_model import batches, tiny_model


def test_warm_up_ends_when_the_windows_error_is_low_enough():
    model = tiny_model()
    callback = WarmUpUntilLearning(
        lambda step: 0.1, warmup_learning_rate=0.01, window=2, error_threshold=0.8
    )
    callback.set_model(model)
    callback.on_epoch_begin(0)
    # Accuracies of single batches 0, 0.1, 0.5, 0.1: the window's mean passes 0.2 at
    # the third, though the mean since the epoch began is the same 0.2 only then.
    means = np.cumsum([0, 0.1, 0.5, 0.1]) / np.arange(1, 5)
    ended = []
    for batch, mean in enumerate(means):
        callback.on_train_batch_begin(batch)
        rate = current_learning_rate(model.optimizer)
        assert rate == pytest.approx(0.1 if True in ended else 0.01)
        model.optimizer.iterations.assign(batch + 1)
        callback.on_train_batch_end(batch, {"accuracy": mean})
        ended.append(callback.warmup_steps is not None)
    assert ended == [False, False, True, True]
    assert callback.warmup_steps == 3
    again = WarmUpUntilLearning(lambda step: 0.1)
    again.restore(callback.state())
    assert again.warmup_steps == 3


def test_warm_up_goes_on_with_its_window():
    def after(callback, accuracies, first=0):
        callback.set_model(tiny_model())
        callback.on_epoch_begin(0)
        means = np.cumsum(accuracies) / np.arange(1, len(accuracies) + 1)
        for batch, mean in enumerate(means[first:]):
            callback.on_train_batch_end(batch, {"accuracy": float(mean)})
        return callback

    stopped = after(WarmUpUntilLearning(lambda step: 0.1, window=3), [0.0, 0.4])
    state = json.loads(json.dumps(stopped.state()))
    resumed = WarmUpUntilLearning(lambda step: 0.1, window=3)
    resumed.restore(state)
    # The third of its window, not the first: 0.8 / 3 is above 0.2.
    assert after(resumed, [0.0, 0.4, 0.4], first=2).warmup_steps is not None
    assert list(resumed.correct) == pytest.approx([0.0, 0.4, 0.4])
    new = WarmUpUntilLearning(lambda step: 0.1, window=3)
    assert after(new, [0.4]).warmup_steps is None


def test_warm_up_needs_the_accuracy():
    callback = WarmUpUntilLearning(lambda step: 0.1)
    callback.on_epoch_begin(0)
    with pytest.raises(ValueError, match="metrics=\\['accuracy'\\]"):
        callback.on_train_batch_end(0, {"loss": 1.0})
    with pytest.raises(ValueError, match="Received: error_threshold=80"):
        WarmUpUntilLearning(lambda step: 0.1, error_threshold=80)


def test_plateau_divides_by_ten_and_remembers():
    model = tiny_model()
    callback = ReduceOnPlateau(patience=2, min_delta=0.1)
    callback.set_model(model)
    errors = [50, 49.95, 49.0, 48.95, 48.99]  # Two gains; then none of 0.1 points.
    for error in errors[:4]:
        callback.on_epoch_end(0, {"val_accuracy": 1 - error / 100})
    assert current_learning_rate(model.optimizer) == pytest.approx(0.1)

    other = tiny_model()
    resumed = ReduceOnPlateau(patience=2, min_delta=0.1)
    resumed.set_model(other)
    resumed.restore(callback.state())
    resumed.on_epoch_end(0, {"val_accuracy": 1 - errors[4] / 100})
    assert current_learning_rate(other.optimizer) == pytest.approx(0.01)


def test_steps_end_at_the_runs_last_update():
    model = tiny_model()
    x, y = batches(6)
    model.fit(x, y, batch_size=4, epochs=1, verbose=0, callbacks=[Steps(4)])
    assert steps_done(model.optimizer) == 4
    model.fit(x, y, batch_size=4, epochs=1, verbose=0, callbacks=[Steps(7, 4)])
    assert steps_done(model.optimizer) == 7


def test_divergence_names_step_and_rate():
    model = tiny_model()
    x, y = batches(3)
    x[4] = math.nan
    message = "loss is nan after update 2 at learning rate 0.1"
    with pytest.raises(FloatingPointError, match=message):
        steps = Steps(9)
        callbacks = [steps, stop := StopAtNaN(steps)]
        model.fit(x, y, batch_size=4, shuffle=False, verbose=0, callbacks=callbacks)
    assert stop.diverged == 1  # The loss of the second is that of the first's weights.


def test_weights_ruined_by_the_last_update_are_noticed():
    callback = StopAtNaN(Steps(2, 1))
    callback.set_model(tiny_model())
    with pytest.raises(FloatingPointError):
        callback.on_epoch_end(0, {"loss": 1.0, "val_loss": math.nan})
    assert callback.diverged == 1


def trained(rate, *callbacks):
    """The weights after two epochs of two updates, without validation data."""
    keras.utils.set_random_seed(0)
    model = tiny_model()
    model.optimizer.learning_rate = rate
    x, y = batches(2)
    model.fit(
        *(x, y), batch_size=4, epochs=2, shuffle=False, verbose=0, callbacks=callbacks
    )
    return model.get_weights()


@pytest.mark.slow
def test_rates_that_callbacks_set_reach_the_update_that_follows():
    for schedule in (
        0.2,
        lambda step: 0.2,
        keras.optimizers.schedules.PolynomialDecay(0.2, 10, 0.2),
    ):
        warm = WarmUpUntilLearning(schedule, warmup_learning_rate=0.3, window=99)
        learns = WarmUpUntilLearning(schedule, warmup_learning_rate=0.3)
        learns.warmup_steps = 0
        for rate, callback in ((0.3, warm), (0.2, learns)):
            expected = trained(rate)
            for weight, other in zip(trained(0.0, callback), expected, strict=True):
                np.testing.assert_array_equal(weight, other)
    # Of the training error, as there is no other: it is lowered after the first epoch.
    plateau = ReduceOnPlateau(patience=1, min_delta=200, factor=0.5)
    halved = keras.callbacks.LearningRateScheduler(lambda epoch: 0.2 / 2**epoch)
    plateau.lowest = 0.0
    for weight, other in zip(trained(0.2, plateau), trained(0.2, halved), strict=True):
        np.testing.assert_array_equal(weight, other)


def test_a_recipe_warms_up_until_the_error_falls():
    quick = RECIPES["quickstart"]
    warm = replace(quick, schedule=StepDecay(learning_rate=0.2, at=()))
    warm = replace(warm, warmup_learning_rate=0.05)
    constant = replace(warm, schedule=StepDecay(learning_rate=0.05, at=()))
    constant = replace(constant, warmup_learning_rate=None)
    ended = []
    for recipe in (warm, constant):
        keras.utils.set_random_seed(0)
        model = tiny_model()
        compile_model(model, recipe, xla=keras.backend.backend() == "jax")
        chosen = list(reactive_schedules(recipe).values())
        x, y = batches(3)
        model.fit(x, y, batch_size=4, shuffle=False, verbose=0, callbacks=chosen)
        ended.append(model.get_weights())
    for weight, other in zip(*ended, strict=True):
        np.testing.assert_array_equal(weight, other)


@pytest.mark.slow
def test_an_accuracy_of_another_name():
    callback = ReduceOnPlateau(patience=1, min_delta=0.0, monitor="val_top5")
    callback.set_model(tiny_model())
    callback.on_epoch_end(0, {"accuracy": 0.1, "val_top5": 0.5})
    assert callback.lowest == 50
    with pytest.raises(
        ValueError, match=r"'val_top5'.*Received metrics: \['accuracy'\]"
    ):
        callback.on_epoch_end(1, {"accuracy": 0.1})
    with pytest.raises(ValueError, match="'val_accuracy'"):
        ReduceOnPlateau(patience=1, min_delta=0.0).on_epoch_end(0, {"loss": 0.1})


def test_the_optimizer_counts_where_nobody_else_does():
    model = tiny_model()
    x, y = batches(3)
    x[4] = math.nan
    with pytest.raises(FloatingPointError, match="loss is nan after update 2 at"):
        model.fit(x, y, batch_size=4, shuffle=False, verbose=0, callbacks=[StopAtNaN()])


BACKENDS = """
from tests.training import test_averaging, test_callbacks as test

test.test_rates_that_callbacks_set_reach_the_update_that_follows()
test.test_a_recipe_warms_up_until_the_error_falls()
test.test_the_optimizer_counts_where_nobody_else_does()
test_averaging.test_averages_without_validation_are_kept_at_the_end()
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    "backend", [pytest.param("jax", marks=pytest.mark.exhaustive), "torch"]
)
def test_callbacks_on_other_backends(backend):
    pytest.importorskip(backend)
    done = subprocess.run(
        [sys.executable, "-c", BACKENDS],
        env=os.environ | {"KERAS_BACKEND": backend},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-2000:]
