"""The whole story on one page: a recipe, from its name to its record.

Everything else in the package does one step and knows nothing of the others.
"""

import inspect
import math
import pathlib
import statistics
import time
from dataclasses import asdict

import keras
import numpy as np

from keras_resnet.analysis import complexity, plots
from keras_resnet.data import pipelines
from keras_resnet.data.examples import Examples
from keras_resnet.devices import distribute, workers
from keras_resnet.devices.find import accelerators, find_devices
from keras_resnet.evaluation.metrics import evaluate, predict
from keras_resnet.models import resnet
from keras_resnet.runs import environment, request
from keras_resnet.runs import folder as run_folder
from keras_resnet.runs import job as jobs
from keras_resnet.runs.export import export_model
from keras_resnet.runs.record import SCHEMA, write_record
from keras_resnet.training import batch_norm, checkpoint, loggers
from keras_resnet.training import plan as plans
from keras_resnet.training.fit import fit
from keras_resnet.training.history import read_history
from keras_resnet.training.phases import FitPhases, Phases

EXAMPLES_SHOWN = 20


def train(
    recipe=None,
    *,
    data=None,
    network=None,
    weights=None,
    val_fraction=None,
    seed=0,
    output_dir="runs",
    data_dir=None,
    steps=None,
    epochs=None,
    batch_size=None,
    devices="all",
    precision="auto",
    xla="auto",
    learning_rate=None,
    freeze=None,
    teacher=None,
    sync_batch_norm=False,
    log=(),
    accumulate=1,
    steps_per_execution=1,
    deterministic=False,
    verbose=1,
):
    """Trains a network by a recipe, or goes on with it, and leaves a run.

    The run lies in ``output_dir/<recipe>_seed<seed>``, on own data
    ``<network>_on_<data>_seed<seed>``: ``model.keras``, ``history.csv``,
    ``record.json``, ``curves.png``, ``predictions.png`` and, but on PyTorch,
    ``saved_model/1``. A run that was stopped goes on from its last checkpoint; one that
    is finished is left as it is.

    Args:
        recipe: Key of `RECIPES`, ``"quickstart"`` by default; not with ``data``.
        data: Folder with a folder of images per class, or key of `DATASETS`, to train
            ``network`` on by a recipe of ours.
        network: Key of `ARCHITECTURES`, with ``data``.
        weights: File or source and tag of weights to begin from, as of
            `applications.create`; the classifier may differ.
        val_fraction: Share of a folder's images split off for validation, 0.1 by
            default.
        seed: Of initialization, shuffling and augmentation.
        output_dir: Folder of the runs.
        data_dir: Where TensorFlow Datasets keeps its data.
        steps: Updates in all instead of the recipe's; its milestones move in
            proportion.
        epochs: The same in passes over the training images; need not be whole.
        batch_size: Images per update instead of the recipe's; the learning rate does
            not change.
        learning_rate: The schedule's highest instead of the recipe's.
        freeze: Stages, from the first on and with the stem, that do not train.
        teacher: Folder of a run, or of converted weights, whose logits the network
            learns as well (distillation).
        devices: ``"all"``, ``"cpu:2"``, ``"gpu:0,1"``; see `find_devices`.
        precision: ``"auto"`` or a Keras dtype policy; see `choose_precision`.
        xla: ``"auto"``, ``"on"`` or ``"off"``; see `choose_xla`.
        sync_batch_norm: Whether batch statistics are taken over all devices.
        accumulate: Micro-batches that each batch is split into to save memory; one
            update per batch all the same. Batch norms see micro-batches.
        steps_per_execution: Updates that Python starts at a time, on TensorFlow and
            JAX: more keep a fast device busy with a small network. Progress, signals
            and a loss that is not finite are seen once in as many.
        deterministic: Whether operations must give the same bits each time, on GPUs
            too; TensorFlow alone, without XLA, and until the process ends.
        log: Names of `LOGGERS` to tell of the run, e.g. ``("tensorboard",)``.
        verbose: 0 for silence, 1 for a line of progress that redraws itself, 2 for a
            line a minute.

    Returns:
        The run's folder (`pathlib.Path`).

    Raises:
        ValueError: If a name, a value or the data is wrong, or the folder holds a run
            of another recipe. Nothing has been written then.
        FileNotFoundError: If the data is not there.
        FloatingPointError: If the loss is no longer finite; a checkpoint is left.
        RuntimeError: If another process trains in the folder.
        KeyboardInterrupt, SystemExit: If a signal ended it; a checkpoint is left.
        WorkerLost: If the environment names several workers (docs/distributed.md) and
            another one does not answer any more.
    """
    options = request.complete(locals())
    loggers.check(log)
    started = time.perf_counter()
    phases = Phases()
    phases.begin("data")
    hardware = find_devices(devices)
    pipelines.leave_gpus_to_keras()
    folder = pathlib.Path(output_dir) / f"{options['recipe']}_seed{seed}"
    if run_folder.finished(folder, options, keras.backend.backend()):
        return say_finished(folder, verbose)
    # Now: the checkout may be another when training ends.
    made_on = environment.describe(accelerators=accelerators(hardware))
    job, folder = settled(options, hardware)
    phases.begin("network")
    with jobs.scope(job):
        job, network, model = jobs.build(job)
        finished = run_folder.check(folder, job.settings())
        if hardware.chief and not finished:
            in_use = run_folder.lock(folder)  # noqa: F841  Until this function returns.
            # Another process may have had the folder until now.
            finished = run_folder.claim(folder, job.settings())
        if finished:
            return say_finished(folder, verbose)
        distribute.require(
            run_folder.seen(folder),
            hardware,
            f"All workers must see {folder}, where the chief writes: give them an "
            "--output-dir on a file system that they share.",
        )
        if hardware.chief:
            say_skipped(job.splits.skipped, verbose)
            if verbose:
                where = ", ".join(hardware.all_names)
                print(f"Training {job.recipe.network} on {where} in {job.precision}.")
        earlier_seconds = fit(
            model,
            job.recipe,
            lambda done: jobs.batches_in_fit(job, done),
            jobs.validation_batches(job)[0],
            folder,
            devices=hardware,
            examples=job.splits.train.size,
            before_saving=[FitPhases(phases), *batch_norm.replica_callbacks(hardware)],
            loggers=chosen_loggers(log, folder, job) if hardware.chief else (),
            verbose=verbose,
        )
    workers.leave(hardware.workers)
    if not hardware.chief:
        distribute.end_together(hardware)
        return folder

    phases.begin("pictures")
    history = read_history(folder / "history.csv")
    plots.training_curves(history, folder / "curves.png", title=job.name)
    # Outside of strategy and of any mixed precision: what is measured is what is saved.
    with distribute.first_device(hardware), jobs.computing_in("float32"):
        phases.begin("measuring")
        final = as_float32(job, network)
        phases.begin("pictures")
        show_examples(final, job, folder / "predictions.png")
        phases.begin("measuring")
        results = measured(final, job, history)
    phases.begin("saving")
    run_folder.replace_file(folder / "model.keras", final.save)
    # Keras exports no SavedModel from PyTorch: `keras-resnet export` does, afterwards.
    if keras.backend.backend() != "torch":
        phases.begin("saved_model")
        export_model(
            final,
            folder / "saved_model",
            job.prepare,
            job.splits.class_names,
            overwrite=True,
        )
    record = {
        "schema": SCHEMA,
        "recipe": job.name,
        "overrides": job.overrides,
        "seed": seed,
        "network": job.recipe.network,
        "parameters": complexity.parameters(final),
        "dataset": described(job.splits),
        "classes": list(job.splits.class_names),
        "preprocessing": job.prepare.as_json(),
        "backend": keras.backend.backend(),
        "devices": hardware.all_names,
        "precision": job.precision,
        "xla": job.xla,
        **made_on,
        "steps": job.recipe.steps,
        "wall_seconds": round(earlier_seconds + time.perf_counter() - started, 1),
        "phase_seconds": phases.end(),
        "images_per_second": statistics.median(
            row["images_per_second"] for row in history
        ),
        **results,
        "target": job.recipe.target,
        "deviations": list(job.recipe.deviations),
    }
    # Last: a run with a record is finished.
    write_record(record, folder / "record.json")
    distribute.end_together(hardware)
    return folder


def settled(options, hardware):
    """The job that the options ask for, and its folder, by which it may have begun."""
    job = jobs.settle(options, hardware)
    folder = pathlib.Path(options["output_dir"]) / f"{job.name}_seed{job.seed}"
    begun = run_folder.begun(folder, keras.backend.backend())
    asked = job.precision, job.xla
    job = jobs.as_begun(job, options, begun)
    if (job.precision, job.xla) != asked and options["verbose"] and hardware.chief:
        print(
            f"The run goes on in {job.precision}, {'with' if job.xla else 'without'} "
            "XLA, as it began; here, 'auto' means something else."
        )
    return job, folder


def say_finished(folder, verbose):
    """Says that a run is finished, and gives its folder back."""
    if verbose:
        print(f"{folder} is finished: there is nothing to train.")
    return folder


def say_skipped(names, verbose):
    """Names the examples that are left out; the record holds all of them."""
    if names and verbose:
        more = ", …" if len(names) > 10 else ""
        print(f"{len(names)} bad examples are left out: {', '.join(names[:10])}{more}")


def plan(recipe=None, **options):
    """What `train` would do with the same options, without doing it.

    A few updates are made on a network that is thrown away; nothing is written. Of a run
    that has begun, the time is that of what is left.

    Args:
        recipe: As of `train`.
        **options: As of `train`.

    Returns:
        Text: devices, batch, updates, memory, expected time, and what of the recipe is
        done otherwise here.

    Raises:
        ValueError: As of `train`.
    """
    asked = inspect.signature(train).bind(recipe, **options)
    asked.apply_defaults()
    options = request.complete(asked.arguments)
    loggers.check(options["log"])
    hardware = find_devices(options["devices"])
    pipelines.leave_gpus_to_keras()
    job, folder = settled(options, hardware)
    with jobs.scope(job):
        job, _, model = jobs.build(job)
        if run_folder.check(folder, job.settings()):
            return f"{folder} is finished: there is nothing to train."
        done = checkpoint.updates_done(folder / "checkpoints")
        if done == job.recipe.steps:
            return f"{folder} is trained: there is only to measure and to export."
        validation, count = jobs.validation_batches(job)
        found = plans.measure(
            model,
            lambda done: jobs.batches_in_fit(job, done),
            validation,
            hardware,
            stages=jobs.stages(job.recipe, done),
        )
    return plans.text(
        job.name,
        job.recipe,
        hardware,
        found,
        done=done,
        examples=job.splits.train.size,
        validation_batches=count,
        computing=f"{keras.backend.backend()}, {job.precision}"
        + (", XLA" if job.xla else ""),
        notes=job.notes(),
    )


def chosen_loggers(names, folder, job):
    """The callbacks that log a run, by their names."""
    names = list(dict.fromkeys(names))
    others = [loggers.LOGGERS[n](folder) for n in names if n != "tensorboard"]
    if "tensorboard" in names:
        normalized, _ = next(iter(jobs.training_batches(job)))
        images = as_pixels(normalized, job.prepare)[:16]
        return [loggers.TensorBoard(folder, images), *others]
    return others


def as_float32(job, network):
    """The trained network as it is measured, saved and served."""
    final = resnet.build(
        job.spec,
        input_shape=job.shape,
        classes=job.classes,
        name=job.recipe.network,
    )
    final.set_weights(network.get_weights())
    if job.recipe.precise_batch_norm:
        end = job.recipe.steps
        count = math.ceil(job.recipe.precise_batch_norm / job.recipe.batch_size)
        batches = jobs.training_batches(job, end, end + count)
        # As large as a device has seen them: all of them may not fit into one.
        batch_norm.recompute(final, batches.rebatch(job.micro_batch))
    return final


def described(splits):
    """The data, for the record."""
    return {
        "name": splits.name,
        "version": splits.version,
        "sha256": splits.sha256,
        "splits": {
            split: examples.size
            for split in ("train", "validation", "test")
            if (examples := getattr(splits, split)) is not None
        },
        "skipped": list(splits.skipped),
    }


def measured(model, job, history):
    """Errors in percent and loss on each split, for the record."""
    return {
        "train": {
            # Of the updates since the last validation, on augmented images.
            "top1_error": 100 * (1 - history[-1]["accuracy"]),
            "top5_error": None,
            "loss": history[-1]["loss"],
            "n": since_validation(job.recipe) * job.recipe.batch_size,
        },
        "validation": measure(model, job.splits.validation, job),
        "test": measure(model, job.splits.test, job) if job.splits.test else None,
    }


def measure(model, examples, job):
    """Errors in percent and loss on a whole split."""
    batches = pipelines.evaluation_batches(
        examples, job.prepare, batch_size=min(examples.size, job.micro_batch)
    )
    return asdict(evaluate(model, batches))


def show_examples(model, job, path):
    """Draws some images of the test split (or validation) with their predictions."""
    examples = job.splits.test or job.splits.validation
    if isinstance(examples, Examples):
        chosen = np.random.default_rng(0).permutation(examples.size)[:EXAMPLES_SHOWN]
        examples = Examples(examples.images[chosen], examples.labels[chosen])
    batches = pipelines.evaluation_batches(
        examples, job.prepare, batch_size=EXAMPLES_SHOWN
    )
    normalized, labels = next(iter(batches))
    probabilities, labels = predict(model, [(normalized, labels)])
    images = as_pixels(normalized, job.prepare)
    plots.example_predictions(
        images, labels, probabilities, job.splits.class_names, path
    )


def as_pixels(normalized, prepare):
    """Normalized images as uint8 RGB again."""
    pixels = np.asarray(normalized) * np.asarray(prepare.std) + np.asarray(prepare.mean)
    if prepare.channel_order == "bgr":
        pixels = pixels[..., ::-1]
    return np.clip(np.round(pixels), 0, 255).astype("uint8")


def since_validation(recipe):
    """Updates between the last validation but one and the last."""
    return recipe.steps % recipe.validate_every or recipe.validate_every
