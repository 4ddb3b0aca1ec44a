"""Builds a job's network, the compiled model that trains it, and their batches."""

from __future__ import annotations

import contextlib
import pathlib
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import keras

from keras_resnet.config.architectures import network_of
from keras_resnet.config.preprocessing import Preprocessing
from keras_resnet.config.recipe import Distillation, Recipe, first_steps
from keras_resnet.data import pipelines
from keras_resnet.devices import distribute
from keras_resnet.devices.host import Dataset
from keras_resnet.devices.precision import be_deterministic, computing_in
from keras_resnet.models import resnet
from keras_resnet.runs.detector_job import DetectorJob
from keras_resnet.runs.examples import has_classes
from keras_resnet.runs.job import Job
from keras_resnet.runs.load import load_classifier as load
from keras_resnet.training import batch_norm
from keras_resnet.training.distillation import with_teacher
from keras_resnet.training.faster import faster
from keras_resnet.training.fit import FitData, compile_model
from keras_resnet.training.snapshots import SNAPSHOTS, Snapshots
from keras_resnet.training.steps import trainer
from keras_resnet.weights.load import fill
from keras_resnet.weights.notes import warn
from keras_resnet.weights.read import read

# The fields of a teacher's preprocessing that must equal the student's.
COLOURS: tuple[str, ...] = ("channels", "mean", "std", "channel_order", "bit_depth")


@contextlib.contextmanager
def scope(job: Job | DetectorJob) -> Iterator[None]:
    """The scope of the job's devices and precision, in which to build and fit."""
    with computing_in(job.precision), distribute.distribution(job.hardware):
        yield


def build(job: Job) -> tuple[Job, keras.Model, keras.Model]:
    """Builds the network and the compiled model that trains it, inside of `scope`.

    Returns:
        The job, with the preprocessing that its weights want and the distillation from
        its teacher; the network; and the model to fit, which may wrap the network.

    Raises:
        ValueError: If weights, teacher or the stages to freeze don't fit the network.
    """
    if job.request.deterministic:
        be_deterministic()
    keras.utils.set_random_seed(job.request.seed)
    shape = job.shape
    if job.recipe.image_sizes:  # One after the other, of one network.
        shape = resnet.with_channels((None, None), job.preprocessing.channels)
    network = resnet.build(job.spec, input_shape=shape, classes=job.classes)
    if job.request.weights is not None:
        job = _begun(job, network)
    if job.request.sync_batch_norm:
        batch_norm.synchronize(network, True)
    else:
        network = faster(network)
    if job.request.freeze is not None:
        resnet.freeze(network, job.request.freeze)
    teacher, job = _teacher(job)
    model = network
    if teacher is not None:
        model = with_teacher(network, teacher, job.recipe.distillation.temperature)
    model = trainer(model, job.hardware, xla=job.xla, accumulate=job.request.accumulate)
    compile_model(
        model,
        job.recipe,
        xla=job.xla,
        steps_per_execution=job.request.steps_per_execution,
    )
    return job, network, model


def _begun(job: Job, network: keras.Model) -> Job:
    """The job with the preprocessing of its first weights, which the network then has."""
    weights = read(job.request.weights, job.spec.name, job.spec)
    fill(network, weights, new_classifier=True)
    wanted = as_weights_want(job.preprocessing, weights.preprocessing)
    assumed = weights.assumed
    if weights.preprocessing is None:
        assumed = "that of the data"
        warn(
            f"{weights.name} doesn't tell how its images were prepared: assumed is "
            f"{assumed}. Name the run's folder instead, if there is one: it tells it."
        )
    recipe = job.recipe
    if assumed is not None:
        note = f"preprocessing of the first weights: assumed, {assumed}"
        recipe = replace(recipe, deviations=(*recipe.deviations, note))
    return replace(job, preprocessing=wanted, recipe=recipe)


def _teacher(job: Job) -> tuple[keras.Model | None, Job]:
    """The teacher, for images of any size, and the job with its distillation."""
    wanted = job.recipe.distillation
    if job.request.teacher is None:
        if wanted is not None:
            raise ValueError(
                f"The recipe needs a teacher, a {wanted.teacher} trained on the same "
                "classes: give its folder as `teacher` (--teacher); `keras-resnet "
                "convert` makes one of published weights. Received: none."
            )
        return None, job
    teacher = load(job.request.teacher)
    network = teacher.record["network"]
    if wanted is not None and network != wanted.teacher:
        raise ValueError(
            f"The recipe's teacher must be a {wanted.teacher}. Received: "
            f"teacher={job.request.teacher!r}, a {network}."
        )
    names = job.splits.class_names
    if not has_classes(teacher, names):
        raise ValueError(
            "The teacher must know the data's classes, in their order. Received: "
            f"{len(teacher.classes)}, {teacher.classes[:5]}…; the data has "
            f"{len(names)}, {names[:5]}…."
        )
    for colour in COLOURS:
        theirs, ours = (
            getattr(p, colour) for p in (teacher.preprocessing, job.preprocessing)
        )
        if theirs != ours:
            raise ValueError(
                "The teacher must see the same colours as the data has. Received: "
                f"{colour}={theirs!r}; the data has {ours!r}."
            )
    model = resnet.build(
        network_of(teacher.record),
        input_shape=resnet.with_channels((None, None), job.preprocessing.channels),
        classes=len(names),
    )
    model.set_weights(teacher.model.get_weights())
    distillation = wanted or Distillation(teacher=network)
    return model, replace(job, recipe=replace(job.recipe, distillation=distillation))


def as_weights_want(own: Preprocessing, weights: Preprocessing | None) -> Preprocessing:
    """A run's preprocessing with the normalization that its first weights need.

    Args:
        own: That of the data set, whose size is kept.
        weights: That of published weights; `None` where it isn't known.

    Returns:
        ``own`` with mean, deviation, channel order and interpolation of ``weights``,
        where both have as many channels.
    """
    if weights is None or weights.channels != own.channels:
        return own
    return replace(
        own,
        mean=weights.mean,
        std=weights.std,
        channel_order=weights.channel_order,
        interpolation=weights.interpolation,
    )


def stages(recipe: Recipe, done: int = 0) -> list[tuple[int, int, int | None]]:
    """The spans of updates that are left, each with images of one size.

    Args:
        recipe: A `Recipe`.
        done: Updates already done.

    Returns:
        Of each span: its first update, its end, and the images' side in pixels, `None`
        for the network's own.
    """
    begins = first_steps(recipe.image_sizes, recipe.steps) or [0]
    sides: list[Any] = [side for _, side in recipe.image_sizes] or [None]
    ends = [*begins[1:], recipe.steps]
    # A very short run has no room for every size.
    spans = zip(begins, ends, sides, strict=True)
    left = [(max(begin, done), end, side) for begin, end, side in spans]
    return [stage for stage in left if stage[0] < stage[1]]


def training_batches(
    job: Job,
    start: int = 0,
    steps: int | None = None,
    share: tuple[int, int] = (0, 1),
) -> Dataset:
    """The batches of the updates from ``start`` on.

    Args:
        job: What is trained.
        start: Updates already done.
        steps: The last update; by default the recipe's.
        share: A worker's number and the number of workers, of which each gets an equal
            part of every batch.
    """
    recipe = job.recipe if steps is None else replace(job.recipe, steps=steps)
    return pipelines.training_batches(
        job.splits.train,
        job.preprocessing,
        recipe,
        classes=job.classes,
        seed=job.request.seed,
        start_step=start,
        share=share,
    )


def batches_in_fit(job: Job, start: int = 0) -> Any:
    """This worker's share of the batches from the update ``start`` on, for `fit`."""
    return distribute.placed(
        training_batches(job, start, share=job.share), job.hardware
    )


def validation_batches(job: Job) -> tuple[Any, int]:
    """The validation images as `fit` sees them, and the number of their batches."""
    batch_size, count = job.validation_in_fit()
    batches = pipelines.evaluation_batches(
        job.splits.validation,
        job.preprocessing,
        batch_size=batch_size,
        one_hot=job.classes if job.recipe.soft_labels else None,
        share=job.share,
        keep=True,
    ).take(count)
    return distribute.placed(batches, job.hardware), count


def callbacks_of(job: Job, folder: pathlib.Path) -> list[keras.callbacks.Callback]:
    """None: `fit` measures all that the record of a classifier needs."""
    return []


def snapshots_of(
    job: Job, network: keras.Model, folder: pathlib.Path
) -> Snapshots | None:
    """The callback that keeps weights in the run's folder, if that is asked for."""
    updates = job.snapshot_updates()
    return Snapshots(network, folder / SNAPSHOTS, updates) if updates else None


def data_of(job: Job) -> FitData:
    """The batches that a job's `fit` iterates over."""
    return FitData(
        batches=lambda done: batches_in_fit(job, done),
        validation=validation_batches(job)[0],
        examples=job.splits.train.size,
    )
