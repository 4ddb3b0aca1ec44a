"""Says why a run can't go on in a folder, and what to do instead."""

from __future__ import annotations

import json
import os
import pathlib
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import fields, replace
from typing import Any

import keras

from keras_resnet.config.detection_recipe import DetectionRecipe
from keras_resnet.config.detector import DetectorSpec
from keras_resnet.config.recipe import Recipe
from keras_resnet.config.spec import ResNetSpec
from keras_resnet.data.identity import changes_in_words, files_of, read_files
from keras_resnet.runs.choose import asked_recipe
from keras_resnet.runs.detector_job import DetectorJob
from keras_resnet.runs.differ import OTHER_FOLDER, Difference, differences, in_words
from keras_resnet.runs.folder import IMAGES, is_whole
from keras_resnet.runs.job import Job
from keras_resnet.runs.request import TrainRequest, flag
from keras_resnet.runs.settle import as_begun, decide


def explained(
    job: Job | DetectorJob,
    folder: pathlib.Path,
    found: dict[str, Any],
    others: list[Difference],
) -> str:
    """Says how the run in a folder differs from a job, and what to do.

    Args:
        job: What was to be trained.
        folder: The folder.
        found: The settings of the run in the folder.
        others: Their differences from those of the job.

    Returns:
        The differences, those of the images by what is new, gone or changed; then
        advice: for a finished run that differs in its length alone, the command that
        goes on from its weights.
    """
    words = changed_images(job, folder)
    if words:
        others = [one for one in others if one[0] != "data"]
    said = in_words(found, others, longer(job, folder, found) or OTHER_FOLDER)
    return f"{words}{'; ' if others else ''}{said}" if words else said


def changed_images(job: Job | DetectorJob, folder: pathlib.Path) -> str:
    """How a job's folder of images differs from the one that a run was trained on.

    Returns:
        Text; empty if there is no difference, or it isn't known.
    """
    there = read_files(folder / IMAGES)
    if job.splits.root is None or not there:
        return ""
    said = changes_in_words(there, files_of(job.splits))
    return said and f"of the images in {job.splits.root}, {said}"


def longer(
    job: Job | DetectorJob, folder: pathlib.Path, found: dict[str, Any]
) -> str | None:
    """What to do where a finished run differs from a job by being shorter alone.

    Args:
        job: What was to be trained.
        folder: Where the run lies.
        found: Its settings.

    Returns:
        Sentences with the whole command; `None` if the run isn't finished, differs in
        something else, too, or isn't shorter.
    """
    more = job.recipe.steps - found["recipe"]["steps"]
    if more <= 0 or not is_whole(folder) or not isinstance(job, Job):
        return None
    had = {name: found["overrides"].get(name) for name in ("steps", "epochs")}
    try:
        as_long = _with_length(job, had, found["recipe"]["validate_every"])
    except ValueError:
        # It can't be so long, as where steps per execution don't divide.
        return None
    if differences(found, as_long.settings()):
        return None
    asked = job.request.epochs
    length = {"steps": more, "epochs": None}
    name = f"{job.name}_{job.recipe.steps}_steps"
    if asked is not None and had["epochs"] is not None:
        length = {"steps": None, "epochs": round(asked - had["epochs"], 6)}
        name = f"{job.name}_{asked:g}_epochs"
    changes = {"weights": str(folder), "name": name, **length}
    return (
        "It is finished, and nothing but its length differs. To go on from its weights, "
        f"by a schedule that begins anew:\n  {command(job.request, changes)}"
    )


def _with_length(job: Job, length: dict[str, Any], validate_every: int) -> Job:
    """A job that has been built, but of another length."""
    row, request = asked_recipe(job.request), replace(job.request, **length)
    new = decide(request, row, job.splits, job.hardware)
    new = as_begun(new, {"validate_every": validate_every})
    # What `build` adds of weights and teacher.
    recipe = replace(new.recipe, distillation=job.recipe.distillation)
    new = replace(new, recipe=recipe, preprocessing=job.preprocessing)
    return replace(new, precision=job.precision, xla=job.xla)


def command(request: TrainRequest, changes: dict[str, Any]) -> str:
    """The command that trains as a request with some changes says.

    A recipe or a network that is an object can't be in a command: then it is a call.
    """
    rows = Recipe | DetectionRecipe | ResNetSpec | DetectorSpec
    if isinstance(request.recipe, rows) or isinstance(request.network, rows):
        said = ", ".join(f"{k}={v!r}" for k, v in changes.items() if v is not None)
        return f"keras_resnet.train(…, {said}), the rest as before"
    request = replace(request, **changes)
    words = ["keras-resnet", "train"]
    words += [word for option in fields(request) for word in _words(request, option)]
    backend = keras.backend.backend()
    words += [] if backend == "tensorflow" else ["--backend", backend]
    # What the shell takes: cmd.exe knows no single quotes.
    return (subprocess.list2cmdline if sys.platform == "win32" else shlex.join)(words)


def _words(request: TrainRequest, option: Any) -> Iterator[str]:
    """The words of a command for one option; none for its default."""
    value = getattr(request, option.name)
    if value == option.default or not option.metadata["group"]:
        return
    if option.name == "recipe":
        yield _path(value) if isinstance(value, os.PathLike) else str(value)
    elif option.name == "changes":
        for name, one in value.items():
            yield from ("--set", f"{name}={_toml(one)}")
    elif option.name == "log":
        for one in value:
            yield from (flag(option), one)
    elif value is True:
        yield flag(option)
    else:
        short = isinstance(value, float) and value.is_integer()
        text = _path(value) if isinstance(value, os.PathLike) else str(value)
        text = str(int(value)) if short else text
        # A value such as a regular expression may begin as an option does.
        yield from (
            [f"{flag(option)}={text}"] if text[:1] == "-" else [flag(option), text]
        )


def _path(path: os.PathLike[str]) -> str:
    """A path as a word that no name is taken for, such as ``./cifar10``."""
    return os.path.join("" if os.path.isabs(path) else os.curdir, path)


def _toml(value: Any) -> str:
    """A value as an option of the command line takes it, in TOML."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{k} = {_toml(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return json.dumps("none" if value is None else value)
