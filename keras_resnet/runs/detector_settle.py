"""From a `TrainRequest` to a `DetectorJob`: recipe, images, detector and computation.

It checks that they fit together, writes nothing and changes nothing in the process.
"""

from __future__ import annotations

import pathlib
from dataclasses import replace
from typing import Any

import keras

from keras_resnet.config.detection_recipe import DetectionRecipe
from keras_resnet.devices.find import Devices
from keras_resnet.devices.precision import choose_xla
from keras_resnet.runs.detector_choose import (
    asked_recipe,
    check_options,
    detector_of,
    load_data,
    on_the_data,
)
from keras_resnet.runs.detector_job import DetectorJob
from keras_resnet.runs.kept import begun
from keras_resnet.runs.lengths import (
    decides_validations,
    with_lengths,
    with_validations,
)
from keras_resnet.runs.places import folder_of
from keras_resnet.runs.request import TrainRequest


def settled(
    request: TrainRequest, hardware: Devices
) -> tuple[DetectorJob, pathlib.Path]:
    """The job that is asked for, as its run may have begun it, and the run's folder.

    Args:
        request: What is asked for.
        hardware: The devices to compute on.

    Raises:
        ValueError: If a name, a value or the data is wrong, or they don't fit together.
        FileNotFoundError: If the data or the recipe's file is not there.
    """
    check_options(request)
    check_devices(hardware)
    row = asked_recipe(request)
    splits = load_data(request, row)
    name, recipe = on_the_data(request, row, splits)
    recipe = with_lengths(recipe, splits.train.size, request)
    recipe = with_validations(recipe, splits.validation.size, request)
    check_batch_size(recipe, splits.train.size)
    job = DetectorJob(
        name=request.name or name,
        request=request,
        recipe=recipe,
        overrides=request.overrides(val_fraction=splits.val_fraction),
        splits=splits,
        spec=detector_of(recipe.detector),
        hardware=hardware,
        precision="float32" if request.precision == "auto" else request.precision,
        xla=_xla(request, hardware),
        contents=request.contents(),
    )
    folder = folder_of(request, job.name)
    return _as_begun(job, begun(folder, job.backend)), folder


def check_devices(hardware: Devices) -> None:
    """Raises `ValueError` unless there is one device, in one process."""
    if hardware.workers > 1 or hardware.replicas > 1:
        raise ValueError(
            "A detector is trained on one device: name it, such as --devices gpu:0, and "
            "start one process. Received: "
            f"{hardware.replicas} devices, {hardware.workers} workers."
        )


def check_batch_size(recipe: DetectionRecipe, examples: int) -> None:
    """Raises `ValueError` if a batch has more images than there are."""
    if recipe.batch_size > examples:
        raise ValueError(
            f"`batch_size` (--batch-size) must not exceed the {examples} training images. "
            f"Received: batch_size={recipe.batch_size}."
        )


def _xla(request, hardware):
    if keras.backend.backend() == "tensorflow":
        if request.xla == "on":
            raise ValueError(
                "On TensorFlow a detector isn't trained with `xla` (--xla): leave it out. "
                "Received: xla='on'."
            )
        return False
    return choose_xla(request.xla, hardware)


def _as_begun(job: DetectorJob, begun: dict[str, Any]) -> DetectorJob:
    """The job with the precision and validations that its run began with."""
    if job.request.precision == "auto" and "precision" in begun:
        job = replace(job, precision=begun["precision"])
    if "validate_every" in begun and decides_validations(job.request, job.recipe):
        recipe = replace(job.recipe, validate_every=begun["validate_every"])
        job = replace(job, recipe=recipe)
    return job
