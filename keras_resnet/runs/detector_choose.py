"""Chooses the recipe, the detector and the images that a `TrainRequest` asks for."""

from __future__ import annotations

import os
from dataclasses import fields, replace
from typing import Any

from keras_resnet.config.architectures import ARCHITECTURES
from keras_resnet.config.box_datasets import BOX_DATASETS
from keras_resnet.config.checks import is_integer
from keras_resnet.config.datasets import DATASETS
from keras_resnet.config.detection_adapted import (
    for_own_objects,
    on_other_objects,
    with_shorter_side,
)
from keras_resnet.config.detection_recipe import DetectionRecipe
from keras_resnet.config.detection_recipes import DETECTION_RECIPES
from keras_resnet.config.detector import DetectorSpec
from keras_resnet.config.detectors import DETECTORS
from keras_resnet.config.lookup import find
from keras_resnet.config.recipe_files import changed, read_recipe
from keras_resnet.data import box_folders, box_sources
from keras_resnet.data.boxes import BoxedSplits
from keras_resnet.data.download import is_prepared, not_here
from keras_resnet.files import local_path
from keras_resnet.runs.choose import check_changes, check_own_name
from keras_resnet.runs.places import where
from keras_resnet.runs.request import TrainRequest, flag

# Fields of a recipe of detection that have options of their own beside `changes`.
OPTIONS_OF: dict[str, tuple[str, ...]] = {
    "steps": ("steps", "epochs"),
    "batches.batch_size": ("batch_size",),
    "batches.shorter_sides": ("size",),
    "batches.longer_side": ("size",),
    "batches.horizontal_flip": ("no_flip",),
    "detector": ("network",),
    "schedule.learning_rate": ("learning_rate",),
    "weights": ("weights",),
}
# Options that detectors don't have, and why.
REFUSED: dict[str, str] = {
    "augment": "Their training images are mirrored alone (--no-flip: not even that).",
    "bit_depth": "Images with boxes are decoded to 8 bits.",
    "freeze": "A detector's row says what weights keep (`frozen_stages`).",
    "teacher": "They aren't distilled.",
    "snapshots": "Weights along their training aren't kept.",
    "sync_batch_norm": "They are trained on one device.",
    "accumulate": "Their losses are taken over whole batches.",
    "steps_per_execution": "Their updates are started one at a time.",
    "deterministic": "On CPUs they repeat their bits without it; on GPUs it was not tried.",
}


def trains_detector(request: TrainRequest) -> bool:
    """Whether a request is for a detector: its network or its recipe says so."""
    network, recipe = request.network, request.recipe
    if isinstance(network, DetectorSpec) or isinstance(recipe, DetectionRecipe):
        return True
    if isinstance(network, str) and network in DETECTORS:
        return True
    if isinstance(recipe, os.PathLike) or str(recipe).endswith(".toml"):
        path = local_path(recipe, "`recipe`")
        return path.is_file() and isinstance(read_recipe(path), DetectionRecipe)
    return isinstance(recipe, str) and recipe in DETECTION_RECIPES


def check_options(request: TrainRequest) -> None:
    """Raises `ValueError` if an option is asked for that detectors don't have."""
    for option in fields(request):
        value = getattr(request, option.name)
        if option.name in REFUSED and value != option.default:
            raise ValueError(
                f"`{option.name}` ({flag(option)}) isn't for detectors. "
                f"{REFUSED[option.name]} Leave it out. Received: {option.name}={value!r}."
            )
    if request.precision == "mixed_float16":
        raise ValueError(
            "A detector's `precision` (--precision) must be float32 or mixed_bfloat16: "
            "float16 isn't shown to train one. Received: precision='mixed_float16'."
        )


def asked_recipe(request: TrainRequest) -> DetectionRecipe | None:
    """The recipe that is asked for by name, file or object, before any changes.

    Returns:
        The `DetectionRecipe`, or `None` where a detector is trained without one.

    Raises:
        ValueError: If it is a classifier's, or its detector is none.
    """
    asked, network = request.recipe, request.network
    if asked is None:
        if request.changes:
            raise ValueError(
                "`changes` (--set) change a recipe: name one. "
                f"Received: {dict(request.changes)} and no recipe."
            )
        detector_of(network)
        return None
    is_file = isinstance(asked, os.PathLike) or str(asked).endswith(".toml")
    if isinstance(asked, str) and not is_file:
        asked = DETECTION_RECIPES.get(asked, asked)
    row = read_recipe(local_path(asked, "`recipe`")) if is_file else asked
    if not isinstance(row, DetectionRecipe):
        raise ValueError(
            "A detector's recipe must be one of detection, such as "
            f"{', '.join(DETECTION_RECIPES)}; or leave it out, and give images with boxes "
            "as `data` (--data). Received: the detector "
            f"{getattr(network, 'name', network)!r} and the recipe "
            f"{getattr(asked, 'name', asked)!r}."
        )
    check_own_name(row, DETECTION_RECIPES, "recipe", "A recipe")
    check_changes(request, OPTIONS_OF)
    if network is not None:
        row = replace(row, detector=network)
    detector_of(row.detector)
    return row


def detector_of(detector: Any) -> DetectorSpec:
    """The row of a detector's name, or the object itself.

    Raises:
        ValueError: If there is no such row, or it is a classifier's.
    """
    if isinstance(detector, DetectorSpec):
        check_own_name(detector, DETECTORS, "detector", "A detector")
        return detector
    name = getattr(detector, "name", detector)
    if not isinstance(detector, str) or name in ARCHITECTURES:
        raise ValueError(
            "A recipe of detection trains a detector. To give one another backbone, change "
            "`backbone` of its row: dataclasses.replace(DETECTORS[…], name=…, backbone="
            f"{name!r}). Received: network={name!r}, a classifier."
        )
    return find(DETECTORS, detector, kind="detector")


def load_data(request: TrainRequest, recipe: DetectionRecipe | None) -> BoxedSplits:
    """The images with boxes that are asked for, else the recipe's own; checked."""
    data = recipe.dataset if request.data is None else request.data
    name = where(data)
    if name in DATASETS:
        raise ValueError(
            "A detector needs images with boxes: a folder in VOC's layout or with COCO's "
            f"JSON, or one of {', '.join(BOX_DATASETS)}. Received: data={name!r}, which "
            "has no boxes."
        )
    if name in BOX_DATASETS:
        for option in ("val_fraction", "group", "zero_based"):
            if getattr(request, option):
                raise ValueError(
                    f"`{option}` (--{option.replace('_', '-')}) is for a folder of images; "
                    "the splits and boxes of a data set are its own. Leave it out. "
                    f"Received: {option}={getattr(request, option)!r}, data={name!r}."
                )
        return box_sources.load(name, data_dir=request.data_dir)
    if not os.path.exists(name):
        raise FileNotFoundError(
            "`data` (--data) must be a folder of images with boxes, or one of "
            f"{', '.join(BOX_DATASETS)}. Received: {str(data)!r}; there is nothing at "
            f"{name}."
        )
    return box_folders.load(
        name,
        val_fraction=request.val_fraction,
        group=request.group,
        zero_based=request.zero_based,
    )


def check_data_is_here(request: TrainRequest) -> None:
    """Raises `FileNotFoundError` if the data would have to be downloaded."""
    row = asked_recipe(request)
    name = where(row.dataset if request.data is None else request.data)
    if name in BOX_DATASETS:
        spec = BOX_DATASETS[name]
        for tfds_name in {tfds_name for tfds_name, _ in (*spec.train, *spec.test)}:
            if not is_prepared(tfds_name, request.data_dir):
                raise FileNotFoundError(not_here(tfds_name, request.data_dir))


def on_the_data(
    request: TrainRequest, recipe: DetectionRecipe | None, splits: BoxedSplits
) -> tuple[str, DetectionRecipe]:
    """The name of the run, and its recipe with the changes, on the data at hand."""
    data, examples = where(request.data), splits.train.size
    if recipe is None:
        spec = detector_of(request.network)
        name = f"{spec.name}_on_{splits.name}"
        recipe = for_own_objects(
            request.network,
            spec.sides,
            dataset=data,
            examples=examples,
            batch_size=request.batch_size,
        )
    elif data is None:
        name = recipe.name
    else:
        name = f"{recipe.name}_on_{splits.name}"
        changes = request.changes or {}
        size = request.batch_size or changes.get("batches.batch_size")
        # `changed` says what is wrong with it.
        size = size if is_integer(size, 1) else None
        recipe = on_other_objects(recipe, data, examples, size)
    recipe = changed(recipe, request.changes or {})
    if request.size is not None:
        recipe = with_shorter_side(recipe, request.size)
    if request.no_flip:
        batches = replace(recipe.batches, horizontal_flip=False, vertical_flip=False)
        recipe = replace(recipe, batches=batches)
    return name, recipe
