"""What happens between updates: learning rates that react, logs, guards.

A callback with a state that must survive a restart has ``state()``, which gives it
as JSON takes it, and ``restore(state)``.
"""

import collections
import csv
import math
import os
import time

import keras

HISTORY = (
    "step",
    "epoch",
    "loss",
    "accuracy",
    "val_loss",
    "val_accuracy",
    "learning_rate",
    "images_per_second",
)


def current_learning_rate(optimizer):
    """The learning rate of the next update, as a float."""
    return float(keras.ops.convert_to_numpy(optimizer.learning_rate))


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

    def state(self):
        return {"warmup_steps": self.warmup_steps, "correct": list(self.correct)}

    def restore(self, state):
        self.warmup_steps = state["warmup_steps"]
        self.correct.clear()
        # Checkpoints of before it was saved lack it.
        self.correct.extend(state.get("correct", ()))

    def on_epoch_begin(self, epoch, logs=None):
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


class StopAfter(keras.callbacks.Callback):
    """Ends training after so many updates, which `fit` can't when they don't divide
    into epochs."""

    def __init__(self, steps):
        super().__init__()
        self.steps = steps

    def on_train_begin(self, logs=None):
        self.done = steps_done(self.model.optimizer)

    def on_train_batch_end(self, batch, logs=None):
        self.done += 1
        if self.done >= self.steps:
            self.model.stop_training = True


class StopAtNaN(keras.callbacks.Callback):
    """Raises `FloatingPointError` at the first loss that is not finite."""

    def on_train_batch_end(self, batch, logs=None):
        self._check(float(logs["loss"]))

    def on_epoch_end(self, epoch, logs=None):
        # The last update may have ruined the weights after its own loss was taken.
        self._check(float(logs.get("val_loss", 0.0)))

    def _check(self, loss):
        if not math.isfinite(loss):
            optimizer = self.model.optimizer
            raise FloatingPointError(
                f"The loss is {loss} after update {steps_done(optimizer)} at learning "
                f"rate {current_learning_rate(optimizer):g}. The last checkpoint is "
                "from before it; train again with a lower learning rate, or with "
                "--precision float32 if the precision was mixed."
            )


class HistoryLog(keras.callbacks.Callback):
    """Writes ``history.csv``: a row for every validation, with the columns `HISTORY`.

    ``loss`` and ``accuracy`` (a fraction) are running means over the training batches
    since the last validation, ``learning_rate`` that of the last update.

    Args:
        path: The file. Rows that it already holds up to the model's step are kept, so
            that a run that goes on has neither gaps nor doubles.
        batch_size: Images per update.
        examples: Images per epoch.

    Attributes:
        seconds: Of training and validation so far, over all parts of the run.
    """

    def __init__(self, path, *, batch_size, examples):
        super().__init__()
        self.path = path
        self.batch_size = batch_size
        self.examples = examples
        self.seconds = 0.0

    def state(self):
        return {"seconds": self.seconds}

    def restore(self, state):
        self.seconds = state["seconds"]

    def on_train_begin(self, logs=None):
        done = steps_done(self.model.optimizer)
        rows = read_history(self.path) if self.path.exists() else []
        kept = [row for row in rows if row["step"] <= done]
        temporary = self.path.with_suffix(".tmp")
        with temporary.open("w", newline="") as file:
            writer = csv.DictWriter(file, HISTORY)
            writer.writeheader()
            writer.writerows(kept)
        os.replace(temporary, self.path)

    def on_epoch_begin(self, epoch, logs=None):
        self.batches = 0
        self.started = time.perf_counter()

    def on_train_batch_end(self, batch, logs=None):
        self.batches += 1
        if self.batches == 1:  # The first update also traces and compiles.
            self.first = time.perf_counter()

    def on_test_begin(self, logs=None):
        self.trained = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        optimizer = self.model.optimizer
        step = steps_done(optimizer)
        timed = max(1, self.batches - 1)
        seconds = self.trained - (self.first if self.batches > 1 else self.started)
        row = {
            "step": step,
            "epoch": round(step * self.batch_size / self.examples, 3),
            **{name: f"{logs[name]:.6g}" for name in HISTORY[2:6]},
            "learning_rate": f"{learning_rate_of_update(optimizer, step):.6g}",
            "images_per_second": f"{timed * self.batch_size / seconds:.1f}",
        }
        with self.path.open("a", newline="") as file:
            csv.DictWriter(file, HISTORY).writerow(row)
        self.seconds += time.perf_counter() - self.started


def learning_rate_of_update(optimizer, step):
    """The learning rate that update number ``step`` (from 1) was made with."""
    # Under mixed_float16 Keras wraps the optimizer to scale the loss.
    schedule = getattr(optimizer, "inner_optimizer", optimizer)._learning_rate
    if isinstance(schedule, keras.optimizers.schedules.LearningRateSchedule):
        return float(keras.ops.convert_to_numpy(schedule(step - 1)))
    return current_learning_rate(optimizer)


def read_history(path):
    """The rows of a ``history.csv``, values as numbers."""
    with open(path, newline="") as file:
        # A full disk can leave a last row that is cut short.
        rows = [row for row in csv.DictReader(file) if None not in row.values()]
    return [
        {
            name: int(value) if name == "step" else float(value)
            for name, value in row.items()
        }
        for row in rows
    ]
