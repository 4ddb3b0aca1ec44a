"""``history.csv``: a row for every epoch or validation, written and read."""

import csv
import os
import pathlib
import time
import warnings
from collections.abc import Mapping
from typing import Any

import keras

from keras_resnet.files import local_path, replaced
from keras_resnet.training.callbacks import (
    Logs,
    Steps,
    last_learning_rate,
    updates_done,
)

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
    """Writes a CSV file with a row for every epoch of `fit`.

    The columns are `HISTORY` as far as there is something to write, then whatever else
    the model measures. ``step`` counts updates; ``loss`` and ``accuracy`` (a fraction)
    are running means over the batches of the epoch; ``learning_rate`` is that of the
    last update.

    The file is written whole at the end of each epoch, from rows that belong to the
    callback's state: training that goes on leaves neither gaps nor doubles, whatever
    became of the file. Where it can't be written, a warning says so, and the next epoch
    tries again.

    Args:
        path: The file; its folder is made if there is none.
        steps: `Steps` that count the updates; `None` asks the optimizer.
        batch_size: Images per update. Without, there is no ``images_per_second``.
        examples: Images per pass over the training data, of which ``epoch`` then is a
            fraction. Without, ``epoch`` counts those of `fit`, from 1.

    Attributes:
        rows: The rows so far, over all parts of the training.
        seconds: Duration of training and validation so far, over all parts.
        unvalidated: Of an epoch whose validation is still to come, what `hold` noted.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        steps: Steps | None = None,
        *,
        batch_size: int | None = None,
        examples: int | None = None,
    ) -> None:
        super().__init__()
        self.path: pathlib.Path = local_path(path)
        self.steps: Steps | None = steps
        self.batch_size: int | None = batch_size
        self.examples: int | None = examples
        self.rows: list[dict[str, Any]] = []
        self.seconds: float = 0.0
        self.started: float | None = None
        self.batches: int = 0
        self.first: tuple[int, float] | None = None
        self.trained: float | None = None
        self.unvalidated: dict[str, Any] | None = None

    def state(self) -> dict[str, Any]:
        """What `restore` needs to go on."""
        seconds = self.seconds + self._of_this_epoch()
        state = {"rows": list(self.rows), "seconds": seconds}
        if self.unvalidated is not None:
            state["unvalidated"] = self.unvalidated
        return state

    def restore(self, state: dict[str, Any]) -> None:
        """Takes back what `state` returned."""
        self.rows = list(state["rows"])
        self.seconds = state["seconds"]
        self.unvalidated = state.get("unvalidated")

    def hold(self, logs: Mapping[str, float]) -> None:
        """Keeps the results of an epoch in the state until its validation is done.

        Args:
            logs: Loss and metrics of the epoch's training.
        """
        self.unvalidated = {"logs": dict(logs)}
        if self.batch_size:
            self.unvalidated["images_per_second"] = self._images_per_second()

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:
        self.batches, self.first, self.trained = 0, None, None
        self.started = time.perf_counter()

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        self.batches = batch + 1
        if self.first is None:  # The first execution also traces and compiles.
            self.first = self.batches, time.perf_counter()

    def on_test_begin(self, logs: Logs = None) -> None:
        self.trained = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        step = updates_done(self.steps, self.model)
        row: dict[str, Any] = {"step": step, "epoch": epoch + 1}
        if self.batch_size and self.examples:
            row["epoch"] = round(step * self.batch_size / self.examples, 3)
        row |= {name: f"{value:.6g}" for name, value in (logs or {}).items()}
        row["learning_rate"] = f"{last_learning_rate(self.model.optimizer):.6g}"
        if self.batch_size:
            held = self.unvalidated or {}
            row["images_per_second"] = (
                held.get("images_per_second") or self._images_per_second()
            )
        self.unvalidated = None
        self.rows.append(row)
        self.write()
        self.seconds += self._of_this_epoch()
        self.started = None

    def write(self) -> None:
        """Writes the file, whatever has become of it; warns where it can't be written."""
        try:
            self._write()
        except OSError as error:  # The rows are in memory, and in every checkpoint.
            warnings.warn(
                f"{self.path} can't be written ({error}): training goes on, and the next "
                "epoch tries again.",
                stacklevel=2,
            )

    def numbers(self) -> list[dict[str, float]]:
        """The rows as `read_history` gives them."""
        return [_numbers(row, line) for line, row in enumerate(self.rows, 2)]

    def _write(self) -> None:
        names = dict.fromkeys(name for row in self.rows for name in row)
        columns = [name for name in HISTORY if name in names or not names]
        columns += [name for name in names if name not in HISTORY]
        with (
            replaced(self.path) as new,
            new.open("w", newline="", encoding="utf-8") as file,
        ):
            writer = csv.DictWriter(file, columns)
            writer.writeheader()
            writer.writerows(self.rows)

    def _images_per_second(self) -> str:
        """Of the epoch that ends; without its first execution, unless it is the only."""
        untimed, since = self.first or (0, self.started)
        if untimed == self.batches:
            untimed, since = 0, self.started
        until = time.perf_counter() if self.trained is None else self.trained
        speed = (self.batches - untimed) / (until - since) * self.batch_size
        return f"{speed:.1f}"

    def _of_this_epoch(self) -> float:
        return 0.0 if self.started is None else time.perf_counter() - self.started


def read_history(path: str | os.PathLike[str]) -> list[dict[str, float]]:
    """The rows of a file that `HistoryLog` wrote, with their values as numbers.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is damaged; it names the row and the column.
    """
    path = local_path(path)
    try:
        with open(path, newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file, strict=True)
            if "step" not in (reader.fieldnames or ()):
                raise ValueError("there is no column `step`")
            return [_numbers(row, reader.line_num) for row in reader]
    except (csv.Error, ValueError) as error:
        raise ValueError(
            f"{path} must be a table as `HistoryLog` writes it. Reading it failed: "
            f"{error}. Put a copy of it back."
        ) from error


def _numbers(row: dict[str, Any], line: int) -> dict[str, float]:
    """A row with its values as numbers, without those that it doesn't have."""
    if None in row or None in row.values():
        raise ValueError(f"line {line} has more or fewer values than there are columns")
    try:
        return {
            name: int(value) if name == "step" else float(value)
            for name, value in row.items()
            if value != ""  # Not every row has to have every column.
        }
    except ValueError as error:
        raise ValueError(f"line {line} holds what is no number: {error}") from error
