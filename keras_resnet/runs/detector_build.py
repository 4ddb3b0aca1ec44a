"""Builds a job's detector, compiled to train, and its batches."""

from __future__ import annotations

import os
import pathlib
from typing import Any

import keras

from keras_resnet.config.detection_recipe import DetectionRecipe
from keras_resnet.data import box_pipelines
from keras_resnet.data.boxes import BoxedExamples
from keras_resnet.detection import FasterRCNN
from keras_resnet.detection.callbacks import AveragePrecision, DetectionPictures
from keras_resnet.devices.host import Dataset
from keras_resnet.runs.detector_job import DetectorJob
from keras_resnet.runs.places import network_at
from keras_resnet.training.fit import NO_DECAY, FitData
from keras_resnet.training.optimizers import CoupledSGD
from keras_resnet.training.schedules import learning_rate
from keras_resnet.weights.files import read_checkpoint
from keras_resnet.weights.keras_files import has_detectors_weights
from keras_resnet.weights.sources import is_published


def build(job: DetectorJob) -> tuple[DetectorJob, keras.Model, keras.Model]:
    """Builds the detector, compiled, inside of `runs.build.scope`.

    Returns:
        The job, and the detector twice: it is what is fitted and what is saved.

    Raises:
        ValueError: If the weights don't fit the detector.
    """
    keras.utils.set_random_seed(job.request.seed)
    model = _with_weights(job)
    model.class_names = job.splits.class_names
    recipe = job.recipe
    model.compile(
        CoupledSGD(
            learning_rate(recipe.schedule, recipe.steps),
            momentum=recipe.momentum,
            coupled_weight_decay=recipe.weight_decay,
            exclude_from_decay=() if recipe.decay_all else NO_DECAY,
            global_clipnorm=recipe.clip_norm,
        ),
        jit_compile=job.xla,
    )
    return job, model, model


def _with_weights(job):
    """The detector with the weights that it begins with, of its own or of its backbone."""
    weights = job.request.weights or job.recipe.weights
    options = {"num_classes": job.splits.classes, "seed": job.request.seed}
    if weights is None:
        return FasterRCNN(job.spec, **options)
    own = own_detector(weights)
    if own or of_detector(weights):
        return FasterRCNN(job.spec, weights=own or weights, **options)
    return FasterRCNN(job.spec, backbone_weights=weights, **options)


def own_detector(weights: str | os.PathLike[str]) -> pathlib.Path | None:
    """The file of a detector of ours at a path or in a run's folder, if that is one."""
    path = None if is_published(weights) else network_at(weights)
    return path if path is not None and has_detectors_weights(path) else None


def of_detector(weights: str | os.PathLike[str]) -> bool:
    """Whether weights in torchvision's names are a detector's, and not a backbone's."""
    if is_published(weights):
        return str(weights).startswith("torchvision:COCO")
    path = pathlib.Path(weights).expanduser()
    if path.suffix not in (".pth", ".pt", ".th", ".safetensors", ".npz"):
        return False
    return any(name.startswith("roi_heads.") for name in read_checkpoint(path))


def callbacks_of(
    job: DetectorJob, folder: pathlib.Path
) -> list[keras.callbacks.Callback]:
    """What measures and draws validation images as often as `fit` validates."""
    about = (job.splits.validation, job.recipe.batches, job.splits.class_names)
    every = job.recipe.validate_every
    return [
        AveragePrecision(*about),
        DetectionPictures(*about, folder / "pictures", updates=every),
    ]


def stages(recipe: DetectionRecipe, done: int = 0) -> list[tuple[int, int, int | None]]:
    """The span of updates that is left, as of `runs.build.stages`."""
    return [(done, recipe.steps, None)] if done < recipe.steps else []


def batches_in_fit(job: DetectorJob, start: int = 0) -> Dataset:
    """The batches of the updates from ``start`` on, for `fit`."""
    return box_pipelines.training_batches(
        job.splits.train,
        job.recipe.batches,
        steps=job.recipe.steps,
        seed=job.request.seed,
        start_step=start,
    )


def batches_of(job: DetectorJob, examples: BoxedExamples) -> Dataset:
    """Batches of all of some images with their boxes, to take the losses of."""
    batches = box_pipelines.evaluation_batches(examples, job.recipe.batches)
    return batches.map(lambda batch, about: batch)


def validation_batches(job: DetectorJob) -> tuple[Any, int]:
    """The validation images as `fit` sees them, and the number of their batches."""
    return batches_of(job, job.splits.validation), job.validation_batches()


def snapshots_of(job: DetectorJob, network: keras.Model, folder: pathlib.Path) -> None:
    """`None`: a detector's weights aren't kept along its training."""
    return None


def data_of(job: DetectorJob) -> FitData:
    """The batches that a job's `fit` iterates over."""
    return FitData(
        batches=lambda done: batches_in_fit(job, done),
        validation=validation_batches(job)[0],
        examples=job.splits.train.size,
    )
