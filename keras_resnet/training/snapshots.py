"""Sets of weights that a run keeps along its training, for analyses of it."""

from __future__ import annotations

import math
import pathlib
import re
import shutil
import warnings
from collections.abc import Iterator, Sequence

import keras
import numpy as np

from keras_resnet.arrays import read_arrays, write_arrays
from keras_resnet.devices import distribute
from keras_resnet.training.averaging import AverageWeights
from keras_resnet.training.callbacks import Logs, Steps, synchronize

SNAPSHOTS = "snapshots"  # The folder, in the run's.
NAME = re.compile(r"update_(\d+)\.npz")
# A snapshot is written only where so many times its size is free: checkpoints, which hold
# the optimizer's variables and averages too, must find room after it.
ROOM = 8


def name_of(update: int) -> str:
    """The file, in the folder of snapshots, of the weights after an update."""
    return f"update_{update:08d}.npz"


def snapshot_updates(count: int, steps: int, every: int = 1) -> list[int]:
    """The updates after which weights are kept, spread evenly from 0 to the last.

    Args:
        count: Number of sets of weights.
        steps: Number of updates in all.
        every: Number of updates that Python starts at a time (``steps_per_execution``);
            weights can be seen between two such executions alone.

    Raises:
        ValueError: If there are fewer than two, or more than there are different weights,
            or an update lies within an execution.
    """
    if not 2 <= count <= steps + 1:
        raise ValueError(
            "`snapshots` (--snapshots) must be from 2, the initial and the final weights, "
            f"to {steps + 1:,}, those before and after each of the {steps:,} updates. "
            f"Received: snapshots={count!r}."
        )
    spaces = count - 1
    updates = [(2 * index * steps + spaces) // (2 * spaces) for index in range(count)]
    if any(update % every for update in updates):
        raise ValueError(
            f"With `steps_per_execution` (--steps-per-execution) of {every}, weights can "
            f"be kept after each {every} updates alone: give `steps_per_execution` of 1, "
            f"or `snapshots` (--snapshots) such that snapshots - 1 divides "
            f"{steps // every:,}. Received: snapshots={count!r}."
        )
    return updates


class Snapshots(keras.callbacks.Callback):
    """Keeps a network's weights after some of the updates, each in a file of its own.

    Where a recipe averages the weights, the averages are kept, as the run ends with them.
    A file is written before the checkpoint of the same update, so that a run that goes on
    writes all that come after it, with the same bits. One that can't be written is a
    warning. Place it behind `AverageWeights` and before what saves checkpoints.

    Args:
        network: Whose weights are kept, in the order of ``network.get_weights()``.
        folder: Where the files lie, of this run alone.
        updates: Numbers of updates, as of `snapshot_updates`.

    Attributes:
        steps: What counts the updates; `fit` sets it.
        average: What averages the weights, if anything; `fit` sets it.
        writes: Whether this worker writes; of several, the chief alone. `fit` sets it.
    """

    def __init__(
        self, network: keras.Model, folder: pathlib.Path, updates: Sequence[int]
    ) -> None:
        super().__init__()
        self.network: keras.Model = network
        self.folder: pathlib.Path = folder
        self.updates: frozenset[int] = frozenset(updates)
        self.steps: Steps = Steps(0)
        self.average: AverageWeights | None = None
        self.writes: bool = True

    def begin(self) -> None:
        """Keeps the weights that a run begins with or goes on from, if those are wanted.

        A run may have been begun without: a warning tells how many it has gone past.
        """
        if not self._path(self.steps.done).exists():
            self._keep()
        past = [one for one in self.updates if one < self.steps.done]
        gone = sum(not self._path(one).exists() for one in past)
        if gone and self.writes:
            warnings.warn(
                f"The run has gone past {gone} of the {len(self.updates)} sets of weights "
                "that `snapshots` (--snapshots) asks for; the others are kept. To have all "
                "of them, train from the beginning, under another `name` (--name).",
                stacklevel=2,
            )

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        self._keep()

    def _keep(self) -> None:
        """Writes the weights, if they are those after one of the updates."""
        if self.steps.done not in self.updates:
            return
        synchronize(self.model)
        if not self.writes:
            return
        path, weights = self._path(self.steps.done), self._weights()
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            _check_room(self.folder, sum(weight.nbytes for weight in weights))
            write_snapshot(path, weights)
        except OSError as error:
            warnings.warn(
                f"The weights after update {self.steps.done:,} aren't kept in {path}: "
                f"{error}. Training goes on without them.",
                stacklevel=2,
            )

    def _path(self, update: int) -> pathlib.Path:
        return self.folder / name_of(update)

    def _weights(self) -> list[np.ndarray]:
        variables = self.network.weights
        if self.average is not None and self.average.averages is not None:
            return self.average.of(variables)
        return [own_mean(variable) for variable in variables]


def own_mean(variable: keras.Variable) -> np.ndarray:
    """The value of a variable; the mean of its replicas where they differ."""
    value = distribute.read(variable)
    return value.mean(0) if value.ndim > len(variable.shape) else value


def _check_room(folder: pathlib.Path, size: int) -> None:
    """Raises `OSError` unless there is room for a snapshot and a checkpoint after it."""
    free = shutil.disk_usage(folder).free
    if free < ROOM * size:
        raise OSError(
            f"{free / 2**20:,.0f} MiB are free, which the next checkpoints need"
        )


def write_snapshot(path: pathlib.Path, weights: Sequence[np.ndarray]) -> None:
    """Writes weights, as a ``.npz`` file that appears when it is complete.

    Args:
        path: The file.
        weights: As of ``model.get_weights()``.
    """

    write_arrays(path, {f"arr_{i}": one for i, one in enumerate(weights)})


def snapshots_in(folder: pathlib.Path) -> dict[int, pathlib.Path]:
    """The files of weights that a run has kept, by their updates, in ascending order.

    Args:
        folder: The run's.

    Returns:
        Empty where none were kept.
    """
    paths = (folder / SNAPSHOTS).glob("update_*.npz")
    found = ((NAME.fullmatch(path.name), path) for path in paths)
    return dict(sorted((int(match[1]), path) for match, path in found if match))


def read_snapshot(path: pathlib.Path) -> list[np.ndarray]:
    """Reads weights, for ``model.set_weights``, that `train` with ``snapshots`` has kept.

    Args:
        path: One of `snapshots_in`.

    Raises:
        FileNotFoundError: If there is no file.
        ValueError: If it is damaged.
    """
    advice = "Put a copy of it back, or remove it to go without it."
    return list(read_arrays(path, "weights as training writes them", advice).values())


def read_snapshots(folder: pathlib.Path) -> Iterator[tuple[int, list[np.ndarray]]]:
    """Reads all weights that a run has kept, one set after the other.

    Args:
        folder: The run's.

    Yields:
        The number of updates, in ascending order, and the weights after them, for the
        ``set_weights`` of the run's model.

    Raises:
        ValueError: If a file is damaged.
    """
    for update, path in snapshots_in(folder).items():
        yield update, read_snapshot(path)


def space(network: keras.Model, updates: Sequence[int]) -> list[str]:
    """The lines of a plan that tell how many sets of weights are kept, and their size.

    Args:
        network: Whose weights they are.
        updates: As of `snapshot_updates`; empty where none are kept.
    """
    if not updates:
        return []
    size = sum(
        math.prod(variable.shape) * np.dtype(variable.dtype).itemsize
        for variable in network.weights
    )
    return [
        f"snapshots {len(updates)} sets of weights, {_bytes(size)} each, "
        f"{_bytes(len(updates) * size)} in all, about every {updates[1]:,} "
        f"{'update' if updates[1] == 1 else 'updates'}"
    ]


def _bytes(size: float) -> str:
    """A number of bytes for people."""
    return f"{size / 2**20:,.1f} MiB" if size >= 2**20 else f"{size:,} bytes"
