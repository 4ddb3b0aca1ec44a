"""Measures where the wall time of a training goes, phase by phase."""

import collections
import time

import keras

from keras_resnet.training.callbacks import Logs


class Phases:
    """Adds up the wall time of phases; each lasts until the next one begins.

    Attributes:
        seconds: Seconds of each phase that has ended, by its name, in order of appearance.
    """

    def __init__(self) -> None:
        self.seconds: collections.defaultdict[str, float] = collections.defaultdict(
            float
        )
        self.name: str | None = None
        self.since: float = 0.0

    def begin(self, name: str | None) -> None:
        """Ends the phase that runs, if any, and begins another or goes on with it."""
        now = time.perf_counter()
        if self.name is not None:
            self.seconds[self.name] += now - self.since
        self.name, self.since = name, now

    def end(self) -> dict[str, float]:
        """Ends the phase that runs; returns the seconds of all, rounded to hundredths."""
        self.begin(None)
        return {name: round(seconds, 2) for name, seconds in self.seconds.items()}


class FitPhases(keras.callbacks.Callback):
    """Begins the phases of `fit`: ``first_update`` (which traces and compiles),
    ``updates``, ``validation``, ``checkpoints`` (and all else before and after it).

    Args:
        phases: The `Phases` that add them up.
    """

    def __init__(self, phases: Phases) -> None:
        super().__init__()
        self.phases: Phases = phases
        self.updated: bool = False

    def on_train_begin(self, logs: Logs = None) -> None:
        self.phases.begin("first_update")
        self.updated = False

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:
        if self.updated:
            self.phases.begin("updates")

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        if not self.updated:
            self.phases.begin("updates")
            self.updated = True

    def on_test_begin(self, logs: Logs = None) -> None:
        self.phases.begin("checkpoints")

    def on_test_batch_begin(self, batch: int, logs: Logs = None) -> None:
        if self.phases.name != "validation":
            self.phases.begin("validation")

    def on_test_end(self, logs: Logs = None) -> None:
        self.phases.begin("checkpoints")
