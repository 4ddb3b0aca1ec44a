"""The folder of a run: whose it is, and that one process at a time writes there."""

import contextlib
import json
import time

from keras_resnet.config.recipe import defaults
from keras_resnet.config.recipes import RECIPES
from keras_resnet.files import replace_file
from keras_resnet.runs import request

WORDS = ("source", "target", "deviations")  # Of a recipe, which change nothing.
COMPUTING = ("precision", "xla")  # Which a run keeps to its end.
LOCK = "lock"


def settings(recipe, seed, fingerprint, overrides, **machine):
    """What ``settings.json`` holds: a run with other settings is another run.

    Args:
        recipe: A `Recipe`.
        seed: Integer.
        fingerprint: Of the data.
        overrides: As of `request.overrides`.
        **machine: ``backend`` and `COMPUTING`.
    """
    says = recipe.as_json()
    wanted = {
        "recipe": {name: says[name] for name in says if name not in WORDS},
        "seed": seed,
        "data": fingerprint,
        "overrides": overrides,
        **machine,
    }
    return json.loads(json.dumps(wanted))


def finished(folder, options, backend):
    """Whether a folder holds the run of these options, and finished, by its files alone.

    Loading the data would take longer. It is needed where it decides the settings:
    there the answer is no, and `claim` has the last word.
    """
    recipe, changes = options["recipe"], request.overrides(options)
    if recipe not in RECIPES or "epochs" in changes or "teacher" in changes:
        return False
    if not all((folder / name).exists() for name in ("record.json", "settings.json")):
        return False
    found = {"backend": backend} | _read_settings(folder)
    row = request.override(RECIPES[recipe], None, options)
    wanted = settings(row, options["seed"], found.get("data"), changes, backend=backend)
    # It is finished on whatever machine it was trained.
    return {name: found[name] for name in found if name not in COMPUTING} == wanted


def begun(folder, backend):
    """How the unfinished run in a folder computes: `COMPUTING` by name, if it says so.

    Nothing for a run that another backend began: `claim` refuses it.
    """
    if (folder / "record.json").exists() or not (folder / "settings.json").exists():
        return {}
    found = _read_settings(folder)
    if found.get("backend", backend) != backend:
        return {}
    return {name: found[name] for name in COMPUTING if name in found}


def claim(folder, wanted):
    """Takes a folder for a run; tells whether the run has been finished there.

    Args:
        folder: The run's, which this process has locked.
        wanted: The run's `settings`.

    Raises:
        ValueError: If the folder holds another run, or something else.
    """
    path = folder / "settings.json"
    finished = check(folder, wanted)
    if not path.exists():
        replace_file(
            path, lambda part: part.write_text(json.dumps(wanted, indent=2) + "\n")
        )
    return finished


def seen(folder, seconds=60):
    """Whether this worker sees the folder that the chief has claimed.

    Args:
        folder: The run's.
        seconds: To wait at the most: network file systems tell late what others wrote.
    """
    end = time.monotonic() + seconds
    while not (folder / "settings.json").exists():
        if time.monotonic() > end:
            return False
        time.sleep(0.5)
    return True


def check(folder, wanted):
    """Tells whether a run has been finished in a folder, and writes nothing.

    Args:
        folder: The run's.
        wanted: The run's `settings`.

    Raises:
        ValueError: If the folder holds another run, or something else.
    """
    # One look: another process may be writing the settings.
    files = {path.name for path in folder.iterdir()} if folder.exists() else set()
    if "settings.json" not in files:
        # A kill can leave a file of ours that was not yet whole.
        if any(not name.startswith("writing_") for name in files - {LOCK}):
            raise ValueError(
                f"{folder} must be empty or hold this run, and it holds other files. "
                "Remove it, or choose another --output-dir."
            )
        return False
    # What an earlier version did not write is what it is now.
    found = {name: wanted[name] for name in ("backend", *COMPUTING)}
    found |= _read_settings(folder)
    finished = (folder / "record.json").exists()
    if finished:
        found |= {name: wanted[name] for name in COMPUTING}
    if found != wanted:
        differences = [
            f"{key} (there {found_value!r}, here {wanted_value!r})"
            for key, found_value, wanted_value in _differences(found, wanted)
        ]
        raise ValueError(
            f"{folder} holds a run with other settings: {'; '.join(differences)}. "
            "Give the same again, or remove it, or choose another --output-dir or "
            "--seed."
        )
    return finished


def _read_settings(folder):
    path = folder / "settings.json"
    try:
        found = json.loads(path.read_text())
        # Of what earlier versions did not know, their runs say nothing.
        says = {**defaults(), **found["recipe"]}
        found["recipe"] = {name: says[name] for name in says if name not in WORDS}
        return found
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{path} must hold the settings of the run in that folder, as training "
            f"wrote them, and it doesn't ({error!r}). Put a copy of it back, or remove "
            f"{folder} to train from the beginning, or choose another --output-dir."
        ) from error


def _differences(found, wanted):
    flat = {**found.pop("recipe"), **found}, {**wanted["recipe"], **wanted}
    for key in sorted((flat[0].keys() | flat[1].keys()) - {"recipe"}):
        if flat[0].get(key) != flat[1].get(key):
            yield key, flat[0].get(key), flat[1].get(key)


def lock(folder):
    """Keeps other processes out of a run's folder until what it returns is closed.

    Makes the folder if there is none.

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
