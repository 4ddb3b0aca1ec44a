"""A callback for plain `fit`: training that was stopped goes on where an epoch ended."""

import inspect
import os
import pathlib
import random
import warnings
from typing import Any

import keras
import numpy as np

from keras_resnet.devices.host import say
from keras_resnet.files import local_path
from keras_resnet.training import checkpoint
from keras_resnet.training.callbacks import Logs, steps_done
from keras_resnet.training.checkpoint_files import read_last

# What Keras's callbacks count, and forget when training begins.
KERAS_STATES: dict[type[keras.callbacks.Callback], tuple[str, ...]] = {
    keras.callbacks.EarlyStopping: ("wait", "best", "best_epoch", "best_weights"),
    keras.callbacks.ReduceLROnPlateau: ("wait", "best", "cooldown_counter"),
    keras.callbacks.ModelCheckpoint: ("best",),
    keras.callbacks.History: ("epoch", "history"),
}


class Resume(keras.callbacks.Callback):
    """Goes on from the end of the last whole epoch after training was stopped.

    Run the same script again, with the same ``epochs``::

        model.fit(x, y, epochs=90, shuffle=False, callbacks=[Resume("backup")])

    At the end of each epoch it saves the variables of model and optimizer, the states of
    the random generators (Python's, NumPy's, and those of the model's layers) and the
    state of the other callbacks: of those that have the methods ``state()`` and
    ``restore(state)``, as ours have where it matters, and of Keras's `EarlyStopping`,
    `ReduceLROnPlateau`, `ModelCheckpoint` and `History`. Others begin anew. It may stand
    anywhere among the callbacks: Keras calls it after the others. A checkpoint appears
    under its name when it is complete, so the process may be killed at any time; a
    damaged one is named and set aside, and the one before it is taken.

    The weights are bit for bit those of training without a stop if the batches of epoch k
    are the same each time: arrays or a `keras.utils.PyDataset` with ``shuffle=False``, or
    a dataset that begins with epoch `epochs_done`. Where the order of the batches may be
    another, a warning says so. Random layers within a `tf.data` pipeline draw anew.

    When all epochs are done, or another callback has stopped training, the same script
    trains no more. With more epochs it goes on. To train from the beginning, remove the
    folder.

    Args:
        folder: Where the last two checkpoints are kept; of this training alone.

    Raises:
        ValueError: If what was saved is of another network, optimizer or other callbacks,
            or none of the checkpoints can be read.
        FloatingPointError: If a weight is not finite at the end of an epoch.
        OSError: If a checkpoint can't be written.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        super().__init__()
        self.folder: pathlib.Path = local_path(folder, "`folder`")
        self.epoch: int = 0  # Whole epochs done.
        self.stopped: bool = False  # By another callback.
        self.others: keras.callbacks.CallbackList | None = None
        self.same_order: bool = False
        self.asked: int | None = None

    @property
    def epochs_done(self) -> int:
        """Epochs that are done, from which `fit` will go on; 0 at the beginning.

        A dataset that differs from epoch to epoch begins with this one.
        """
        found = read_last(self.folder)
        self.asked = 0 if found is None else found[1]["resume"]["epoch"]
        return self.asked

    def set_model(self, model: keras.Model) -> None:
        super().set_model(model)
        # Keras tells a callback of the model, but neither of the other callbacks nor of
        # `fit`'s arguments: they are the callers'.
        frame = inspect.currentframe()
        caller = frame.f_back if frame else None
        while caller is not None:
            variables = caller.f_locals
            if isinstance(variables.get("self"), keras.callbacks.CallbackList):
                self.others = variables["self"]
            if caller.f_code.co_name == "fit" and "shuffle" in variables:
                self.same_order = _same_each_time(variables["x"], variables["shuffle"])
                break
            caller = caller.f_back
        if self.others is not None:
            # The others change their state at the end of an epoch, before it is saved,
            # and forget it when training begins, before it is restored.
            rest = [one for one in self.others.callbacks if one is not self]
            self.others.callbacks = [*rest, self]

    def on_train_begin(self, logs: Logs = None) -> None:
        if self.others is None or not hasattr(self.model, "_initial_epoch"):
            raise RuntimeError(
                "`Resume` must be one of the `callbacks` of a Keras model's `fit`, of a "
                "version of Keras whose `BackupAndRestore` sets the model's "
                f"`_initial_epoch`. Received: Keras {keras.__version__}."
            )
        if self.folder.exists() and not self.folder.is_dir():
            raise ValueError(
                "`folder` must be a folder, or not be there yet. "
                f"Received: {self.folder}, which is a file."
            )
        self.epoch = 0
        checkpoint.restore(self.folder, self.model, self._stateful())
        if self.asked not in (None, self.epoch):
            raise ValueError(
                f"Training must go on from epoch {self.asked}, as `epochs_done` said. "
                f"Received: a checkpoint of epoch {self.epoch}. Run the script again."
            )
        if not self.epoch:
            return
        # As Keras's own `BackupAndRestore` does it.
        self.model._initial_epoch = self.epoch
        if self.stopped:
            self.model._initial_epoch = max(self.epoch, (self.params or {})["epochs"])
        if (self.params or {}).get("verbose"):
            say(f"Going on after epoch {self.epoch}, from {self.folder}.")
        if not self.same_order and self.asked is None:
            warnings.warn(
                "The order of the batches may be another than without the stop: shuffled "
                "data and most datasets begin again with the order of the first epoch. "
                "For the same bits pass arrays or a PyDataset with `shuffle=False`, or a "
                "dataset that begins with epoch `Resume(folder).epochs_done`.",
                stacklevel=2,
            )

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:
        self.model._initial_epoch = None  # Or the next `fit` would begin there, too.

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        self.epoch, self.stopped = epoch + 1, bool(self.model.stop_training)
        states = {name: one.state() for name, one in self._stateful().items()}
        done = steps_done(self.model.optimizer)
        checkpoint.save(self.folder, self.model, states, done)

    def on_train_end(self, logs: Logs = None) -> None:
        self.model._initial_epoch = None

    def state(self) -> dict[str, Any]:
        """The epoch, and the random generators of Python and NumPy."""
        numpy = np.random.get_state(legacy=False)
        key = numpy["state"].pop("key")
        python = random.getstate()
        return {
            "epoch": self.epoch,
            "stopped": self.stopped,
            "python": python,
            "numpy": numpy,
            "arrays": [key],
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Takes back what `state` returned."""
        self.epoch, self.stopped = state["epoch"], state["stopped"]
        version, numbers, gauss = state["python"]
        random.setstate((version, tuple(numbers), gauss))
        numpy = state["numpy"]
        numpy["state"]["key"] = state["arrays"][0]
        np.random.set_state(numpy)

    def _stateful(self) -> dict[str, checkpoint.Stateful]:
        """What has a state, by name: this callback, and the others in their order."""
        found: dict[str, checkpoint.Stateful] = {"resume": self}
        for callback in self.others.callbacks if self.others else ():
            name = f"{type(callback).__name__}_{len(found)}"
            if callback is self:
                continue
            methods = (getattr(callback, name, None) for name in ("state", "restore"))
            if all(map(callable, methods)):
                found[name] = callback
            for kind, attributes in KERAS_STATES.items():
                if isinstance(callback, kind):
                    found[name] = _Attributes(callback, attributes)
        return found


class _Attributes:
    """The state of one of Keras's callbacks: some of its attributes."""

    def __init__(
        self, callback: keras.callbacks.Callback, names: tuple[str, ...]
    ) -> None:
        self.callback = callback
        self.names = names

    def state(self) -> dict[str, Any]:
        values = {name: getattr(self.callback, name) for name in self.names}
        weights = values.pop("best_weights", None) or []
        return {name: _plain(value) for name, value in values.items()} | {
            "arrays": weights
        }

    def restore(self, state: dict[str, Any]) -> None:
        for name in self.names:
            value = state.get("arrays") if name == "best_weights" else state[name]
            setattr(self.callback, name, value)

    def set_model(self, model: keras.Model) -> None:
        pass  # It has it.


def _plain(value: Any) -> Any:
    """A value as JSON can hold it: numbers of NumPy and of tensors become Python's."""
    if isinstance(value, dict):
        return {name: _plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return float(value)


def _same_each_time(x: Any, shuffle: Any) -> bool:
    """Whether `fit` takes the same batches from ``x`` in epoch k each time."""
    if shuffle:
        return False
    if isinstance(x, keras.utils.PyDataset):
        return True
    return all(hasattr(array, "shape") for array in keras.tree.flatten(x))
