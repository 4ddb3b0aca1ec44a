"""Callbacks that set the learning rate, count updates, and stop at a loss of NaN.

Each works with plain `compile` and `fit`. A callback whose state must survive a restart
has two methods: ``state()`` returns it as values that JSON can hold, beside a list of
NumPy arrays under ``"arrays"``, and ``restore(state)`` takes it back.
"""

import collections
import math
from collections.abc import Callable
from typing import Any

import keras

Logs = dict[str, float] | None


def current_learning_rate(optimizer: keras.optimizers.Optimizer) -> float:
    """The learning rate of the next update."""
    return float(keras.ops.convert_to_numpy(optimizer.learning_rate))


def synchronize(model: keras.Model) -> None:
    """Makes a model's variables current while `fit` runs; JAX's are not by themselves."""
    if hasattr(model, "jax_state_sync"):
        model.jax_state_sync()


def steps_done(optimizer: keras.optimizers.Optimizer) -> int:
    """The number of updates that an optimizer has made."""
    return int(keras.ops.convert_to_numpy(optimizer.iterations))


class Steps(keras.callbacks.Callback):
    """Counts the batches trained on, and ends training after the last of them.

    The optimizer's own count stands still when an update is left out because float16
    overflowed (`keras.optimizers.LossScaleOptimizer`). Place it before the callbacks
    that read it.

    Args:
        last: Batches in total; they need not fill the last of `fit`'s epochs.
        done: How many of them have been trained on already.
    """

    def __init__(self, last: int, done: int = 0) -> None:
        super().__init__()
        self.last: int = last
        self.done: int = done
        self.before: int = done

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:
        self.before = self.done

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        # Not one more each time: `steps_per_execution` of them may be one call.
        self.done = self.before + batch + 1
        if self.done >= self.last:
            self.model.stop_training = True


def updates_done(steps: Steps | None, model: keras.Model) -> int:
    """Updates so far: as `Steps` counts them or, without it, as the optimizer does."""
    return steps_done(model.optimizer) if steps is None else steps.done


class WarmUpUntilLearning(keras.callbacks.Callback):
    """Keeps the learning rate low until the network has begun to learn.

    He et al. 2016a, sec. 4.2: at depth 110 an initial learning rate of 0.1 is
    "slightly too large to start converging", so training begins at 0.01 and returns
    to 0.1 once the training error is below 80 %, which takes about 400 updates.

    The callback sets the learning rate before each update, so compile the model with a
    number as its learning rate, not a schedule, and with an accuracy among its metrics.

    Args:
        schedule: The learning rate to use once warm-up is over: a number, a
            `keras.optimizers.schedules.LearningRateSchedule`, or any function from the
            number of updates done (int, from 0) to a number.
        warmup_learning_rate: Learning rate during warm-up.
        error_threshold: Warm-up ends when the training error is below this. A
            fraction in (0, 1].
        window: Number of batches over which the training error is taken. (The accuracy
            that Keras shows is a mean since the epoch began.)
        monitor: Name of the accuracy, a fraction, among the metrics of training.

    Attributes:
        warmup_steps: Updates that warm-up took (int), or `None` while it lasts.

    Raises:
        ValueError: If ``error_threshold`` is outside (0, 1], or the model was compiled
            without the metric ``monitor``.
    """

    def __init__(
        self,
        schedule: float | Callable[[int], Any],
        *,
        warmup_learning_rate: float = 0.01,
        error_threshold: float = 0.8,
        window: int = 20,
        monitor: str = "accuracy",
    ) -> None:
        super().__init__()
        if not 0 < error_threshold <= 1:
            raise ValueError(
                "`error_threshold` must be a fraction in (0, 1]. "
                f"Received: error_threshold={error_threshold}."
            )
        self.schedule: float | Callable[[int], Any] = schedule
        self.warmup_learning_rate: float = warmup_learning_rate
        self.error_threshold: float = error_threshold
        self.monitor: str = monitor
        self.correct: collections.deque[float] = collections.deque(maxlen=window)
        self.warmup_steps: int | None = None
        self.batches: int = 0  # Since the epoch began, as `summed`.
        self.summed: float = 0.0

    def state(self) -> dict[str, Any]:
        """What `restore` needs to go on, also in the middle of an epoch."""
        return {
            "warmup_steps": self.warmup_steps,
            "correct": list(self.correct),
            "batches": self.batches,
            "summed": self.summed,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Takes back what `state` returned."""
        self.warmup_steps = state["warmup_steps"]
        self.correct.clear()
        self.correct.extend(state["correct"])
        self.batches, self.summed = state["batches"], state["summed"]

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        self.batches, self.summed = 0, 0.0

    def on_train_batch_begin(self, batch: int, logs: Logs = None) -> None:
        # On JAX, asking for the model has Keras read its variables again.
        optimizer = self.model.optimizer
        if self.warmup_steps is None:
            optimizer.learning_rate = self.warmup_learning_rate
        elif callable(self.schedule):
            optimizer.learning_rate = self.schedule(steps_done(optimizer))
        else:
            optimizer.learning_rate = self.schedule

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        if self.warmup_steps is not None:
            return
        logs = logs or {}
        if self.monitor not in logs:
            raise ValueError(
                "`WarmUpUntilLearning` reads the training error from the metric "
                f"{self.monitor!r}: compile the model with `metrics=['accuracy']`, or "
                "name the accuracy that it has with `monitor`. "
                f"Received metrics: {sorted(logs)}."
            )
        # `logs` holds the mean since the epoch began: this batch's is the difference.
        self.batches += 1
        summed = float(logs[self.monitor]) * self.batches
        self.correct.append(summed - self.summed)
        self.summed = summed
        error = 1 - sum(self.correct) / len(self.correct)
        if len(self.correct) == self.correct.maxlen and error < self.error_threshold:
            self.warmup_steps = steps_done(self.model.optimizer)


class ReduceOnPlateau(keras.callbacks.Callback):
    """Lowers the learning rate when the error stops falling.

    He et al. 2016a, sec. 3.4: "the learning rate starts from 0.1 and is divided by 10
    when the error plateaus". Unlike Keras's `ReduceLROnPlateau`, it reads the error in
    percentage points, and its state survives a restart. Compile the model with a number
    as its learning rate, not a schedule.

    Args:
        factor: What the learning rate is multiplied by, in (0, 1).
        patience: Epochs in a row without a new lowest error after which it is.
        min_delta: Percentage points by which a new lowest error must be lower.
        monitor: Name of the accuracy (a fraction) whose error it is. `None` takes
            ``"val_accuracy"``, or where there is no validation data ``"accuracy"``.

    Raises:
        ValueError: If there is no such metric at the end of an epoch.
    """

    def __init__(
        self,
        *,
        factor: float = 0.1,
        patience: int,
        min_delta: float,
        monitor: str | None = None,
    ) -> None:
        super().__init__()
        self.factor: float = factor
        self.patience: int = patience
        self.min_delta: float = min_delta
        self.monitor: str | None = monitor
        self.lowest: float = math.inf
        self.waited: int = 0

    def state(self) -> dict[str, Any]:
        """What `restore` needs to go on."""
        rate = current_learning_rate(self.model.optimizer)
        lowest = None if math.isinf(self.lowest) else self.lowest
        return {"lowest": lowest, "waited": self.waited, "learning_rate": rate}

    def restore(self, state: dict[str, Any]) -> None:
        """Takes back what `state` returned; sets the learning rate, too."""
        self.lowest = math.inf if state["lowest"] is None else state["lowest"]
        self.waited = state["waited"]
        self.model.optimizer.learning_rate = state["learning_rate"]

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        error = 100 * (1 - self._accuracy(logs or {}))
        if error < self.lowest - self.min_delta:
            self.lowest, self.waited = error, 0
            return
        self.waited += 1
        if self.waited >= self.patience:
            optimizer = self.model.optimizer
            optimizer.learning_rate = self.factor * current_learning_rate(optimizer)
            self.waited = 0

    def _accuracy(self, logs: dict[str, float]) -> float:
        names = [self.monitor] if self.monitor else ["val_accuracy", "accuracy"]
        for name in names:
            if name in logs:
                return logs[name]
        raise ValueError(
            f"`ReduceOnPlateau` reads the error from the metric {names[0]!r}: compile "
            "the model with `metrics=['accuracy']`, or name the accuracy that it has "
            f"with `monitor`. Received metrics: {sorted(logs)}."
        )


class StopAtNaN(keras.callbacks.Callback):
    """Raises `FloatingPointError` at the first loss that is not finite.

    Keras's `TerminateOnNaN` ends training as if it were finished; this does not. It
    looks at the loss of training after each batch, and at that of validation.

    Args:
        steps: `Steps` that count the updates; `None` asks the optimizer.
        advice: Function that returns a sentence for the end of the error's message.

    Attributes:
        diverged: Number of updates (int) that had made the weights whose loss was not
            finite, from when it was; `None` before. That of training is the loss of the
            weights before the update.
    """

    def __init__(
        self, steps: Steps | None = None, advice: Callable[[], str] = lambda: ""
    ) -> None:
        super().__init__()
        self.steps: Steps | None = steps
        self.advice: Callable[[], str] = advice
        self.diverged: int | None = None

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        updates = getattr(self.model, "steps_per_execution", 1)
        self._check((logs or {}).get("loss", 0.0), updates)

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        # The last update may have ruined the weights after its own loss was taken.
        self._check((logs or {}).get("val_loss", 0.0), 0)

    def _check(self, loss: float, updates: int) -> None:
        """Raises an error unless a loss is finite that was taken so many updates ago."""
        loss = float(loss)
        if not math.isfinite(loss):
            synchronize(self.model)
            done = updates_done(self.steps, self.model)
            self.diverged = done - updates
            raise FloatingPointError(
                f"The loss is {loss} after update {done} "
                f"at learning rate {last_learning_rate(self.model.optimizer):g}."
                f"{self.advice()}"
            )


def last_learning_rate(optimizer: keras.optimizers.Optimizer) -> float:
    """The learning rate that the last update was made with."""
    # Under mixed_float16 Keras wraps the optimizer to scale the loss.
    schedule = getattr(optimizer, "inner_optimizer", optimizer)._learning_rate
    if isinstance(schedule, keras.optimizers.schedules.LearningRateSchedule):
        last = max(0, steps_done(optimizer) - 1)
        return float(keras.ops.convert_to_numpy(schedule(last)))
    return current_learning_rate(optimizer)
