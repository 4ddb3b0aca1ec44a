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
from keras_resnet.config.detection_recipe import DetectionRecipe
from keras_resnet.config.detector import DetectorSpec
from keras_resnet.config.lookup import arguments_checked, check_arguments
from keras_resnet.config.recipe import Recipe
from keras_resnet.config.spec import ResNetSpec
from keras_resnet.devices import agreement, distribute, onednn, signals, workers
from keras_resnet.devices.describe import accelerators
from keras_resnet.devices.find import find_devices
from keras_resnet.devices.host import need_tensorflow
from keras_resnet.devices.precision import computing_in
from keras_resnet.runs import deciding, environment
from keras_resnet.runs.begin import StaysThere, progress, settled, taken
from keras_resnet.runs.build import scope
from keras_resnet.runs.folder import LOCK, is_whole
from keras_resnet.runs.kinds import kind_of
from keras_resnet.runs.messages import say_begins, say_finished, say_results
from keras_resnet.runs.request import TrainRequest
from keras_resnet.runs.settle import finished
from keras_resnet.targets import check_place
from keras_resnet.training import batch_norm, loggers
from keras_resnet.training.fit import fit
from keras_resnet.training.phases import FitPhases, Phases
from keras_resnet.training.plan import measure, text
from keras_resnet.training.snapshots import space


@arguments_checked
def train(
    recipe: str | os.PathLike[str] | Recipe | DetectionRecipe | None = None,
    *,
    data: str | os.PathLike[str] | None = None,
    network: str | ResNetSpec | DetectorSpec | None = None,
    val_fraction: float | None = None,
    group: str | None = None,
    bit_depth: int | str | None = None,
    zero_based: bool = False,
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
    snapshots: int | None = None,
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
    ``record.json``, ``curves.png``, ``predictions.png`` and, of a classifier but on
    PyTorch, ``saved_model/1``. A run that was stopped goes on from its last checkpoint;
    one that is finished is left as it is.

    Args:
        recipe: Key of `RECIPES` or `DETECTION_RECIPES`, a `Recipe` or `DetectionRecipe`,
            or the path of a TOML file of one. ``"quickstart"``, unless ``data`` is given.
        data: Folder with a folder of images per class, or that TensorFlow Datasets wrote
            (for a detector, as of `detection.load_boxes`), or key of `DATASETS` or
            `BOX_DATASETS`, to train on instead of the recipe's data, for as many epochs as
            the recipe has there.
            Without a recipe, ``network`` is trained by one of ours. Where a name could
            be both, ``"./cifar10"`` is the folder, ``"tfds:cifar10"`` the data set.
        network: Key of `ARCHITECTURES` or `DETECTORS`, a `ResNetSpec` or a
            `DetectorSpec`, instead of the recipe's.
        val_fraction: Share of each class of a folder that is split off for validation,
            0.1 by default, by the paths: more images leave the others on their side. Of
            frames of one video some would be learnt and others measured: see ``group``.
        group: Regular expression of the part of the path that images on one side have in
            common, such as ``"video[0-9]+"`` in ``"cat/video07_frame012.jpg"``.
        bit_depth: Bits that values of 16-bit images take, from 8 to 16 (the default);
            ``"auto"`` for as many as the largest value of the training images does.
        zero_based: Whether the boxes of a folder in VOC's layout are coordinates that
            begin at 0, as of `detection.load_boxes`. For detectors.
        size: Side of the network's images in pixels, of a detector's the shorter one,
            instead of the recipe's; random scales change in proportion.
        augment: ``"none"``, ``"light"`` (crops and flips) or ``"strong"`` (wide crops,
            colours, RandAugment and erasing), instead of the recipe's augmentation; see
            `config.adapted.with_augmentation`.
        no_flip: Whether images are never mirrored, as where classes differ by left and
            right.
        weights: File, or source and tag, of weights to begin from, as of
            `applications.create`; the classifier may differ. For a detector a classifier's
            or a detector's.
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
        snapshots: Number of sets of weights to keep in the run's folder ``snapshots``,
            from 2 to one more than the updates: the initial weights, the final ones, and
            others evenly between. Analyses read them; they change no result. See
            `Run.snapshots`.
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
            of another recipe. Nothing has been written then, but where not all workers
            see the run's folder, its settings.
        FileNotFoundError: If the data is not there.
        ImportError: If TensorFlow, or a package of ``log``, is not installed.
        FileExistsError, PermissionError: If no folder can be made there.
        FloatingPointError: If the loss is no longer finite; a checkpoint is left.
        RuntimeError: If another process trains in the folder.
        KeyboardInterrupt, SystemExit: If a signal ended it; a checkpoint is left.
        WorkerLost: If the environment names several workers (docs/distributed.md) and
            another one doesn't come in time, or doesn't answer any more.
    """
    request = TrainRequest(**locals())
    need_tensorflow()
    onednn.warn_if_late()
    with contextlib.ExitStack() as held:
        held.enter_context(signals.heard())
        return _train(request, held)


@agreement.failures_told()
@computing_in("float32")
def _train(request, held):
    """Trains in a folder that the chief locks until ``held`` is left."""
    started = time.perf_counter()
    phases = Phases()
    phases.begin("data")
    hardware = find_devices(request.devices, request.wait, deciding.of_request(request))
    loggers.check(request.log)  # Now: the other workers hear of what one lacks.
    folder = finished(request)
    if all(agreement.gathered(folder is not None)):
        return say_finished(folder, request)
    # Now: the checkout may be another when training ends.
    made_on = environment.describe(accelerators=accelerators(hardware))
    job, folder = settled(request, hardware)
    if hardware.chief and not is_whole(folder):
        check_place(folder / LOCK, "A file of `output_dir` (--output-dir)")
    phases.begin("network")
    _, building, finishing = kind_of(request)
    with scope(job):
        job, network, model = building.build(job)
        if taken(job, folder, held):
            return say_finished(folder, request)
        if hardware.chief:
            say_begins(job, folder)
        earlier_seconds, history = fit(
            model,
            job.recipe,
            building.data_of(job),
            folder,
            devices=hardware,
            before_saving=[
                FitPhases(phases),
                StaysThere(job, folder, held),
                *batch_norm.replica_callbacks(hardware),
                *building.callbacks_of(job, folder),
            ],
            loggers=finishing.chosen_loggers(job, folder) if hardware.chief else (),
            snapshots=building.snapshots_of(job, network, folder),
            verbose=request.verbose,
        )
    workers.leave(hardware.workers)
    if hardware.chief:
        since = started - earlier_seconds
        finishing.finish(
            job,
            network,
            folder,
            history=history,
            made_on=made_on,
            phases=phases,
            since=since,
        )
        say_results(folder, request)
    distribute.end_together(hardware)
    return folder


@agreement.failures_told()
@computing_in("float32")
def plan(
    recipe: str | os.PathLike[str] | Recipe | DetectionRecipe | None = None,
    **options: Any,
) -> str:
    """Estimates what `train` would take with the same options, and trains nothing.

    It measures a few updates of a network that it throws away; it writes nothing and
    downloads no data. For a run that has begun, the time is that of the remaining updates.

    Args:
        recipe: As of `train`.
        **options: As of `train`.

    Returns:
        Text: devices, batch, updates, memory, expected time, what of the recipe is done
        otherwise here, and the space of weights that are kept.

    Raises:
        ValueError: As of `train`.
        FileNotFoundError: If the data is not there.
    """
    known = [option.name for option in fields(TrainRequest)]
    check_arguments("plan", options, known)
    request = TrainRequest(recipe=recipe, **options)
    need_tensorflow()
    onednn.warn_if_late()
    loggers.check(request.log)
    choosing, building, _ = kind_of(request)
    choosing.check_data_is_here(request)
    hardware = find_devices(request.devices, request.wait, deciding.of_request(request))
    job, folder = settled(request, hardware)
    with scope(job):
        job, network, model = building.build(job)
        finished, done = progress(job, folder)
        if finished:
            return f"{folder} is finished: there is nothing to train."
        if done == job.recipe.steps:
            return f"{folder} is trained: there is only to measure and to export."
        validation, count = building.validation_batches(job)
        found = measure(
            model,
            lambda done: building.batches_in_fit(job, done),
            validation,
            hardware,
            stages=building.stages(job.recipe, done),
            validation_batches=count,
        )
    planned = text(
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
    return "\n".join([planned, *space(network, job.snapshot_updates())])
