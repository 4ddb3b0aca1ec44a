"""What happens between updates: learning rates that react, counting, guards.

A callback with a state that must survive a restart has ``state()``, which gives it
as JSON takes it, and ``restore(state)``.
"""

import collections
import math

import keras


def current_learning_rate(optimizer):
    """The learning rate of the next update, as a float."""
    return float(keras.ops.convert_to_numpy(optimizer.learning_rate))


def synchronize(model):
    """Makes a model's variables current while `fit` runs; JAX's are not by themselves."""
    if hasattr(model, "jax_state_sync"):
        model.jax_state_sync()


def steps_done(optimizer):
    """Updates done so far, as an int."""
    return int(keras.ops.convert_to_numpy(optimizer.iterations))


class WarmUpUntilLearning(keras.callbacks.Callback):
    """Holds the learning rate low until the network has begun to learn.

    He et al. 2016a, sec. 4.2: at depth 110 an initial learning rate of 0.1 is
    "slightly too large to start converging", so training begins at 0.01 and returns
    to 0.1 once the training error is below 80 %, which takes about 400 updates.

    The callback owns the learning rate from the first update to the last, so compile
    the model with a plain number.

    Args:
        schedule: Function from the number of updates done (int, from 0) to the
            learning rate (float) to use once warm-up is over.
        warmup_learning_rate: Learning rate during warm-up.
        error_threshold: Warm-up ends when the training error is below this. A
            fraction in (0, 1].
        window: Updates over which the training error is taken. Keras's own running
            accuracy is a mean since the last validation.

    Attributes:
        warmup_steps: Updates that warm-up took (int), or `None` while it lasts.

    Raises:
        ValueError: If ``error_threshold`` is outside (0, 1], or the model was compiled
            without an ``"accuracy"`` metric.
    """

    def __init__(
        self, schedule, *, warmup_learning_rate=0.01, error_threshold=0.8, window=20
    ):
        super().__init__()
        if not 0 < error_threshold <= 1:
            raise ValueError(
                "`error_threshold` must be a fraction in (0, 1]. "
                f"Received: error_threshold={error_threshold}."
            )
        self.schedule = schedule
        self.warmup_learning_rate = warmup_learning_rate
        self.error_threshold = error_threshold
        self.correct = collections.deque(maxlen=window)
        self.warmup_steps = None
        self.batches, self.summed = 0, 0.0  # Since the epoch began.

    def state(self):
        return {
            "warmup_steps": self.warmup_steps,
            "correct": list(self.correct),
            "batches": self.batches,
            "summed": self.summed,
        }

    def restore(self, state):
        self.warmup_steps = state["warmup_steps"]
        self.correct.clear()
        self.correct.extend(state["correct"])
        # Perhaps in the middle of an epoch.
        self.batches, self.summed = state["batches"], state["summed"]

    def on_epoch_end(self, epoch, logs=None):
        self.batches, self.summed = 0, 0.0

    def on_train_batch_begin(self, batch, logs=None):
        optimizer = self.model.optimizer
        if self.warmup_steps is None:
            optimizer.learning_rate = self.warmup_learning_rate
        else:
            optimizer.learning_rate = self.schedule(steps_done(optimizer))

    def on_train_batch_end(self, batch, logs=None):
        if self.warmup_steps is not None:
            return
        if "accuracy" not in logs:
            raise ValueError(
                "`WarmUpUntilLearning` reads the training error from the 'accuracy' "
                "metric. Compile the model with `metrics=['accuracy']`. "
                f"Received metrics: {sorted(logs)}."
            )
        # `logs` holds the mean since the epoch began: this batch's is the difference.
        self.batches += 1
        summed = float(logs["accuracy"]) * self.batches
        self.correct.append(summed - self.summed)
        self.summed = summed
        error = 1 - sum(self.correct) / len(self.correct)
        if len(self.correct) == self.correct.maxlen and error < self.error_threshold:
            self.warmup_steps = steps_done(self.model.optimizer)


class ReduceOnPlateau(keras.callbacks.Callback):
    """Lowers the learning rate when the validation error stops falling.

    He et al. 2016a, sec. 3.4: "the learning rate starts from 0.1 and is divided by 10
    when the error plateaus". Unlike Keras's own, it reads the error in percentage
    points, and its state survives a restart.

    Args:
        factor: What the learning rate is multiplied by, in (0, 1).
        patience: Validations in a row without a new lowest error.
        min_delta: Percentage points by which a new lowest must be lower.
    """

    def __init__(self, *, factor=0.1, patience, min_delta):
        super().__init__()
        self.factor = factor
        self.patience = patience
        self.min_delta = min_delta
        self.lowest = math.inf
        self.waited = 0

    def state(self):
        rate = current_learning_rate(self.model.optimizer)
        lowest = None if math.isinf(self.lowest) else self.lowest
        return {"lowest": lowest, "waited": self.waited, "learning_rate": rate}

    def restore(self, state):
        self.lowest = math.inf if state["lowest"] is None else state["lowest"]
        self.waited = state["waited"]
        self.model.optimizer.learning_rate = state["learning_rate"]

    def on_epoch_end(self, epoch, logs=None):
        error = 100 * (1 - logs["val_accuracy"])
        if error < self.lowest - self.min_delta:
            self.lowest, self.waited = error, 0
            return
        self.waited += 1
        if self.waited >= self.patience:
            optimizer = self.model.optimizer
            optimizer.learning_rate = self.factor * current_learning_rate(optimizer)
            self.waited = 0


class Steps(keras.callbacks.Callback):
    """Counts the batches trained on, and ends training after the last.

    The optimizer's own count stands still when an update is left out because float16
    overflowed (`keras.optimizers.LossScaleOptimizer`). Place it before what reads it.

    Args:
        last: Steps in total, which need not divide into `fit`'s epochs.
        done: Of them, those that are behind.
    """

    def __init__(self, last, done=0):
        super().__init__()
        self.last = last
        self.done = done

    def on_epoch_begin(self, epoch, logs=None):
        self.before = self.done

    def on_train_batch_end(self, batch, logs=None):
        # Not one more each time: `steps_per_execution` of them may be one call.
        self.done = self.before + batch + 1
        if self.done >= self.last:
            self.model.stop_training = True


class StopAtNaN(keras.callbacks.Callback):
    """Raises `FloatingPointError` at the first loss that is not finite.

    Args:
        steps: `Steps`.
        advice: Function that gives a sentence for the error's end.
    """

    def __init__(self, steps, advice=lambda: ""):
        super().__init__()
        self.steps = steps
        self.advice = advice

    def on_train_batch_end(self, batch, logs=None):
        self._check(float(logs["loss"]))

    def on_epoch_end(self, epoch, logs=None):
        # The last update may have ruined the weights after its own loss was taken.
        self._check(float(logs.get("val_loss", 0.0)))

    def _check(self, loss):
        if not math.isfinite(loss):
            synchronize(self.model)
            raise FloatingPointError(
                f"The loss is {loss} after update {self.steps.done} at learning rate "
                f"{last_learning_rate(self.model.optimizer):g}."
                f"{self.advice()}"
            )


def last_learning_rate(optimizer):
    """The learning rate that the last update was made with, as a float."""
    # Under mixed_float16 Keras wraps the optimizer to scale the loss.
    schedule = getattr(optimizer, "inner_optimizer", optimizer)._learning_rate
    if isinstance(schedule, keras.optimizers.schedules.LearningRateSchedule):
        last = max(0, steps_done(optimizer) - 1)
        return float(keras.ops.convert_to_numpy(schedule(last)))
    return current_learning_rate(optimizer)
