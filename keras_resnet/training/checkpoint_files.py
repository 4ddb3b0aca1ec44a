"""The files of checkpoints: whole or not counted, whenever a process is killed.

A checkpoint is a folder ``step_<updates>`` with the variables of model, optimizer and
metrics, and ``state.json``: the state of the callbacks. That file is written last, in one
move, and names the file of the variables, so a folder without it is no checkpoint. No
folder has to be moved, which file systems such as mounted buckets can't.
"""

import contextlib
import json
import pathlib
import re
import shutil
from collections.abc import Mapping
from typing import Any

import numpy as np

from keras_resnet.devices.host import say
from keras_resnet.files import WRITING, flush, read_json, replace_file

NAME = re.compile(r"step_(\d+)")  # Of a checkpoint: the number of updates done.
KEPT = 2  # The last, and one more should the disk have lost the last.
STATE = "state.json"
# Of the variables; the second where a checkpoint of the same update has the first.
VARIABLES = ("variables.npz", "variables_2.npz")


def checkpoints(folder: pathlib.Path) -> list[pathlib.Path]:
    """The complete checkpoints in a folder, oldest first."""
    found = [
        path
        for path in folder.glob("step_*")
        if NAME.fullmatch(path.name) and (path / STATE).exists()
    ]
    # By number: as text, step_100000000 comes before step_99999999.
    return sorted(found, key=step_of)


def updates_done(folder: pathlib.Path) -> int:
    """The number of updates until the last checkpoint in a folder, 0 if there is none."""
    return max(map(step_of, checkpoints(folder)), default=0)


def step_of(checkpoint: pathlib.Path) -> int:
    """The number of updates done until a checkpoint."""
    return int(checkpoint.name.removeprefix("step_"))


def path_of(folder: pathlib.Path, step: int) -> pathlib.Path:
    """The checkpoint after so many updates."""
    return folder / f"step_{step:08d}"


def write(
    final: pathlib.Path, arrays: Mapping[str, np.ndarray], states: dict[str, Any]
) -> None:
    """Writes a checkpoint, also in the place of one of the same update."""
    final.mkdir(parents=True, exist_ok=True)
    taken = _taken(final)
    name = VARIABLES[1] if taken == VARIABLES[0] else VARIABLES[0]
    try:
        np.savez(final / name, **arrays)
        flush(final / name)
        write_states(final, states | {"variables": name})
    except BaseException:
        with contextlib.suppress(OSError):
            (final / name).unlink() if taken else shutil.rmtree(final)
        raise
    for other in set(VARIABLES) - {name}:
        with contextlib.suppress(OSError):
            (final / other).unlink()


def write_states(final: pathlib.Path, states: dict[str, Any]) -> None:
    """Writes `STATE`, which makes a folder a checkpoint."""
    text = json.dumps(states)
    replace_file(final / STATE, lambda new: new.write_text(text))


def _taken(final: pathlib.Path) -> str | None:
    """The file of the variables of a whole checkpoint; `None` where there is none."""
    try:
        return _variables(read_json(final / STATE))
    except (OSError, ValueError):
        return None


def _variables(states: Any) -> str:
    """The file of the variables; earlier versions, which had but one, didn't say it."""
    said = states.get("variables") if isinstance(states, dict) else None
    return said if said in VARIABLES else VARIABLES[0]


def remove_unfinished(folder: pathlib.Path) -> None:
    """Removes what processes that were killed while they saved have left."""
    for path in folder.glob("step_*"):
        if NAME.fullmatch(path.name) and not (path / STATE).exists():
            shutil.rmtree(path, ignore_errors=True)
    for path in folder.glob(f"{WRITING}step_*"):  # Of earlier versions.
        shutil.rmtree(path, ignore_errors=True)


def remove_old(folder: pathlib.Path) -> None:
    """Removes all checkpoints but the last `KEPT`, their `STATE` first."""
    for old in checkpoints(folder)[:-KEPT]:
        with contextlib.suppress(OSError):  # Another program may read there.
            (old / STATE).unlink()
            shutil.rmtree(old)


def read_last(
    folder: pathlib.Path,
) -> tuple[pathlib.Path, dict[str, Any], dict[str, np.ndarray]] | None:
    """Reads the last checkpoint in a folder that can be read.

    Those behind it are said to be damaged, and renamed. What a process that was killed
    while it saved has left is passed over.

    Returns:
        The checkpoint's folder, the states and the arrays that `save` wrote; `None` if
        there is no checkpoint.

    Raises:
        ValueError: If there are checkpoints and none of them can be read.
    """
    failure = None
    for checkpoint in reversed(checkpoints(folder)):
        try:
            states = json.loads((checkpoint / STATE).read_text())
            with np.load(checkpoint / _variables(states)) as file:
                return checkpoint, states, dict(file)
        except MemoryError:  # It may be whole.
            raise
        except Exception as error:  # NumPy, zipfile and zlib raise many kinds.
            failure = error
            say(f"{checkpoint} can't be read ({error}) and is passed over.")
            with contextlib.suppress(OSError):
                set_aside(checkpoint, "damaged")
    if failure is not None:
        raise ValueError(
            f"None of the checkpoints in {folder} can be read ({failure}). Remove that "
            "folder to train from the beginning."
        )
    return None


def set_aside(checkpoint: pathlib.Path, why: str) -> None:
    """Renames a checkpoint that would count as the last one, and as good.

    Args:
        checkpoint: Its folder.
        why: A word, with which its new name begins.

    Raises:
        OSError: If it can't be renamed.
    """
    try:
        checkpoint.rename(checkpoint.with_name(f"{why}_{checkpoint.name}"))
    except OSError:  # Not all file systems rename folders.
        (checkpoint / STATE).rename(checkpoint / f"{why}_{STATE}")
