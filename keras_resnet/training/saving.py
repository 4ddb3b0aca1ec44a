"""A callback that saves checkpoints in time, and ends training on a signal."""

import pathlib
import signal
import threading
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from types import FrameType
from typing import Any

import keras
import numpy as np

from keras_resnet.devices import distribute, signals
from keras_resnet.devices.find import ALONE, Devices
from keras_resnet.training import checkpoint
from keras_resnet.training.callbacks import Logs, Steps, synchronize
from keras_resnet.training.history import HistoryLog

SECONDS_BETWEEN = 600  # At most so much work is done twice after a power cut.
SIGNALS = ("SIGINT", *signals.ENDING)  # Ctrl-C, too.
# Updates, and batches of validation, between two questions of several workers whether one
# of them was asked to end.
ASKED_EVERY = 10
# A Ctrl-C that comes as soon after another is the same: some programs pass it on to a
# process to which the terminal has sent it, too.
SAME_SIGNAL = 1.0


class Checkpoint(keras.callbacks.Callback):
    """Saves a checkpoint at every epoch's end, every ten minutes, and on a signal.

    A signal ends training as soon as the update that it met is done and saved, and at
    once where all that was done is saved, as before the first update and in a
    validation: `KeyboardInterrupt` for SIGINT, else `SystemExit` with 128 plus the
    signal's number. Others that follow change nothing, but a second Ctrl-C ends training
    at once. Several workers ask each other every `ASKED_EVERY` updates and batches of
    validation: a signal to any of them ends all, at the same place.

    Signals that are ignored, and those that the user's own program has a handler for,
    stay as they are: see `signals.take`.

    Args:
        folder: Where checkpoints lie.
        stateful: The callbacks whose state belongs to the run, by name.
        steps: `callbacks.Steps`.
        epoch_ends: Function from the updates done to whether an epoch ends there, and
            with it come a checkpoint and a validation.
        metrics: What `restore` gave for the metrics of an epoch that was left in its
            middle.
        devices: `devices.find.Devices`. Of several workers, the chief alone writes.
    """

    def __init__(
        self,
        folder: pathlib.Path,
        stateful: Mapping[str, checkpoint.Stateful],
        steps: Steps,
        epoch_ends: Callable[[int], bool],
        metrics: Sequence[np.ndarray] = (),
        devices: Devices = ALONE,
    ) -> None:
        super().__init__()
        self.folder: pathlib.Path = folder
        self.stateful: Mapping[str, checkpoint.Stateful] = stateful
        self.steps: Steps = steps
        self.epoch_ends: Callable[[int], bool] = epoch_ends
        self.metrics: Sequence[np.ndarray] = metrics
        self.devices: Devices = devices
        self.saved: float = 0.0
        self.saved_at: int = steps.done  # Updates until the last checkpoint.
        self.received: int | None = None
        self.received_at: float = 0.0
        self.handlers: dict[int, Any] = {}

    def on_train_begin(self, logs: Logs = None) -> None:
        self.saved = time.monotonic()
        # Python allows handlers in the main thread alone.
        if self.handlers or threading.current_thread() != threading.main_thread():
            return
        self.handlers = signals.take(SIGNALS, self._receive)
        signals.HANDLERS[self._receive] = self.unsaved

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:
        # `fit` has just set them to zero.
        for variable, array in zip(
            self.model.metrics_variables, self.metrics, strict=bool(self.metrics)
        ):
            distribute.write(variable, array)
        self.metrics = ()

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        if self.epoch_ends(self.steps.done):
            return
        asked = self._asked() if self._is_due(self.steps.done) else 0
        late = time.monotonic() - self.saved > SECONDS_BETWEEN
        if asked or late:
            self.save()
        if asked:
            self.leave_if_asked()

    def on_test_batch_end(self, batch: int, logs: Logs = None) -> None:
        if self._is_due(batch + 1):
            self.leave_if_asked()

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        if self.steps.done == self.saved_at:  # Before the validation.
            self._save_states()
        else:
            self.save()
        self.leave_if_asked()

    def unsaved(self) -> bool:
        """Whether something must be done before training may end.

        Of several workers, it is also to tell the others.
        """
        return self.devices.workers > 1 or self.steps.done != self.saved_at

    def release(self) -> None:
        """Gives signals back to those who handled them before training."""
        signals.HANDLERS.pop(self._receive, None)
        signals.give_back(self.handlers)
        self.handlers = {}

    def _receive(self, number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        again = self.received == number == signal.SIGINT
        insists = again and now - self.received_at > SAME_SIGNAL
        if self.received is None:
            self.received, self.received_at = number, now
        if insists or not self.unsaved():
            self._leave(self.received)

    def save(self) -> None:
        """Saves a checkpoint of all that was done so far."""
        synchronize(self.model)
        if self.devices.chief:
            checkpoint.save(self.folder, self.model, self._states(), self.steps.done)
        self.saved, self.saved_at = time.monotonic(), self.steps.done

    def _save_states(self) -> None:
        """Saves what a validation changed, or warns: it would be done again."""
        if not self.devices.chief:
            return
        try:
            checkpoint.save_states(self.folder, self._states(), self.steps.done)
        except (OSError, ValueError) as error:
            warnings.warn(
                f"The result of the validation can't be kept in {self.folder} ({error}): "
                "training goes on. Were it stopped now, it would validate once more.",
                stacklevel=2,
            )

    def _states(self) -> dict[str, dict[str, Any]]:
        return {name: one.state() for name, one in self.stateful.items()}

    def _is_due(self, count: int) -> bool:
        """Whether to ask, after so many updates or batches, if a signal has come."""
        return self.devices.workers == 1 or count % ASKED_EVERY == 0

    def _asked(self) -> int:
        """The signal that came, here or to another worker; 0 if none."""
        return max(distribute.everyones(self.received or 0, self.devices))

    def leave_if_asked(self) -> None:
        """Ends the process if a signal has come, and the other workers' with it.

        They get here when the chief has saved.
        """
        number = self._asked()
        if number:
            self._leave(number)

    def _leave(self, number: int) -> None:
        if number == signal.SIGINT:
            raise KeyboardInterrupt
        signals.leave(number)


class BeforeValidation(keras.callbacks.Callback):
    """Saves a checkpoint at an epoch's end, before it is validated.

    Place it behind what must act before the weights are saved, and before
    `AverageWeights`, which puts others in their place for the validation.

    Args:
        saving: What saves.
        log: The history. It keeps the results of the epoch's training: a process that
            goes on from this checkpoint begins with the validation.
    """

    def __init__(self, saving: Checkpoint, log: HistoryLog) -> None:
        super().__init__()
        self.saving: Checkpoint = saving
        self.log: HistoryLog = log

    def on_test_begin(self, logs: Logs = None) -> None:
        if self.saving.steps.done == self.saving.saved_at:
            return  # It goes on from such a checkpoint.
        # Of all workers, if there are several.
        results = self.model.get_metrics_result()
        if self.saving.devices.chief:
            self.log.hold({name: float(value) for name, value in results.items()})
        self.saving.save()
        self.saving.leave_if_asked()
