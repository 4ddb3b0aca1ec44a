"""From a trained detector to the results, files and record of its run."""

from __future__ import annotations

import math
import pathlib
import statistics
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import keras
import numpy as np

from keras_resnet.analysis import detector_plots
from keras_resnet.config.values import to_values
from keras_resnet.data.boxes import BoxedExamples
from keras_resnet.detection import FasterRCNN, heads, measure_detections
from keras_resnet.detection.faster_rcnn import LOSSES
from keras_resnet.detection.inference import detections_in
from keras_resnet.detection.pictures import (
    draw_detections_and_truth,
    draw_worst,
    held,
)
from keras_resnet.devices import distribute
from keras_resnet.files import replace_file
from keras_resnet.models import saved
from keras_resnet.runs.detector_build import batches_in_fit, batches_of
from keras_resnet.runs.detector_job import DetectorJob
from keras_resnet.runs.images import warn_of_changes
from keras_resnet.runs.pictures import rates
from keras_resnet.runs.record import SCHEMA, write_record
from keras_resnet.training import loggers
from keras_resnet.training.phases import Phases

SHOWN = 6  # Images in ``predictions.png``.


def finish(
    job: DetectorJob,
    network: keras.Model,
    folder: pathlib.Path,
    *,
    history: Sequence[dict[str, float]],
    made_on: dict[str, Any],
    phases: Phases,
    since: float,
) -> None:
    """Measures and saves a trained detector, and writes the run's record.

    Args are those of `runs.finish.finish`. Pictures come after the record, too.
    """
    phases.begin("measuring")
    warn_of_changes(job, folder)
    with distribute.first_device(job.hardware):
        final, compiled = as_float32(job, network), as_float32(job, network)
        compiled.compile(jit_compile=job.xla)  # The other one is saved as it is.
        found = {
            split: detections_in(compiled, examples, job.recipe.batches)
            for split, examples in measured_splits(job).items()
        }
        results = measured(compiled, job, found, history)
    phases.begin("saving")
    replace_file(folder / "model.keras", partial(saved.save, final))
    target = job.recipe.target
    record = {
        "schema": SCHEMA,
        "recipe": job.name,
        "overrides": job.overrides,
        "seed": job.request.seed,
        "network": job.spec.name,
        "parameters": parameters(final),
        "dataset": described(job),
        "classes": list(job.splits.class_names),
        "preprocessing": to_values(job.recipe.batches),
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
        "target": target and target.average_precision,
        "deviations": [*job.spec.deviations, *job.recipe.deviations],
        "recipe_values": to_values(job.recipe),
        "network_values": to_values(final.spec),
    }
    write_record(record, folder / "record.json")
    draw(job, history, found, folder)


def chosen_loggers(
    job: DetectorJob, folder: pathlib.Path
) -> list[keras.callbacks.Callback]:
    """The callbacks of the tools that a run is logged to."""
    names = list(dict.fromkeys(job.request.log))
    others = [loggers.LOGGERS[n](folder) for n in names if n != "tensorboard"]
    if "tensorboard" not in names:
        return others
    images = np.asarray(next(iter(batches_in_fit(job)))["images"])
    return [loggers.TensorBoard(folder, images.round().astype("uint8")), *others]


def as_float32(job: DetectorJob, network: FasterRCNN) -> FasterRCNN:
    """The trained detector in float32, as it is measured and saved."""
    final = FasterRCNN(
        network.spec,
        num_classes=network.num_classes,
        frozen=network.frozen,
        seed=network.seed,
    )
    final.set_weights(network.get_weights())
    final.class_names = network.class_names
    return final


def parameters(model: FasterRCNN) -> int:
    """Counts the parameters of a detector, those that didn't train included."""
    statistic = ("moving_mean", "moving_variance")
    return sum(
        math.prod(weight.shape)
        for layer in heads.parts(model.features, model.box_head)
        for weight in layer.weights
        if weight.name not in statistic
    )


def measured_splits(job: DetectorJob) -> dict[str, BoxedExamples]:
    """The splits that a run is measured on."""
    found = {"validation": job.splits.validation, "test": job.splits.test}
    return {split: examples for split, examples in found.items() if examples}


def measured(
    model: FasterRCNN,
    job: DetectorJob,
    found: Mapping[str, list[dict[str, np.ndarray]]],
    history: Sequence[dict[str, float]],
) -> dict[str, Any]:
    """Average precision and losses of each split, for the record.

    Args:
        model: The detector, compiled.
        job: What was trained.
        found: What it detects on the images of each split.
        history: The rows of ``history.csv``.
    """
    results: dict[str, Any] = {
        "train": {
            # Of the updates since the last validation.
            "average_precision": None,
            "by_class": [],
            **_losses(history[-1]),
            "n": since_validation(job) * job.recipe.batch_size,
        },
        "test": None,
    }
    for split, examples in measured_splits(job).items():
        losses = model.evaluate(batches_of(job, examples), return_dict=True, verbose=0)
        precision = measure_detections(
            examples.objects, found[split], job.splits.class_names, "voc"
        )
        results[split] = {
            "average_precision": precision["average_precision"],
            "by_class": precision["by_class"],
            **_losses(losses),
            "n": examples.size,
        }
    return results


def _losses(values):
    return {
        "loss": values["loss"],
        "losses": {name: values[f"{name}_loss"] for name in LOSSES},
    }


def since_validation(job: DetectorJob) -> int:
    """Number of updates between the last two validations."""
    return job.recipe.steps % job.recipe.validate_every or job.recipe.validate_every


def described(job: DetectorJob) -> dict[str, Any]:
    """Describes the data for the record."""
    splits = job.splits
    sizes = {"train": splits.train, **measured_splits(job)}
    return {
        "name": splits.name,
        "version": splits.version,
        "sha256": splits.sha256,
        "splits": {split: examples.size for split, examples in sizes.items()},
        "skipped": list(splits.skipped),
        "split_by": None,
        "category_ids": list(splits.category_ids),
    }


def draw(
    job: DetectorJob,
    history: Sequence[dict[str, float]],
    found: Mapping[str, list[dict[str, np.ndarray]]],
    folder: pathlib.Path,
) -> None:
    """Draws ``curves.png``, ``predictions.png`` and the misses; warns of one that fails.

    Args:
        job: What was trained.
        history: The rows of ``history.csv``.
        found: What the detector finds on the images of each split.
        folder: The run's.
    """
    split, examples = list(measured_splits(job).items())[-1]  # The test's, if any.
    shown = min(SHOWN, examples.size)
    pictures: dict[str, Callable[[pathlib.Path], Any]] = {
        "curves.png": lambda path: detector_plots.detector_curves(
            history, path, title=job.name, rates=rates(job.recipe)
        ),
        "predictions.png": lambda path: draw_detections_and_truth(
            held(examples, range(shown)),
            found[split][:shown],
            job.splits.class_names,
            path,
            title=f"{job.spec.name} on {split} images of {job.splits.name}: what is there, "
            "and what was detected with a score of 0.5 or more",
        ),
        "misses.png": lambda path: draw_worst(
            examples, found[split], job.splits.class_names, path.parent
        ),
    }
    for name, picture in pictures.items():
        try:
            picture(folder / name)
        except Exception as error:  # Fonts, disks and matplotlib fail in many ways.
            warnings.warn(
                f"{folder / name} can't be drawn ({type(error).__name__}: {error}). "
                "Everything else of the run is written.",
                stacklevel=2,
            )
