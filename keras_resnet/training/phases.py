"""Where a run's wall time goes, phase by phase."""

import collections
import time

import keras


class Phases:
    """Adds up the wall time of phases; each lasts until the next one begins.

    Attributes:
        seconds: Of each phase that has ended, by its name, in order of appearance.
    """

    def __init__(self):
        self.seconds = collections.defaultdict(float)
        self.name, self.since = None, None

    def begin(self, name):
        """Ends the phase that runs, if any, and begins another or goes on with it."""
        now = time.perf_counter()
        if self.name is not None:
            self.seconds[self.name] += now - self.since
        self.name, self.since = name, now

    def end(self) -> dict:
        """Ends the phase that runs; gives the seconds of all, rounded to a hundredth."""
        self.begin(None)
        return {name: round(seconds, 2) for name, seconds in self.seconds.items()}


class FitPhases(keras.callbacks.Callback):
    """Tells `Phases` what `fit` does: ``first_update`` (which traces and compiles),
    ``updates``, ``validation``, ``checkpoints`` (and all else that ends an epoch).

    Args:
        phases: `Phases`.
    """

    def __init__(self, phases):
        super().__init__()
        self.phases = phases

    def on_train_begin(self, logs=None):
        self.phases.begin("first_update")
        self.updated = False

    def on_epoch_begin(self, epoch, logs=None):
        if self.updated:
            self.phases.begin("updates")

    def on_train_batch_end(self, batch, logs=None):
        if not self.updated:
            self.phases.begin("updates")
            self.updated = True

    def on_test_begin(self, logs=None):
        self.phases.begin("validation")

    def on_test_end(self, logs=None):
        self.phases.begin("checkpoints")
