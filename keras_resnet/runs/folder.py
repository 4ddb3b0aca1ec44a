"""The folder of a run: which run it holds, and that one process at a time writes there."""

import contextlib
import json
import pathlib
import time
from typing import Any, TextIO

from keras_resnet.config.datasets import DATASETS
from keras_resnet.config.preprocessing import EARLIER
from keras_resnet.config.recipe import Recipe
from keras_resnet.config.spec import ResNetSpec
from keras_resnet.config.values import from_values, to_values
from keras_resnet.files import WRITING, damage_of, read_json, write_json

# Fields of recipe and network that don't change a result.
WORDS: dict[str, tuple[str, ...]] = {
    "recipe": ("name", "source", "target", "deviations"),
    "network": ("name", "paper", "source", "depth_counts"),
}
COMPUTING: tuple[str, ...] = ("precision", "xla")  # A run keeps these to its end.
# Fields of the preprocessing that stand beside the recipe, as the run has them. In earlier
# versions there were none: an unfinished run goes on with `EARLIER`.
PREPARING: tuple[str, ...] = tuple(EARLIER)
LOCK = "lock"


def settings(
    recipe: Recipe,
    spec: ResNetSpec,
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
        **machine: ``backend``, `COMPUTING` and `PREPARING`.
    """
    wanted = {
        "recipe": to_values(recipe),
        "network": to_values(spec),
        "seed": seed,
        "data": fingerprint,
        "overrides": overrides,
        **machine,
    }
    return json.loads(json.dumps(wanted))


def begun(folder: pathlib.Path, backend: str) -> dict[str, Any]:
    """What the run in a folder keeps to its end, where there is one.

    Empty for a run that another backend began, which `claim_folder` refuses.

    Returns:
        ``validate_every`` and, of an unfinished run, its `COMPUTING` settings, and
        `EARLIER` if an earlier version began it.
    """
    if not (folder / "settings.json").exists():
        return {}
    found = read_settings(folder)
    if found.get("backend", backend) != backend:
        return {}
    kept = {"validate_every": found["recipe"]["validate_every"]}
    if not is_whole(folder):
        kept |= {name: EARLIER[name] for name in PREPARING if name not in found}
        kept |= {name: found[name] for name in COMPUTING if name in found}
    return kept


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


def claim_folder(folder: pathlib.Path, wanted: dict[str, Any]) -> bool:
    """Claims a folder for a run and tells whether the run is finished there.

    Args:
        folder: The run's folder, which this process has locked.
        wanted: The run's `settings`.

    Raises:
        ValueError: If the folder holds another run, or something else.
    """
    path = folder / "settings.json"
    finished = check_folder(folder, wanted)
    if not path.exists():
        write_json(path, wanted)
    return finished


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


def check_folder(folder: pathlib.Path, wanted: dict[str, Any]) -> bool:
    """Tells whether a run is finished in a folder; writes nothing.

    Args:
        folder: The run's folder.
        wanted: The run's `settings`.

    Raises:
        ValueError: If the folder holds another run, or something else.
    """
    # One look: another process may be writing the settings.
    files = {path.name for path in folder.iterdir()} if folder.exists() else set()
    if "settings.json" not in files:
        # A kill can leave a file of ours that was not yet whole.
        if any(not name.startswith(WRITING) for name in files - {LOCK}):
            raise ValueError(
                f"{folder} must be empty or hold this run, and it holds other files. "
                "Remove it, or choose another --output-dir."
            )
        return False
    # A setting that an earlier version didn't write is taken for the same as now.
    unwritten = ("network", "backend", *COMPUTING, *PREPARING)
    found = {name: wanted[name] for name in unwritten if name in wanted}
    found |= read_settings(folder)
    finished = is_whole(folder)
    if finished:
        found |= {name: wanted[name] for name in COMPUTING}
    if others := differences(found, wanted):
        said = "; ".join(f"{key} (there {a!r}, here {b!r})" for key, a, b in others)
        raise ValueError(
            f"{folder} holds a run with other settings: {said}. Give the same again, or "
            "remove it, or choose another --output-dir, --seed or --name."
        )
    return finished


def read_settings(folder: pathlib.Path) -> dict[str, Any]:
    """Reads the settings of the run in a folder, in the present form of `settings`.

    Raises:
        ValueError: If the file is damaged.
    """
    path = folder / "settings.json"
    try:
        found = read_json(path)
        # Earlier versions wrote fewer fields: theirs are the defaults.
        found["recipe"] = to_values(from_values(Recipe, found["recipe"]))
        if "network" in found:
            found["network"] = to_values(from_values(ResNetSpec, found["network"]))
        return json.loads(json.dumps(found))
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{path} must hold the settings of the run in that folder, as training "
            f"wrote them, and it doesn't ({error!r}). Put a copy of it back, or remove "
            f"{folder} to train from the beginning, or choose another --output-dir."
        ) from error


def differences(
    found: dict[str, Any], wanted: dict[str, Any]
) -> list[tuple[str, Any, Any]]:
    """The settings that differ: name, value in ``found`` and value in ``wanted``."""
    there, here = _flat(found), _flat(wanted)
    return [
        (key, there.get(key), here.get(key))
        for key in sorted(there.keys() | here.keys())
        if there.get(key) != here.get(key)
    ]


def _flat(values: dict[str, Any]) -> dict[str, Any]:
    flat = {}
    for key, value in values.items():
        if key == "recipe":
            value = value | {"preprocessing": _prepared_by(value)}
        if key in WORDS:
            flat |= {
                name if key == "recipe" else f"{key}.{name}": one
                for name, one in value.items()
                if name not in WORDS[key]
            }
        else:
            flat[key] = value
    return flat


def _prepared_by(recipe: dict[str, Any]) -> dict[str, Any] | None:
    """A recipe's preprocessing, or else its data set's, without `PREPARING`."""
    values = recipe["preprocessing"]
    if values is None and recipe["dataset"] in DATASETS:
        values = json.loads(
            json.dumps(DATASETS[recipe["dataset"]].preprocessing.as_json())
        )
    if values is None:
        return None
    return {name: value for name, value in values.items() if name not in PREPARING}


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
