"""The folder of a run: which run it holds, and that one process at a time writes there."""

import contextlib
import json
import pathlib
import shutil
import time
from typing import Any, TextIO

from keras_resnet.config.detection_recipe import DetectionRecipe, EitherRecipe
from keras_resnet.config.detector import DetectorSpec
from keras_resnet.config.recipe import Recipe
from keras_resnet.config.spec import ResNetSpec
from keras_resnet.config.values import from_values, to_values
from keras_resnet.files import WRITING, damage_of, read_json, write_json
from keras_resnet.runs.differ import (
    COMPUTING,
    PREPARING,
    Explain,
    differences,
    in_words,
)
from keras_resnet.training.snapshots import SNAPSHOTS

IMAGES = "images.csv"  # Lists the images of a folder that a run is trained on.
LOCK = "lock"


def settings(
    recipe: EitherRecipe,
    spec: ResNetSpec | DetectorSpec,
    seed: int,
    fingerprint: str,
    overrides: dict[str, Any],
    **machine: Any,
) -> dict[str, Any]:
    """The settings of a run, as ``settings.json`` holds them: others make another run.

    Args:
        recipe: The run's.
        spec: Of its network.
        seed: Of initialization, shuffling and augmentation.
        fingerprint: Of the data.
        overrides: As of `TrainRequest.overrides`.
        **machine: ``backend``, `COMPUTING` and `PREPARING`; of a folder of images
            ``split_by``, as of `split_of`; ``contents``, as of `TrainRequest.contents`.
            Those that are `None` or empty are left out.
    """
    wanted = {
        "recipe": to_values(recipe),
        "network": to_values(spec),
        "seed": seed,
        "data": fingerprint,
        "overrides": overrides,
        **{name: value for name, value in machine.items() if value not in (None, {})},
    }
    return json.loads(json.dumps(wanted))


def has_begun(folder: pathlib.Path) -> bool:
    """Whether a folder holds a run of which anything was trained and saved.

    Where a run was stopped before that, whatever is asked for next begins a new one.
    """
    if not (folder / "settings.json").exists():
        return False
    history, checkpoints = folder / "history.csv", folder / "checkpoints"
    names = {path.name for path in folder.iterdir() if not _is_unfinished(path.name)}
    names -= {"settings.json", IMAGES, LOCK, SNAPSHOTS, "tensorboard"}
    # Training begins with a history of no rows.
    if history.exists() and len(history.read_bytes().splitlines()) < 2:
        names.discard("history.csv")
    if checkpoints.exists() and not any(checkpoints.iterdir()):
        names.discard("checkpoints")
    return bool(names)


def _is_unfinished(name: str) -> bool:
    """Whether a kill left a file of ours before it was whole."""
    return name.startswith(WRITING)


def is_whole(folder: pathlib.Path) -> bool:
    """Whether a folder holds a finished run: its record, and its network undamaged."""
    record = (folder / "record.json").exists()
    return record and damage_of(folder / "model.keras") is None


def damage_in(folder: pathlib.Path) -> str | None:
    """What is damaged in the folder of a run that was finished, in a sentence."""
    if not (folder / "record.json").exists():
        return None
    found = damage_of(folder / "model.keras")
    return found and f"{folder / 'model.keras'} can't be used: {found}."


def claim_folder(
    folder: pathlib.Path, wanted: dict[str, Any], explain: Explain | None = None
) -> bool:
    """Claims a folder for a run and tells whether the run is finished there.

    Args:
        folder: The run's folder, which this process has locked.
        wanted: The run's `settings`.
        explain: As of `check_folder`.

    Raises:
        ValueError: If the folder holds another run, or something else.
    """
    path = folder / "settings.json"
    finished = check_folder(folder, wanted, explain)
    if not has_begun(folder):
        (folder / IMAGES).unlink(missing_ok=True)  # Of a run that was stopped at once.
        shutil.rmtree(folder / SNAPSHOTS, ignore_errors=True)
        write_json(path, wanted)
    return finished


def take_folder(
    folder: pathlib.Path,
    wanted: dict[str, Any],
    held: contextlib.ExitStack,
    explain: Explain | None = None,
) -> bool:
    """Locks and claims a folder for a run, unless the run is finished there.

    Args:
        folder: The run's folder.
        wanted: The run's `settings`.
        held: What the folder is locked until.
        explain: As of `check_folder`.

    Returns:
        Whether the run is finished there.

    Raises:
        ValueError: If the folder holds another run, or something else.
        RuntimeError: If another process trains there.
    """
    if check_folder(folder, wanted, explain):
        return True
    held.enter_context(lock_folder(folder))
    # Another process may have had the folder until now.
    return claim_folder(folder, wanted, explain)


def is_seen(folder: pathlib.Path, seconds: float = 60) -> bool:
    """Whether this worker sees the folder that the chief has claimed.

    Args:
        folder: The run's folder.
        seconds: Maximum wait, since network file systems show late what others wrote.
    """
    end = time.monotonic() + seconds
    while not (folder / "settings.json").exists():
        if time.monotonic() > end:
            return False
        time.sleep(0.5)
    return True


def check_folder(
    folder: pathlib.Path, wanted: dict[str, Any], explain: Explain | None = None
) -> bool:
    """Tells whether a run is finished in a folder; writes nothing.

    Args:
        folder: The run's folder.
        wanted: The run's `settings`.
        explain: Function of the settings in the folder and of their differences that
            says these in words, and what to do; `in_words` by default.

    Raises:
        ValueError: If the folder holds another run, or something else.
    """
    # One look: another process may be writing the settings.
    files = {path.name for path in folder.iterdir()} if folder.exists() else set()
    if "settings.json" not in files:
        if not all(map(_is_unfinished, files - {LOCK})):
            raise ValueError(
                f"{folder} must be empty or hold this run, and it holds other files. "
                "Remove it, or choose another --output-dir."
            )
        return False
    finished = is_whole(folder)
    found = comparable(folder, wanted, finished)
    if not has_begun(folder):
        return False
    if others := differences(found, wanted):
        said = (explain or in_words)(found, others)
        raise ValueError(f"{folder} holds a run with other settings: {said}")
    return finished


def comparable(
    folder: pathlib.Path, wanted: dict[str, Any], finished: bool
) -> dict[str, Any]:
    """The settings of the run in a folder, to compare with those that are wanted.

    A setting that an earlier version didn't write is taken for the same as now, and so is
    how a finished run was computed.

    Args:
        folder: The run's folder.
        wanted: The `settings` of what is asked for.
        finished: Whether the run is, as of `is_whole`.

    Raises:
        ValueError: If the file is damaged.
    """
    unwritten = ("network", "backend", *COMPUTING, *PREPARING)
    found = {name: wanted[name] for name in unwritten if name in wanted}
    found |= read_settings(folder)
    return found | {name: wanted[name] for name in COMPUTING if finished}


def read_settings(folder: pathlib.Path) -> dict[str, Any]:
    """Reads the settings of the run in a folder, in the present form of `settings`.

    Raises:
        ValueError: If the file is damaged.
    """
    path = folder / "settings.json"
    try:
        found = read_json(path)
        # Earlier versions wrote fewer fields: theirs are the defaults.
        detects = "detector" in found["recipe"]
        kinds = (DetectionRecipe, DetectorSpec) if detects else (Recipe, ResNetSpec)
        for name, kind in zip(("recipe", "network"), kinds, strict=True):
            if name in found:
                found[name] = to_values(from_values(kind, found[name]))
        return json.loads(json.dumps(found))
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{path} must hold the settings of the run in that folder, as training "
            f"wrote them, and it doesn't ({error!r}). Put a copy of it back, or remove "
            f"{folder} to train from the beginning, or choose another --output-dir."
        ) from error


def lock_folder(folder: pathlib.Path) -> TextIO:
    """Locks a run's folder against other processes until the returned file is closed.

    Creates the folder if it doesn't exist.

    Raises:
        RuntimeError: If another process trains there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    file = (folder / LOCK).open("w")
    with contextlib.suppress(ImportError):  # Windows has no such locks.
        import fcntl

        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.close()
            raise RuntimeError(
                f"One process at a time must train in {folder}, and another one does. "
                "Wait for it, or stop it: the same command goes on from there."
            ) from error
        except OSError:
            pass  # A file system that has no locks.
    return file


def meant_by(folder: pathlib.Path) -> str:
    """What a folder that is given as the recipe could be meant for."""
    names = {path.name for path in folder.iterdir()}
    if not names & {"settings.json", "record.json", "source.json"}:
        return f"a folder. Did you mean --data {str(folder)!r}?"
    if "model.keras" not in names:
        return (
            "the folder of an unfinished run. To go on with it, give the command that "
            "began it."
        )
    return (
        f"a folder with trained weights. Did you mean --weights {str(folder)!r}, to begin "
        "with these, with a recipe or data beside it?"
    )
