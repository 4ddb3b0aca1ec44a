"""What the record of a run, or of a converted network, says of it."""

from __future__ import annotations

import pathlib
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from keras_resnet.config.architectures import network_of
from keras_resnet.config.box_batches import BoxBatches
from keras_resnet.config.class_names import check_class_names, told_apart
from keras_resnet.config.detector import DetectorSpec
from keras_resnet.config.preprocessing import Preprocessing
from keras_resnet.config.recipe import Recipe
from keras_resnet.config.recipes import RECIPES
from keras_resnet.config.spec import ResNetSpec
from keras_resnet.config.values import from_values
from keras_resnet.files import read_json
from keras_resnet.runs.folder import read_settings
from keras_resnet.runs.record import Record, is_detectors, read_record

EXPORTED = ("form.json", "saved_model.pb")  # What a folder that export wrote has.


def record_in(folder: pathlib.Path) -> pathlib.Path:
    """The file that tells what lies in a folder."""
    source = folder / "source.json"
    return source if source.is_file() else folder / "record.json"


def record_of(folder: pathlib.Path) -> dict[str, Any]:
    """Reads ``record.json``, or of a converted network ``source.json``.

    Errors are those of `load`.
    """
    if (folder / "source.json").is_file():
        return _read_source(folder / "source.json")
    if (folder / "record.json").is_file():
        return read_record(folder / "record.json")
    state = "training has not finished" if folder.is_dir() else "there is no folder"
    advice = "Make one with `keras-resnet train`."
    if any((folder / name).is_file() for name in EXPORTED):
        state, advice = "it is an export", "Name the run that it was made of."
    raise FileNotFoundError(
        f"{folder} must hold a finished run with a record.json: {state}. {advice}"
    )


def facts_in(
    record: Mapping[str, Any], folder: pathlib.Path
) -> tuple[ResNetSpec | None, Preprocessing]:
    """The network, if it is known, and the preprocessing that a record tells of.

    Args:
        record: The contents of ``record.json`` or ``source.json``.
        folder: Where that lies.

    Raises:
        ValueError: If they, or the names of the classes, were damaged or edited; it
            names the file and the key.
    """
    try:
        spec = network_of(record)
        preprocessing = Preprocessing.from_json(record["preprocessing"])
        check_class_names(told_apart(record["classes"]))
    except ValueError as error:
        raise _damaged(folder, error) from error
    return spec, preprocessing


def check_facts(record: Mapping[str, Any], folder: pathlib.Path) -> None:
    """Raises `ValueError` if what a record tells of was damaged or edited."""
    (detector_in if is_detectors(record) else facts_in)(record, folder)


def check_is_classifiers(record: Mapping[str, Any], folder: pathlib.Path) -> None:
    """Raises `ValueError` if a record is a detector's, where only classifiers will do."""
    if is_detectors(record):
        raise ValueError(
            f"{folder} holds a detector, and this is for classifiers. In Python, "
            "keras_resnet.load(folder).model is the detector: it predicts, evaluates and "
            "saves."
        )


def detector_in(
    record: Mapping[str, Any], folder: pathlib.Path
) -> tuple[DetectorSpec, BoxBatches]:
    """The detector, and how its images are resized, that a record tells of.

    Args:
        record: The contents of ``record.json``.
        folder: Where that lies.

    Raises:
        ValueError: As of `facts_in`.
    """
    try:
        spec = from_values(DetectorSpec, record["network_values"])
        batches = from_values(BoxBatches, record["preprocessing"])
        check_class_names(record["classes"])
    except ValueError as error:
        raise _damaged(folder, error) from error
    return spec, batches


def _damaged(folder, error):
    return ValueError(
        f"{record_in(folder)} was damaged or changed after it was written: {error} "
        "Put a copy of it back, or undo the change."
    )


def recipe_of(record: Mapping[str, Any], folder: pathlib.Path) -> Recipe | None:
    """The recipe as it was trained by, where the run's files hold it.

    Args:
        record: As of `record_of`.
        folder: The run's: earlier records hold no recipe, and its settings do.
    """
    values = record.get("recipe_values")
    if values:
        return from_values(Recipe, values)
    if "recipe" in record and (folder / "settings.json").exists():
        found = read_settings(folder)["recipe"]
        return from_values(Recipe, {**found, "name": record["recipe"]})
    return None


def target_of(
    record: Mapping[str, Any], recipe: Recipe | None
) -> dict[str, Any] | None:
    """The error that the recipe's source reports.

    Args:
        record: As of `record_of`.
        recipe: As of `recipe_of`.

    Returns:
        ``error``, percent; ``protocol``, by which it was measured, and ``where`` it stands,
        both `None` where neither the recipe nor ours of its name has this error.
    """
    if record.get("target") is None:
        return None
    known = [one and one.target for one in (recipe, RECIPES.get(record["recipe"]))]
    for target in known:
        if target is not None and target.error == record["target"]:
            return asdict(target)
    return {"error": record["target"], "protocol": None, "where": None}


def _read_source(path):
    """What `keras-resnet convert` wrote of a network."""
    try:
        source = read_json(path)
        kinds = {"preprocessing": dict, "classes": list, "network": str}
        for key, kind in kinds.items():
            if not isinstance(source, dict) or not isinstance(source.get(key), kind):
                raise ValueError(f"`{key}` must be given, a {kind.__name__}.")
    except ValueError as error:
        raise ValueError(
            f"{path} must be as `keras-resnet convert` wrote it; it is damaged: {error} "
            "Convert again."
        ) from error
    return Record(source)
