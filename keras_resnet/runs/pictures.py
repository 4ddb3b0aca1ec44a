"""The pictures of a run: its curves, and images with their predictions."""

from __future__ import annotations

import math
import pathlib
import warnings
from collections.abc import Sequence
from typing import Any, TypeAlias

import keras
import numpy as np

from keras_resnet.analysis import image_plots, plots
from keras_resnet.config.detection_recipe import EitherRecipe
from keras_resnet.config.preprocessing import Preprocessing
from keras_resnet.config.schedules import PlateauDecay
from keras_resnet.data import pipelines
from keras_resnet.data.examples import Examples
from keras_resnet.evaluation.metrics import predict
from keras_resnet.runs.job import Job
from keras_resnet.training.schedules import learning_rate

EXAMPLES_SHOWN = 18  # Three rows of six.
MISTAKES_SHOWN = 6
LOOKED_AT = 270  # Images, to find mistakes among.
POINTS = 100  # Of the curve of the learning rate.

# Images (uint8), labels and probabilities.
Group: TypeAlias = tuple[np.ndarray, np.ndarray, np.ndarray]


def examples_to_show(model: keras.Model, job: Job) -> tuple[Group, Group | None]:
    """Images of the test split, else of validation, with their predictions.

    Returns:
        The first `EXAMPLES_SHOWN` of the split (of one in memory, drawn at random), and
        up to `MISTAKES_SHOWN` that are predicted wrongly among those that follow; `None`
        if there are none. Each as pixels, labels and probabilities.
    """
    examples = job.splits.test or job.splits.validation
    if isinstance(examples, Examples):
        chosen = np.random.default_rng(0).permutation(examples.size)[:LOOKED_AT]
        examples = Examples(examples.images[chosen], examples.labels[chosen])
    batches = pipelines.evaluation_batches(
        examples, job.preprocessing, batch_size=EXAMPLES_SHOWN
    )
    first, wrong = None, []
    for normalized, labels in batches.take(math.ceil(LOOKED_AT / EXAMPLES_SHOWN)):
        probabilities, labels = predict(model, [(normalized, labels)])
        images = as_pixels(normalized, job.preprocessing)
        if first is None:
            first = images, labels, probabilities
            continue
        mistaken = probabilities.argmax(axis=1) != labels
        wrong.append((images[mistaken], labels[mistaken], probabilities[mistaken]))
        if sum(len(labels) for _, labels, _ in wrong) >= MISTAKES_SHOWN:
            break
    if not wrong:
        return first, None
    images, labels, probabilities = map(np.concatenate, zip(*wrong, strict=True))
    most = MISTAKES_SHOWN
    return first, (images[:most], labels[:most], probabilities[:most])


def draw(
    job: Job,
    history: Sequence[dict[str, float]],
    results: dict[str, Any],
    shown: tuple[Group, Group | None],
    folder: pathlib.Path,
) -> None:
    """Draws ``curves.png`` and ``predictions.png``; warns of one that fails.

    Args:
        job: What was trained.
        history: The rows of ``history.csv``.
        results: As of `measured`.
        shown: As of `examples_to_show`.
        folder: The run's.
    """
    split = "test" if job.splits.test else "validation"
    found = results[split]
    first, mistakes = shown
    title = (
        f"{job.spec.name} on {split} images of {job.splits.name}: "
        f"{found['top1_error']:.2f} % error on {found['n']:,}"
    )
    pictures = {
        "curves.png": lambda path: plots.training_curves(
            history, path, title=job.name, rates=rates(job.recipe)
        ),
        "predictions.png": lambda path: image_plots.example_predictions(
            *first, job.splits.class_names, path, title=title, mistakes=mistakes
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


def rates(recipe: EitherRecipe) -> list[tuple[int, float]] | None:
    """The learning rates of a recipe's schedule, for a curve from the first update on.

    Returns:
        Pairs of the number of updates until and with one, and its rate; `None` where the
        rate depends on how training goes.
    """
    if recipe.warmup_learning_rate is not None or isinstance(
        recipe.schedule, PlateauDecay
    ):
        return None
    rate = learning_rate(recipe.schedule, recipe.steps)
    last = recipe.steps - 1
    steps = {round(last * share) for share in np.linspace(0, 1, POINTS)}
    # Where the rate drops, both sides, or the drop would be drawn as a slope.
    drops = getattr(recipe.schedule, "at", ())
    steps |= {side for drop in drops for side in (drop - 1, drop)}
    # And where a warm-up ends.
    steps.add(round(getattr(recipe.schedule, "warmup", 0) * last))
    return [
        (step + 1, float(keras.ops.convert_to_numpy(rate(step))))
        if callable(rate)
        else (step + 1, rate)
        for step in sorted(steps)
    ]


def as_pixels(normalized: Any, preprocessing: Preprocessing) -> np.ndarray:
    """Normalized images as uint8 RGB, as they were before."""
    mean, std = np.asarray(preprocessing.mean), np.asarray(preprocessing.std)
    pixels = np.asarray(normalized) * std + mean
    if preprocessing.channel_order == "bgr":
        pixels = pixels[..., ::-1]
    return np.clip(np.round(pixels), 0, 255).astype("uint8")
