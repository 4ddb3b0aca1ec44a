"""Checkpoints: what is saved so that training can go on, and how it is read back.

A checkpoint is a folder ``step_<updates>`` with the variables of model, optimizer and
metrics, and the state of the callbacks. It appears under that name only when it is
complete.
"""

import contextlib
import errno
import json
import pathlib
import re
import shutil
import zipfile
from collections.abc import Mapping
from typing import Any, Protocol

import keras
import numpy as np

from keras_resnet.devices import distribute
from keras_resnet.devices.host import say
from keras_resnet.files import WRITING, replaced
from keras_resnet.training.distillation import teacher_of, without_teacher

NAME = re.compile(r"step_(\d+)")  # Of a checkpoint: the number of updates done.
KEPT = 2  # The last, and one more should the disk have lost the last.


class Stateful(Protocol):
    """What has a state that a checkpoint holds, such as many of our callbacks."""

    def state(self) -> dict[str, Any]:
        """Values that JSON can hold, and under ``"arrays"`` a list of NumPy arrays."""
        ...

    def restore(self, state: dict[str, Any]) -> None:
        """Takes back what `state` returned."""
        ...

    def set_model(self, model: keras.Model) -> None:
        """Takes the model, as of `keras.callbacks.Callback`."""
        ...


def save(
    folder: pathlib.Path,
    model: keras.Model,
    states: Mapping[str, dict[str, Any]],
    step: int,
) -> None:
    """Writes a checkpoint.

    Args:
        folder: Where checkpoints lie; older ones but `KEPT` are removed.
        model: Compiled.
        states: What else must survive, by name: values that JSON can hold, and a list
            of NumPy arrays under ``"arrays"``.
        step: Number of updates done.

    Raises:
        FloatingPointError: If a weight is not finite. Those written before stay.
        OSError: If it can't be written, for lack of space or of rights. Those written
            before stay as they are.
    """
    arrays = {
        f"{group}.{index}": distribute.read(variable)
        for group, variables in _groups(model).items()
        for index, variable in enumerate(variables)
    }
    for name, array in arrays.items():
        if name.startswith("model.") and not np.all(np.isfinite(array)):
            raise FloatingPointError(
                f"The weights are not finite after update {step}.{advice(folder)}"
            )
    states = {name: dict(state) for name, state in states.items()}
    states["teacher"] = _teacher(model)
    for name, state in states.items():
        for index, array in enumerate(state.pop("arrays", ())):
            arrays[f"{name}.{index}"] = array
    final = folder / f"step_{step:08d}"
    try:
        with replaced(final) as new:
            new.mkdir()
            np.savez(new / "variables.npz", **arrays)
            (new / "state.json").write_text(json.dumps(states))
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        hint = "Free some space" if full else "See that you may write there"
        raise OSError(
            error.errno,
            f"The checkpoint {final} can't be written: {error}. {hint} and run the "
            "same command: it goes on from the checkpoint before.",
        ) from error
    for old in checkpoints(folder)[:-KEPT]:
        shutil.rmtree(old)


def _groups(model: keras.Model) -> dict[str, list[keras.Variable]]:
    """The variables that decide how a run goes on, in an order that stays."""
    return {
        # With the states of random generators.
        "model": without_teacher(model.variables, model),
        "optimizer": model.optimizer.variables,
        "metrics": model.metrics_variables,
    }


def _teacher(model: keras.Model) -> dict[str, str]:
    """What tells whether a run goes on with the teacher that it began with."""
    teacher = teacher_of(model)
    return {} if teacher is None else {"sha256": teacher.sha256}


def checkpoints(folder: pathlib.Path) -> list[pathlib.Path]:
    """The complete checkpoints in a folder, oldest first."""
    found = [path for path in folder.glob("step_*") if NAME.fullmatch(path.name)]
    # By number: as text, step_100000000 comes before step_99999999.
    return sorted(found, key=_step)


def updates_done(folder: pathlib.Path) -> int:
    """The number of updates until the last checkpoint in a folder, 0 if there is none."""
    return max(map(_step, checkpoints(folder)), default=0)


def _step(checkpoint: pathlib.Path) -> int:
    return int(checkpoint.name.removeprefix("step_"))


def advice(folder: pathlib.Path) -> str:
    """What to do after divergence, in a sentence that names the last checkpoint."""
    last = [path.name for path in checkpoints(folder)[-1:]]
    where = f"The last checkpoint, {last[0]}, is good" if last else "None was saved"
    return (
        f" {where}. The same training would likely come to the same end: begin anew in "
        "another folder (--output-dir) with a lower learning rate (--learning-rate), or "
        "in float32 (--precision float32) if the precision was mixed."
    )


def restore(
    folder: pathlib.Path, model: keras.Model, stateful: Mapping[str, Stateful]
) -> tuple[int, list[np.ndarray]]:
    """Brings a compiled model and its callbacks to the last readable checkpoint.

    Args:
        folder: Where checkpoints lie.
        model: Compiled, its optimizer not yet used.
        stateful: The callbacks by the names under which their state was saved.

    Returns:
        Updates done, 0 if there is no checkpoint, and the values of the metrics'
        variables, which `fit` sets to zero when it begins.

    Raises:
        ValueError: If there are checkpoints and none of them can be read, or the last
            one holds something else than what training goes on with.
    """
    model.optimizer.build(model.trainable_variables)
    found = read_last(folder)
    if found is None:
        return 0, []
    checkpoint, states, arrays = found
    _assign(model, arrays, checkpoint)
    _give_states(stateful, model, states, arrays, checkpoint)
    if states.get("teacher", {}) != _teacher(model):
        raise ValueError(
            f"{checkpoint} must have been saved with the teacher that training goes "
            "on with. Received: one of other weights. Give the run's folder "
            "(--teacher) as it was when training began."
        )
    return _step(checkpoint), _group(arrays, "metrics")


def read_last(
    folder: pathlib.Path,
) -> tuple[pathlib.Path, dict[str, Any], dict[str, np.ndarray]] | None:
    """Reads the last checkpoint in a folder that can be read.

    Those behind it are said to be damaged, and renamed; what a process that was killed
    has left half-written is removed.

    Returns:
        The checkpoint's folder, the states and the arrays that `save` wrote; `None` if
        there is no checkpoint.

    Raises:
        ValueError: If there are checkpoints and none of them can be read.
    """
    for temporary in folder.glob(f"{WRITING}step_*"):
        shutil.rmtree(temporary, ignore_errors=True)
    failure = None
    for checkpoint in reversed(checkpoints(folder)):
        try:
            states = json.loads((checkpoint / "state.json").read_text())
            with np.load(checkpoint / "variables.npz") as file:
                return checkpoint, states, dict(file)
        except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
            failure = error
            say(f"{checkpoint} can't be read ({error}) and is passed over.")
            with contextlib.suppress(OSError):
                # Else it would count as the last one, and as good.
                checkpoint.rename(folder / f"damaged_{checkpoint.name}")
    if failure is not None:
        raise ValueError(
            f"None of the checkpoints in {folder} can be read ({failure}). Remove that "
            "folder to train from the beginning."
        )
    return None


def _group(arrays: Mapping[str, np.ndarray], name: str) -> list[np.ndarray]:
    """The arrays of one group, in their order."""
    count = sum(key.rpartition(".")[0] == name for key in arrays)
    return [arrays[f"{name}.{index}"] for index in range(count)]


def _give_states(
    stateful: Mapping[str, Stateful],
    model: keras.Model,
    states: Mapping[str, dict[str, Any]],
    arrays: Mapping[str, np.ndarray],
    checkpoint: pathlib.Path,
) -> None:
    """Gives the callbacks the states of a checkpoint."""
    try:
        if not isinstance(states, dict):
            raise TypeError(f"a {type(states).__name__}")
        for name, callback in stateful.items():
            callback.set_model(model)
            own = _group(arrays, name)
            callback.restore(states[name] | ({"arrays": own} if own else {}))
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise ValueError(
            f"{checkpoint / 'state.json'} must hold the state of {', '.join(stateful)} "
            f"as this version of keras_resnet saves it, and it doesn't ({error!r}). Go "
            "on with the callbacks and the version that saved it, or remove "
            f"{checkpoint}: training then goes on from the checkpoint before, or from "
            "the beginning."
        ) from error


def _assign(
    model: keras.Model, arrays: Mapping[str, np.ndarray], checkpoint: pathlib.Path
) -> None:
    """Gives model and optimizer the values of a checkpoint."""
    for name, variables in list(_groups(model).items())[:2]:
        values = _group(arrays, name)
        # Replicas may have values of their own, stacked in front.
        fits = len(values) == len(variables) and all(
            value.shape[value.ndim - len(variable.shape) :] == tuple(variable.shape)
            for value, variable in zip(values, variables, strict=True)
        )
        if not fits:
            raise ValueError(
                f"{checkpoint} must have been saved of the network, the optimizer and the "
                f"precision that training goes on with: its {name} has {len(values)} "
                f"variables, where there are {len(variables)} now, or other shapes. Give "
                "what training began with."
            )
        for variable, value in zip(variables, values, strict=True):
            distribute.write(variable, value)
