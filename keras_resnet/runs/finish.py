"""From a trained network to the results, files and record of its run."""

import math
import pathlib
import statistics
import time
import warnings
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from typing import Any

import keras

from keras_resnet.analysis import complexity
from keras_resnet.config.recipe import Recipe
from keras_resnet.config.values import to_values
from keras_resnet.data import pipelines
from keras_resnet.data.examples import Splits
from keras_resnet.devices import distribute
from keras_resnet.devices.host import plain_message
from keras_resnet.evaluation.metrics import evaluate
from keras_resnet.files import replace_file
from keras_resnet.models import resnet, saved
from keras_resnet.runs import pictures
from keras_resnet.runs.build import training_batches
from keras_resnet.runs.export import export_model
from keras_resnet.runs.images import warn_of_changes
from keras_resnet.runs.job import Job
from keras_resnet.runs.record import SCHEMA, write_record
from keras_resnet.training import batch_norm, loggers
from keras_resnet.training.phases import Phases


def finish(
    job: Job,
    network: keras.Model,
    folder: pathlib.Path,
    *,
    history: Sequence[dict[str, float]],
    made_on: dict[str, Any],
    phases: Phases,
    since: float,
) -> None:
    """Measures, saves and exports a trained network, and writes the run's record.

    A run that has a record is finished. Pictures come after it: one that fails, for want
    of space or of a font, is a warning. So is a SavedModel that can't be written, since
    `keras-resnet export` makes it of ``model.keras``.

    Args:
        job: What was trained.
        network: The network after `fit`.
        folder: The run's folder.
        history: The rows of ``history.csv``.
        made_on: As of `environment.describe`, at the run's beginning.
        phases: Of the process, for the record.
        since: `time.perf_counter` at the run's beginning, less the seconds that earlier
            parts of the run took.
    """
    phases.begin("measuring")
    warn_of_changes(job, folder)
    # Outside of strategy and of any mixed precision: what is measured is what is saved.
    with distribute.first_device(job.hardware):
        final, parameters = as_float32(job, network)
        results = measured(final, job, history)
        shown = pictures.examples_to_show(final, job)
    phases.begin("saving")
    replace_file(folder / "model.keras", partial(saved.save, final))
    # Keras exports no SavedModel from PyTorch: `keras-resnet export` does, afterwards.
    if keras.backend.backend() != "torch":
        phases.begin("saved_model")
        export_or_warn(final, job, folder)
    record = {
        "schema": SCHEMA,
        "recipe": job.name,
        "overrides": job.overrides,
        "seed": job.request.seed,
        "network": job.spec.name,
        "parameters": parameters,
        "dataset": described(job.splits),
        "classes": list(job.splits.class_names),
        "preprocessing": job.preprocessing.as_json(),
        "backend": keras.backend.backend(),
        "devices": job.hardware.all_names,
        "precision": job.precision,
        "xla": job.xla,
        **made_on,
        "steps": job.recipe.steps,
        "wall_seconds": round(time.perf_counter() - since, 1),
        "phase_seconds": phases.end(),
        "images_per_second": statistics.median(
            row["images_per_second"] for row in history
        ),
        **results,
        "target": job.recipe.target and job.recipe.target.error,
        "deviations": list(job.recipe.deviations),
        "recipe_values": to_values(job.recipe),
        "network_values": to_values(job.spec),
    }
    write_record(record, folder / "record.json")
    pictures.draw(job, history, results, shown, folder)


def export_or_warn(model: keras.Model, job: Job, folder: pathlib.Path) -> None:
    """Writes the run's SavedModel; warns where the disk or the file system refuses it."""
    try:
        export_model(
            model,
            folder / "saved_model",
            job.preprocessing,
            job.splits.class_names,
            overwrite=True,
        )
    except Exception as error:
        # TensorFlow has errors of its own for a disk that is full.
        of_tensorflow = type(error).__module__.startswith("tensorflow.")
        if not isinstance(error, OSError) and not of_tensorflow:
            raise
        why = plain_message(error)
        warnings.warn(
            f"{folder / 'saved_model'} can't be written ({why}). Everything else of the "
            f"run is: `keras-resnet export {folder}` writes it.",
            stacklevel=2,
        )


def chosen_loggers(job: Job, folder: pathlib.Path) -> list[keras.callbacks.Callback]:
    """The callbacks of the tools that a run is logged to."""
    names = list(dict.fromkeys(job.request.log))
    others = [loggers.LOGGERS[n](folder) for n in names if n != "tensorboard"]
    if "tensorboard" in names:
        normalized, _ = next(iter(training_batches(job)))
        images = pictures.as_pixels(normalized, job.preprocessing)[:16]
        return [loggers.TensorBoard(folder, images), *others]
    return others


def as_float32(job: Job, network: keras.Model) -> tuple[keras.Model, int]:
    """The trained network in float32, as it is measured, saved and served.

    Stages that didn't train are frozen in it, and in the file that is made of it.

    Returns:
        The network, and the number of its parameters, those of frozen stages included.
    """
    final = resnet.build(
        job.spec,
        input_shape=job.shape,
        classes=job.classes,
        name=job.spec.name,
    )
    final.set_weights(network.get_weights())
    parameters = complexity.parameters(final)
    if job.request.freeze is not None:
        resnet.freeze(final, job.request.freeze)
    if job.recipe.precise_batch_norm:
        end = job.recipe.steps
        count = math.ceil(job.recipe.precise_batch_norm / job.recipe.batch_size)
        batches = training_batches(job, end, end + count)
        # As large as a device has seen them: all of them may not fit into one.
        batch_norm.recompute(final, batches.rebatch(job.micro_batch))
    return final, parameters


def described(splits: Splits) -> dict[str, Any]:
    """Describes the data for the record."""
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
        "split_by": splits.split_by,
    }


def measured(
    model: keras.Model, job: Job, history: Sequence[dict[str, float]]
) -> dict[str, Any]:
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


def measure(model: keras.Model, examples: Any, job: Job) -> dict[str, float]:
    """Errors in percent and loss on a whole split."""
    batches = pipelines.evaluation_batches(
        examples, job.preprocessing, batch_size=min(examples.size, job.micro_batch)
    )
    return asdict(evaluate(model, batches))


def since_validation(recipe: Recipe) -> int:
    """Number of updates between the last two validations."""
    return recipe.steps % recipe.validate_every or recipe.validate_every
