"""Checkpoints: what is saved so that training can go on, and how it is brought back.

Their files are written and read by `checkpoint_files`.
"""

import contextlib
import errno
import pathlib
from collections.abc import Mapping
from typing import Any, Protocol

import keras
import numpy as np

from keras_resnet.devices import distribute
from keras_resnet.files import read_json
from keras_resnet.training.checkpoint_files import (
    STATE,
    checkpoints,
    path_of,
    read_last,
    remove_old,
    remove_unfinished,
    set_aside,
    step_of,
    write,
    write_states,
)
from keras_resnet.training.distillation import teacher_of, without_teacher

# What to do about an error in writing.
HINTS = {
    errno.ENOSPC: "Free some space",
    errno.EDQUOT: "Free some space",
    errno.EFBIG: "Lift the limit of a file's size (`ulimit -f`)",
}


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
        folder: Where checkpoints lie; older ones but `checkpoint_files.KEPT` are
            removed.
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
                f"The weights are not finite after update {step}.{advice(folder, step)}"
            )
    for name, state in states.items():
        for index, array in enumerate(state.get("arrays", ())):
            arrays[f"{name}.{index}"] = array
    final = path_of(folder, step)
    remove_unfinished(folder)
    try:
        write(final, arrays, _without_arrays(states) | {"teacher": _teacher(model)})
    except OSError as error:
        hint = HINTS.get(error.errno, "See that you may write there")
        raise OSError(
            error.errno,
            f"The checkpoint {final} can't be written: {error}. {hint} and run the "
            "same command: it goes on from the checkpoint before.",
        ) from error
    remove_old(folder)


def save_states(
    folder: pathlib.Path, states: Mapping[str, dict[str, Any]], step: int
) -> None:
    """Replaces the states in a checkpoint whose variables are still those of the model.

    Args:
        folder: Where checkpoints lie.
        states: As of `save`. Their arrays must be those that were saved.
        step: Number of updates done, of which there is a checkpoint.

    Raises:
        OSError: If they can't be written. The checkpoint stays as it was.
    """
    final = path_of(folder, step)
    write_states(final, read_json(final / STATE) | _without_arrays(states))


def _without_arrays(states: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    """The states as ``state.json`` holds them."""
    return {
        name: {key: value for key, value in state.items() if key != "arrays"}
        for name, state in states.items()
    }


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


def set_diverged_aside(folder: pathlib.Path, step: int) -> None:
    """Renames the checkpoint of an update, if there is one, as a run must not go on there.

    It was saved before the validation, or the update, that found its loss to be no number.
    """
    path = path_of(folder, step)
    if path in checkpoints(folder):
        with contextlib.suppress(OSError):
            set_aside(path, "diverged")


def advice(folder: pathlib.Path, step: int) -> str:
    """What to do after divergence, in a sentence that names the last good checkpoint.

    Args:
        folder: Where checkpoints lie.
        step: The update after which divergence was noticed. A checkpoint of it isn't good.
    """
    good = [path.name for path in checkpoints(folder) if step_of(path) < step]
    last = good[-1:]
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
    return step_of(checkpoint), _group(arrays, "metrics")


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
            f"{checkpoint / STATE} must hold the state of {', '.join(stateful)} "
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
