"""`train` and `plan`: a `TrainRequest` from its recipe to its record, on one page.

Each step is a function of another module and knows nothing of the other steps.
"""

from __future__ import annotations

import contextlib
import os
import pathlib
import time
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import keras_resnet.runs  # noqa: F401  First: it switches oneDNN on.
from keras_resnet.config.lookup import arguments_checked, check_arguments
from keras_resnet.config.recipe import Recipe
from keras_resnet.config.spec import ResNetSpec
from keras_resnet.devices import distribute, onednn, workers
from keras_resnet.devices.find import Devices, accelerators, find_devices
from keras_resnet.devices.host import say
from keras_resnet.files import check_place, local_path
from keras_resnet.runs import environment
from keras_resnet.runs.build import (
    batches_in_fit,
    build,
    scope,
    stages,
    validation_batches,
)
from keras_resnet.runs.choose import check_data_is_here
from keras_resnet.runs.finish import chosen_loggers, finish
from keras_resnet.runs.folder import (
    LOCK,
    begun,
    check_folder,
    claim_folder,
    is_seen,
    lock_folder,
)
from keras_resnet.runs.job import Job
from keras_resnet.runs.messages import say_begins, say_finished, say_results
from keras_resnet.runs.request import TrainRequest
from keras_resnet.runs.settle import as_begun, is_finished, settle
from keras_resnet.training import batch_norm, checkpoint, loggers
from keras_resnet.training.fit import FitData, fit
from keras_resnet.training.phases import FitPhases, Phases
from keras_resnet.training.plan import measure, text


@arguments_checked
def train(
    recipe: str | os.PathLike[str] | Recipe | None = None,
    *,
    data: str | os.PathLike[str] | None = None,
    network: str | ResNetSpec | None = None,
    val_fraction: float | None = None,
    size: int | None = None,
    augment: str | None = None,
    no_flip: bool = False,
    weights: str | os.PathLike[str] | None = None,
    freeze: int | None = None,
    teacher: str | os.PathLike[str] | None = None,
    steps: int | None = None,
    epochs: float | None = None,
    batch_size: int | None = None,
    learning_rate: float | None = None,
    changes: Mapping[str, Any] | None = None,
    name: str | None = None,
    seed: int = 0,
    output_dir: str | os.PathLike[str] = "runs",
    data_dir: str | os.PathLike[str] | None = None,
    log: tuple[str, ...] | str = (),
    devices: str = "all",
    precision: str = "auto",
    xla: str = "auto",
    sync_batch_norm: bool = False,
    accumulate: int = 1,
    steps_per_execution: int = 1,
    deterministic: bool = False,
    wait: str = "10m",
    verbose: int = 1,
) -> pathlib.Path:
    """Trains a network by a recipe, or resumes its training, and leaves a run.

    The run lies in ``output_dir/<recipe>_seed<seed>``, on own data in
    ``<recipe>_on_<data>_seed<seed>``, without a recipe in
    ``<network>_on_<data>_seed<seed>``: ``model.keras``, ``history.csv``,
    ``record.json``, ``curves.png``, ``predictions.png`` and, but on PyTorch,
    ``saved_model/1``. A run that was stopped goes on from its last checkpoint; one that
    is finished is left as it is.

    Args:
        recipe: Key of `RECIPES`, a `Recipe`, or the path of a TOML file of one.
            By default ``"quickstart"``, unless ``data`` is given.
        data: Folder with a folder of images per class, or key of `DATASETS`, to train
            on instead of the recipe's data, for as many epochs as the recipe has there.
            Without a recipe, ``network`` is trained by one of ours.
        network: Key of `ARCHITECTURES`, or a `ResNetSpec`, instead of the recipe's.
        val_fraction: Share of a folder's images that is split off for validation, 0.1
            by default.
        size: Side of the network's images in pixels instead of the recipe's; random
            scales change in proportion.
        augment: ``"none"``, ``"light"`` (crops and flips) or ``"strong"`` (wide crops,
            colours, RandAugment and erasing), instead of the recipe's augmentation; see
            `config.adapted.with_augmentation`.
        no_flip: Whether images are never mirrored, as where classes differ by left and
            right.
        weights: File, or source and tag, of weights to begin from, as of
            `applications.create`; the classifier may differ.
        freeze: Number of stages that don't train, from the first on, with the stem.
        teacher: Folder of a run, or of converted weights, to distil from.
        steps: Updates in all instead of the recipe's; its milestones move in
            proportion.
        epochs: The same in passes over the training images; need not be whole.
        batch_size: Images per update instead of the recipe's; the learning rate does
            not change.
        learning_rate: The schedule's highest instead of the recipe's.
        changes: Other fields of the recipe, from names such as
            ``"augmentation.padding"`` to values.
        name: Of the run, in its folder's name, instead of the recipe's.
        seed: Of initialization, shuffling and augmentation.
        output_dir: Folder of the runs.
        data_dir: Where TensorFlow Datasets keeps its data.
        log: Tools to log the run to as well, of `LOGGERS`, e.g. ``("tensorboard",)``.
        devices: ``"all"``, ``"cpu:2"``, ``"gpu:0,1"``; see `find_devices`.
        precision: ``"auto"`` or a Keras dtype policy; see `choose_precision`.
        xla: ``"auto"``, ``"on"`` or ``"off"``; see `choose_xla`.
        sync_batch_norm: Whether batch statistics are taken over all devices.
        accumulate: Micro-batches that each batch is split into to save memory; one
            update per batch all the same. Batch norms see micro-batches.
        steps_per_execution: Updates that Python starts at a time, on TensorFlow and
            JAX: more keep a fast device busy with a small network. Progress, signals
            and a loss that is not finite are seen once in as many.
        deterministic: Whether GPUs, too, must compute the same bits each time; only on
            TensorFlow, without XLA, and until the process ends.
        wait: How long to wait for the other workers, where the environment names any
            (docs/distributed.md), such as ``"90s"``, ``"10m"`` or ``"2h"``.
        verbose: 0 prints nothing, 1 a line of progress that redraws itself in a terminal
            or a notebook, and comes once a minute elsewhere, 2 always a line a minute.

    Returns:
        The run's folder.

    Raises:
        ValueError: If a name, a value or the data is wrong, or the folder holds a run
            of another recipe. Nothing has been written then.
        FileNotFoundError: If the data is not there.
        FileExistsError, PermissionError: If no folder can be made there.
        FloatingPointError: If the loss is no longer finite; a checkpoint is left.
        RuntimeError: If another process trains in the folder.
        KeyboardInterrupt, SystemExit: If a signal ended it; a checkpoint is left.
        WorkerLost: If the environment names several workers (docs/distributed.md) and
            another one doesn't come in time, or doesn't answer any more.
    """
    request = TrainRequest(**locals())
    onednn.warn_if_late()
    loggers.check(request.log)
    with contextlib.ExitStack() as held:
        return _train(request, held)


def _train(request, held):
    """Trains in a folder that the chief locks until ``held`` is left."""
    started = time.perf_counter()
    phases = Phases()
    phases.begin("data")
    hardware = find_devices(request.devices, request.wait)
    folder = folder_of(request, request.name or str(request.recipe))
    if is_finished(folder, request):
        return say_finished(folder, request)
    # Now: the checkout may be another when training ends.
    made_on = environment.describe(accelerators=accelerators(hardware))
    job, folder = settled(request, hardware)
    if hardware.chief and not (folder / "settings.json").exists():
        check_place(folder / LOCK, "A file of `output_dir` (--output-dir)")
    phases.begin("network")
    with scope(job):
        job, network, model = build(job)
        if check_folder(folder, job.settings()):
            return say_finished(folder, request)
        if hardware.chief:
            held.enter_context(lock_folder(folder))
            # Another process may have had the folder until now.
            if claim_folder(folder, job.settings()):
                return say_finished(folder, request)
        distribute.require(
            is_seen(folder),
            hardware,
            f"All workers must see {folder}, where the chief writes: give them an "
            "--output-dir on a file system that they share.",
        )
        if hardware.chief:
            say_begins(job, folder)
        earlier_seconds = fit(
            model,
            job.recipe,
            data_of(job),
            folder,
            devices=hardware,
            before_saving=[FitPhases(phases), *batch_norm.replica_callbacks(hardware)],
            loggers=chosen_loggers(job, folder) if hardware.chief else (),
            verbose=request.verbose,
        )
    workers.leave(hardware.workers)
    if hardware.chief:
        since = started - earlier_seconds
        finish(job, network, folder, made_on=made_on, phases=phases, since=since)
        say_results(folder, request)
    distribute.end_together(hardware)
    return folder


def plan(recipe: str | os.PathLike[str] | Recipe | None = None, **options: Any) -> str:
    """Estimates what `train` would take with the same options, and trains nothing.

    It measures a few updates of a network that it throws away; it writes nothing and
    downloads no data. For a run that has begun, the time is that of the remaining updates.

    Args:
        recipe: As of `train`.
        **options: As of `train`.

    Returns:
        Text: devices, batch, updates, memory, expected time, and what of the recipe is
        done otherwise here.

    Raises:
        ValueError: As of `train`.
        FileNotFoundError: If the data is not there.
    """
    known = [option.name for option in fields(TrainRequest)]
    check_arguments("plan", options, known)
    request = TrainRequest(recipe=recipe, **options)
    onednn.warn_if_late()
    loggers.check(request.log)
    check_data_is_here(request)
    hardware = find_devices(request.devices, request.wait)
    job, folder = settled(request, hardware)
    with scope(job):
        job, _, model = build(job)
        if check_folder(folder, job.settings()):
            return f"{folder} is finished: there is nothing to train."
        done = checkpoint.updates_done(folder / "checkpoints")
        if done == job.recipe.steps:
            return f"{folder} is trained: there is only to measure and to export."
        validation, count = validation_batches(job)
        found = measure(
            model,
            lambda done: batches_in_fit(job, done),
            validation,
            hardware,
            stages=stages(job.recipe, done),
            validation_batches=count,
        )
    return text(
        job.name,
        job.recipe,
        hardware,
        found,
        done=done,
        examples=job.splits.train.size,
        validation_batches=count,
        computing=f"{job.backend}, {job.precision}" + (", XLA" if job.xla else ""),
        notes=job.notes(),
    )


def folder_of(request: TrainRequest, name: str) -> pathlib.Path:
    """The folder of the run of this name."""
    return local_path(request.output_dir) / f"{name}_seed{request.seed}"


def settled(request: TrainRequest, hardware: Devices) -> tuple[Job, pathlib.Path]:
    """The job that is asked for, as its run may have begun it, and the run's folder."""
    job = settle(request, hardware)
    folder = folder_of(request, job.name)
    asked = job.precision, job.xla
    job = as_begun(job, begun(folder, job.backend))
    if (job.precision, job.xla) != asked and request.verbose and hardware.chief:
        say(
            f"The run goes on in {job.precision}, {'with' if job.xla else 'without'} "
            "XLA, as it began; here, 'auto' means something else."
        )
    return job, folder


def data_of(job: Job) -> FitData:
    """The batches that a job's `fit` iterates over."""
    return FitData(
        batches=lambda done: batches_in_fit(job, done),
        validation=validation_batches(job)[0],
        examples=job.splits.train.size,
    )
