"""The whole story on one page: a recipe, from its name to its record.

Everything else in the package does one step and knows nothing of the others.
"""

import contextlib
import pathlib
import statistics
import time
from dataclasses import asdict

import keras
import numpy as np

from keras_resnet import request
from keras_resnet import run as runs
from keras_resnet.analysis import complexity, plots
from keras_resnet.config.architectures import ARCHITECTURES
from keras_resnet.config.lookup import find
from keras_resnet.data import pipelines, sources
from keras_resnet.evaluation import records
from keras_resnet.evaluation.evaluate import evaluate, predict
from keras_resnet.models import pretrained, resnet
from keras_resnet.training import callbacks, strategy
from keras_resnet.training.fit import compile_model, fit

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
    sync_batch_norm=False,
    verbose=1,
):
    """Trains a network by a recipe, or goes on with it, and leaves a run.

    The run lies in ``output_dir/<recipe>_seed<seed>``: ``model.keras``,
    ``history.csv``, ``record.json``, ``curves.png``, ``predictions.png`` and
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
        devices: ``"all"``, ``"cpu:2"``, ``"gpu:0,1"``; see `strategy.find_devices`.
        precision: ``"auto"`` or a Keras dtype policy; see `strategy.choose_precision`.
        xla: ``"auto"``, ``"on"`` or ``"off"``; see `strategy.choose_xla`.
        sync_batch_norm: Whether batch statistics are taken over all devices.
        verbose: Of `keras.Model.fit`.

    Returns:
        The run's folder (`pathlib.Path`).

    Raises:
        ValueError: If a name, a value or the data is wrong, or the folder holds a run
            of another recipe. Nothing has been written then.
    """
    recipe, val_fraction = request.complete(recipe, data, val_fraction)
    overrides = {
        name: value
        for name, value in {
            "data": request.where(data),
            "network": network,
            "val_fraction": val_fraction,
            "weights": None if weights is None else str(weights),
            "steps": steps,
            "epochs": epochs,
            "batch_size": batch_size,
            "sync_batch_norm": sync_batch_norm or None,
        }.items()
        if value is not None
    }
    started = time.perf_counter()
    hardware = strategy.find_devices(devices)
    pipelines.leave_gpus_to_keras()
    backend = keras.backend.backend()
    folder = pathlib.Path(output_dir) / f"{recipe}_seed{seed}"
    if request.finished(folder, recipe, seed, overrides, backend):
        return finished(folder, verbose)
    # Now: the checkout may be another when training ends.
    environment = records.environment(accelerators=accelerators(hardware))
    name, recipe, splits = request.choose(
        recipe,
        data,
        network,
        weights,
        val_fraction=val_fraction,
        data_dir=data_dir,
        batch_size=batch_size,
    )
    recipe = request.override(recipe, splits.train.size, steps, epochs, batch_size)
    spec = find(ARCHITECTURES, recipe.network, kind="network")
    policy = strategy.choose_precision(precision, hardware, spec)
    jit_compile = strategy.choose_xla(xla, hardware)
    prepare = request.preprocessing_of(recipe, spec, splits)
    request.check_batch_size(recipe, splits, hardware)
    in_fit, in_fit_batch_size = request.validation_in_fit(recipe, splits, hardware)

    keras.utils.set_random_seed(seed)
    classes = len(splits.class_names)
    shape = resnet.with_channels(prepare.size, prepare.channels)
    with float_policy(policy), strategy.distribution(hardware):
        model = resnet.build(spec, input_shape=shape, classes=classes)
        if weights is not None:
            known = pretrained.load_weights(
                model, weights, spec, network=recipe.network, new_classifier=True
            )
            prepare = request.as_weights_want(prepare, known)
        if sync_batch_norm:
            strategy.synchronize_batch_norm(model, True)
        compile_model(model, recipe, xla=jit_compile)
        folder = pathlib.Path(output_dir) / f"{name}_seed{seed}"
        wanted = request.settings(recipe, seed, splits.sha256, overrides, backend)
        if request.claim(folder, wanted):
            return finished(folder, verbose)
        earlier_seconds = fit(
            model,
            recipe,
            lambda done: pipelines.training_batches(
                splits.train,
                prepare,
                recipe.augmentation,
                batch_size=recipe.batch_size,
                seed=seed,
                start_step=done,
                steps=recipe.steps,
            ),
            pipelines.evaluation_batches(in_fit, prepare, batch_size=in_fit_batch_size),
            folder,
            examples=splits.train.size,
            extra=strategy.replica_callbacks(hardware),
            verbose=verbose,
        )

    history = callbacks.read_history(folder / "history.csv")
    plots.training_curves(history, folder / "curves.png", title=name)
    # Outside of strategy and mixed precision: what is measured is what is saved.
    with strategy.first_device(hardware):
        final = resnet.build(
            spec, input_shape=shape, classes=classes, name=recipe.network
        )
        final.set_weights(model.get_weights())
        show_examples(final, splits, prepare, folder / "predictions.png")
        validation = measure(final, splits.validation, prepare, recipe)
        test = measure(final, splits.test, prepare, recipe) if splits.test else None
    results = {
        "train": {
            # Of the updates since the last validation, on augmented images.
            "top1_error": 100 * (1 - history[-1]["accuracy"]),
            "top5_error": None,
            "loss": history[-1]["loss"],
            "n": since_validation(recipe) * recipe.batch_size,
        },
        "validation": validation,
        "test": test,
    }
    request.replace_file(folder / "model.keras", final.save)
    record = {
        "schema": records.SCHEMA,
        "recipe": name,
        "overrides": overrides,
        "seed": seed,
        "network": recipe.network,
        "parameters": complexity.parameters(final),
        "dataset": {
            "name": splits.name,
            "version": splits.version,
            "sha256": splits.sha256,
            "splits": {
                split: examples.size
                for split in ("train", "validation", "test")
                if (examples := getattr(splits, split)) is not None
            },
        },
        "classes": list(splits.class_names),
        "preprocessing": prepare.as_json(),
        "backend": backend,
        "devices": list(hardware.names),
        "precision": policy,
        "xla": jit_compile,
        **environment,
        "steps": recipe.steps,
        "wall_seconds": round(earlier_seconds + time.perf_counter() - started, 1),
        "images_per_second": statistics.median(
            row["images_per_second"] for row in history
        ),
        **results,
        "target": recipe.target,
        "deviations": list(recipe.deviations),
    }
    # Keras exports no SavedModel from PyTorch: `keras-resnet export` does, afterwards.
    if backend != "torch":
        runs.export_model(
            final, folder / "saved_model", prepare, splits.class_names, overwrite=True
        )
    # Last: a run with a record is finished.
    records.write(record, folder / "record.json")
    return folder


def finished(folder, verbose):
    """Says that a run is finished, and gives its folder back."""
    if verbose:
        print(f"{folder} is finished: there is nothing to train.")
    return folder


def measure(model, examples, prepare, recipe):
    """Errors in percent and loss on a whole split."""
    batches = pipelines.evaluation_batches(
        examples, prepare, batch_size=min(examples.size, recipe.batch_size)
    )
    return asdict(evaluate(model, batches))


def show_examples(model, splits, prepare, path):
    """Draws some images of the test split (or validation) with their predictions."""
    examples = splits.test or splits.validation
    if isinstance(examples, sources.Examples):
        chosen = np.random.default_rng(0).permutation(examples.size)[:EXAMPLES_SHOWN]
        examples = sources.Examples(examples.images[chosen], examples.labels[chosen])
    batches = pipelines.evaluation_batches(examples, prepare, batch_size=EXAMPLES_SHOWN)
    normalized, labels = next(iter(batches))
    probabilities, labels = predict(model, [(normalized, labels)])
    pixels = np.asarray(normalized) * np.asarray(prepare.std) + np.asarray(prepare.mean)
    if prepare.channel_order == "bgr":
        pixels = pixels[..., ::-1]
    images = np.clip(np.round(pixels), 0, 255).astype("uint8")
    plots.example_predictions(images, labels, probabilities, splits.class_names, path)


def since_validation(recipe):
    """Updates between the last validation but one and the last."""
    return recipe.steps % recipe.validate_every or recipe.validate_every


def accelerators(hardware):
    """The GPUs that a run used, for its record."""
    return [] if hardware.kind == "cpu" else list(hardware.names)


@contextlib.contextmanager
def float_policy(name):
    """Builds layers under a dtype policy, and restores the one before."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)
