"""``history.csv``: a row for every validation, written and read."""

import csv
import time

import keras

from keras_resnet.files import replaced
from keras_resnet.training.callbacks import last_learning_rate

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


class HistoryLog(keras.callbacks.Callback):
    """Writes ``history.csv``: a row for every validation, with the columns `HISTORY`.

    ``loss`` and ``accuracy`` (a fraction) are running means over the training batches
    since the last validation, ``learning_rate`` that of the last update.

    The rows belong to the state that checkpoints hold, and the file is written from
    them, so a run that goes on has neither gaps nor doubles, whatever became of the file.

    Args:
        path: The file.
        steps: `Steps`.
        batch_size: Images per update.
        examples: Images per epoch.

    Attributes:
        rows: So far, over all parts of the run.
        seconds: Of training and validation so far, over all parts of the run.
    """

    def __init__(self, path, steps, *, batch_size, examples):
        super().__init__()
        self.path = path
        self.steps = steps
        self.batch_size = batch_size
        self.examples = examples
        self.rows = []
        self.seconds = 0.0
        self.started = None

    def state(self):
        seconds = self.seconds + self._of_this_epoch()
        return {"rows": list(self.rows), "seconds": seconds}

    def restore(self, state):
        self.rows = list(state["rows"])
        self.seconds = state["seconds"]

    def on_epoch_begin(self, epoch, logs=None):
        self.batches, self.first = 0, None
        self.started = time.perf_counter()

    def on_train_batch_end(self, batch, logs=None):
        self.batches = batch + 1
        if self.first is None:  # The first execution also traces and compiles.
            self.first = self.batches, time.perf_counter()

    def on_test_begin(self, logs=None):
        self.trained = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        step = self.steps.done
        untimed, since = self.first
        if untimed == self.batches:
            untimed, since = 0, self.started
        speed = (self.batches - untimed) * self.batch_size / (self.trained - since)
        row = {
            "step": step,
            "epoch": round(step * self.batch_size / self.examples, 3),
            **{name: f"{logs[name]:.6g}" for name in HISTORY[2:6]},
            "learning_rate": f"{last_learning_rate(self.model.optimizer):.6g}",
            "images_per_second": f"{speed:.1f}",
        }
        self.rows.append(row)
        self.write()
        self.seconds += self._of_this_epoch()
        self.started = None

    def write(self):
        """Writes the file, whatever has become of it."""
        with replaced(self.path) as new, new.open("w", newline="") as file:
            writer = csv.DictWriter(file, HISTORY)
            writer.writeheader()
            writer.writerows(self.rows)

    def _of_this_epoch(self):
        return 0.0 if self.started is None else time.perf_counter() - self.started


def read_history(path):
    """The rows of a ``history.csv``, values as numbers."""
    with open(path, newline="") as file:
        return [
            {
                name: int(value) if name == "step" else float(value)
                for name, value in row.items()
            }
            for row in csv.DictReader(file)
        ]
