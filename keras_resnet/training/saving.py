"""A callback that saves checkpoints in time, and ends training on a signal."""

import pathlib
import signal
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from types import FrameType
from typing import Any

import keras
import numpy as np

from keras_resnet.devices import distribute
from keras_resnet.devices.find import ALONE, Devices
from keras_resnet.training import checkpoint
from keras_resnet.training.callbacks import Logs, Steps, synchronize

SECONDS_BETWEEN = 600  # At most so much work is done twice after a power cut.
# What asks a process to end: Ctrl-C, `kill` and Kubernetes, SLURM's early warning, and
# a terminal that is gone.
SIGNALS = ("SIGINT", "SIGTERM", "SIGUSR1", "SIGHUP")
# Updates between two questions of several workers whether one of them was asked to end.
ASKED_EVERY = 10


class Checkpoint(keras.callbacks.Callback):
    """Saves a checkpoint after every validation, every ten minutes, and on a signal.

    A signal ends training as soon as the update, or the validation, that it met is done
    and saved: `KeyboardInterrupt` for SIGINT, else `SystemExit` with 128 plus the
    signal's number. A second one acts at once. Several workers ask each other every
    `ASKED_EVERY` updates, and after each validation: a signal to any of them ends all,
    at the same update.

    Args:
        folder: Where checkpoints lie.
        stateful: The callbacks whose state belongs to the run, by name.
        steps: `callbacks.Steps`.
        epoch_ends: Function from the updates done to whether a validation, and with it
            a checkpoint, follows at once.
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
        self.received: int | None = None
        self.handlers: dict[int, Any] = {}

    def on_train_begin(self, logs: Logs = None) -> None:
        self.saved = time.monotonic()
        # Python allows handlers in the main thread alone.
        if self.handlers or threading.current_thread() != threading.main_thread():
            return
        for name in SIGNALS:
            number = getattr(signal, name, None)
            if number is None:
                continue
            if name == "SIGHUP" and signal.getsignal(number) == signal.SIG_IGN:
                continue  # As `nohup` wants it.
            self.handlers[number] = signal.signal(number, self._receive)

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
        due = self.devices.workers == 1 or self.steps.done % ASKED_EVERY == 0
        asked = self._asked() if due else 0
        late = time.monotonic() - self.saved > SECONDS_BETWEEN
        if asked or late:
            self._save()
        if asked:
            self.leave_if_asked()

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        self._save()
        self.leave_if_asked()

    def release(self) -> None:
        """Gives signals back to those who handled them before training."""
        for number, handler in self.handlers.items():
            signal.signal(number, handler)
        self.handlers = {}

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if self.received:
            self._leave(number)
        self.received = number

    def _save(self) -> None:
        synchronize(self.model)
        if self.devices.chief:
            states = {name: one.state() for name, one in self.stateful.items()}
            checkpoint.save(self.folder, self.model, states, self.steps.done)
        self.saved = time.monotonic()

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
        raise SystemExit(128 + number)
