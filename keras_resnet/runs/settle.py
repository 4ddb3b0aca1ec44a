"""From a `TrainRequest` to a `Job`: decides recipe, data, network and computation.

It checks that they fit together, writes nothing and changes nothing in the process.
"""

import math
import pathlib
from dataclasses import replace
from typing import Any

import keras

from keras_resnet.config.datasets import DATASETS
from keras_resnet.config.preprocessing import Preprocessing
from keras_resnet.config.recipe import Recipe
from keras_resnet.config.recipes import RECIPES
from keras_resnet.config.values import to_values
from keras_resnet.data.bit_depth import (
    bits_of,
    depths_of,
    warn_of_equal_images,
    warn_of_lost_levels,
)
from keras_resnet.data.examples import Splits
from keras_resnet.devices.find import Devices
from keras_resnet.devices.precision import (
    check_deterministic,
    choose_precision,
    choose_xla,
)
from keras_resnet.runs.choose import (
    asked_recipe,
    load_data,
    on_the_data,
    preprocessing_of,
    spec_of,
    val_fraction,
    with_images,
)
from keras_resnet.runs.differ import COMPUTING, PREPARING, differences
from keras_resnet.runs.folder import is_whole, read_settings, settings
from keras_resnet.runs.job import Job
from keras_resnet.runs.lengths import (
    decides_validations,
    with_lengths,
    with_validations,
)
from keras_resnet.runs.places import folder_of
from keras_resnet.runs.request import TrainRequest


def settle(request: TrainRequest, hardware: Devices) -> Job:
    """Loads the data and decides what is trained, on which devices and how.

    Args:
        request: What is asked for.
        hardware: The devices to compute on.

    Raises:
        ValueError: If a name, a value or the data is wrong, or they don't fit together.
        FileNotFoundError: If the data or the recipe's file is not there.
    """
    row = asked_recipe(request)
    if row is not None and request.data is None and row.dataset not in DATASETS:
        request = replace(request, data=row.dataset)
    request.check_val_fraction()
    request.check_bit_depth()
    request.check_zero_based()
    return decide(request, row, load_data(request, row), hardware)


def decide(
    request: TrainRequest, row: Recipe | None, splits: Splits, hardware: Devices
) -> Job:
    """Decides what is trained on data that is loaded.

    Args:
        request: What is asked for.
        row: Its recipe, as of `asked_recipe`.
        splits: Its data.
        hardware: The devices to compute on.

    Raises:
        ValueError: If they don't fit together.
    """
    name, recipe = on_the_data(request, row, splits)
    recipe = with_lengths(recipe, splits.train.size, request)
    recipe = with_validations(recipe, splits.validation.size, request)
    recipe = with_images(recipe, request, splits)
    check_batch_size(recipe, splits, hardware, request.accumulate)
    check_steps_per_execution(
        recipe, request.steps_per_execution, hardware, keras.backend.backend()
    )
    if request.deterministic:
        check_deterministic(request.xla)
    xla = "off" if request.deterministic else request.xla
    spec = spec_of(recipe)
    preprocessing = with_bit_depth(
        preprocessing_of(recipe, spec, splits), request.bit_depth, splits
    )
    bits = None if request.bit_depth is None else preprocessing.bit_depth
    job = Job(
        name=request.name or name,
        request=request,
        recipe=recipe,
        overrides=request.overrides(val_fraction=val_fraction(request), bit_depth=bits),
        splits=splits,
        spec=spec,
        preprocessing=preprocessing,
        hardware=hardware,
        precision=choose_precision(request.precision, hardware, spec),
        xla=choose_xla(xla, hardware, request.sync_batch_norm),
        contents=request.contents(),
    )
    job.validation_in_fit()  # Raises an error if it can't be shared out.
    job.snapshot_updates()  # And this one, if there can't be as many.
    return job


def with_bit_depth(
    preprocessing: Preprocessing, asked: int | str | None, splits: Splits
) -> Preprocessing:
    """The preprocessing with the bit depth that is asked for; it warns of lost levels.

    Args:
        preprocessing: Of the images.
        asked: The number of bits, ``"auto"`` for as many as the values of the training
            images take, or `None` for the preprocessing's own.
        splits: The data.
    """
    names = {"train": "training", "validation": "validation", "test": "test"}
    found = {name: depths_of(getattr(splits, split)) for split, name in names.items()}
    if asked is not None:
        bits = bits_of(found["training"]) if asked == "auto" else int(asked)
        preprocessing = replace(preprocessing, bit_depth=bits)
    for split, name in names.items():
        warn_of_lost_levels(name, found[name], preprocessing.bit_depth)
        warn_of_equal_images(name, getattr(splits, split), preprocessing)
    return preprocessing


def as_begun(job: Job, begun: dict[str, Any]) -> Job:
    """The job with what its run began with, which the run keeps to its end.

    ``"auto"`` can mean something else on another machine; earlier versions prepared images
    otherwise and validated short runs less often.

    Args:
        job: A `Job`.
        begun: As of `runs.kept.begun`.

    Returns:
        The `Job`, with the precision, XLA setting, preprocessing and validations that the
        run began with where nothing else was asked for.

    Raises:
        ValueError: If this machine doesn't support them.
    """
    prepared = {name: begun[name] for name in PREPARING if name in begun}
    changes: dict[str, Any] = {"preprocessing": replace(job.preprocessing, **prepared)}
    try:
        if job.request.precision == "auto" and "precision" in begun:
            changes["precision"] = choose_precision(
                begun["precision"], job.hardware, job.spec
            )
        if job.request.xla == "auto" and "xla" in begun:
            changes["xla"] = choose_xla(
                "on" if begun["xla"] else "off",
                job.hardware,
                job.request.sync_batch_norm,
            )
    except ValueError as error:
        said = ", ".join(
            f"{name}={begun[name]!r}" for name in COMPUTING if name in begun
        )
        raise ValueError(
            f"The run began with {said} and can't go on so here. {error} Resume on "
            "hardware that supports it, or start a new run in another --output-dir."
        ) from error
    if "validate_every" in begun and decides_validations(job.request, job.recipe):
        every = begun["validate_every"]
        changes["recipe"] = replace(job.recipe, validate_every=every)
    return replace(job, **changes)


def finished(request: TrainRequest) -> pathlib.Path | None:
    """The folder of the finished run of a request, judged by its files alone.

    Loading the data would take longer. Where the data decides the settings, and of
    recipes of one's own, there is none, and `check_folder` decides later.
    """
    decided_by_data = (request.data, request.network, request.changes, request.epochs)
    published = isinstance(request.recipe, str) and request.recipe in RECIPES
    if not published or any(value is not None for value in decided_by_data):
        return None
    if request.teacher is not None or request.changes_images:
        return None
    folder = folder_of(request, request.name or str(request.recipe))
    if not (folder / "settings.json").exists() or not is_whole(folder):
        return None
    row = with_lengths(RECIPES[request.recipe], 0, request)
    spec, backend = spec_of(row), keras.backend.backend()
    changes = request.overrides()
    found = {"network": to_values(spec), "backend": backend} | read_settings(folder)
    if decides_validations(request, row):
        row = replace(row, validate_every=found["recipe"]["validate_every"])
    wanted = settings(
        row,
        spec,
        request.seed,
        found.get("data"),
        changes,
        backend=backend,
        contents=request.contents(),
    )
    # It is finished on whatever machine it was trained.
    decided = {k: found[k] for k in found if k not in (*COMPUTING, *PREPARING)}
    return None if differences(decided, wanted) else folder


def check_batch_size(
    recipe: Recipe, splits: Splits, hardware: Devices, accumulate: int = 1
) -> None:
    """Raises `ValueError` unless batches divide among devices and micro-batches."""
    replicas = hardware.replicas
    if recipe.batch_size % replicas:
        raise ValueError(
            f"`batch_size` must be a multiple of the {replicas} devices. "
            f"Received: batch_size={recipe.batch_size}. Give another (--batch-size), or "
            "fewer devices (--devices)."
        )
    if recipe.batch_size // replicas % accumulate:
        raise ValueError(
            "`accumulate` (--accumulate) must divide the images of a batch that each "
            f"device has, {recipe.batch_size // replicas}. "
            f"Received: accumulate={accumulate}."
        )
    if recipe.batch_size > splits.train.size:
        raise ValueError(
            f"`batch_size` must not exceed the {splits.train.size} training images. "
            f"Received: batch_size={recipe.batch_size}."
        )


def check_steps_per_execution(
    recipe: Recipe, count: int, hardware: Devices, backend: str
) -> None:
    """Raises `ValueError` unless Python can start ``count`` updates at a time."""
    if count == 1:
        return
    if backend == "torch" or hardware.workers > 1 or recipe.warmup_learning_rate:
        raise ValueError(
            "`steps_per_execution` (--steps-per-execution) must be 1 on PyTorch, on "
            "several workers, and where the recipe warms up until the error falls. "
            f"Received: steps_per_execution={count}, backend={backend!r}, "
            f"workers={hardware.workers}, "
            f"warmup_learning_rate={recipe.warmup_learning_rate}."
        )
    lengths = {"steps": recipe.steps, "validate_every": recipe.validate_every}
    if recipe.average:
        lengths["average.every"] = recipe.average.every
    if any(length % count for length in lengths.values()):
        raise ValueError(
            "`steps_per_execution` (--steps-per-execution) must divide "
            f"{', '.join(f'{name} ({n})' for name, n in lengths.items())}: any of "
            f"{', '.join(map(str, _common_divisors(*lengths.values())))}. "
            f"Received: steps_per_execution={count}."
        )


def _common_divisors(*numbers: int) -> list[int]:
    greatest = math.gcd(*numbers)
    return [n for n in range(1, greatest + 1) if greatest % n == 0]
