"""How an exported classifier differs from the one that it was made of: answers and speed.

Accuracy is not computed here but by `evaluation.metrics`, which `runs.export` calls.
"""

from __future__ import annotations

import pathlib
import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from keras_resnet.config.words import counted

BATCH = 32
Scores = Callable[[np.ndarray], np.ndarray]  # Of uint8 images, their probabilities.


def answers(scores: Scores, images: np.ndarray) -> np.ndarray:
    """Gives a classifier's answers to any number of images, computed batch by batch.

    Args:
        scores: Function from uint8 images ``(N, H, W, C)`` to probabilities ``(N,
            classes)``.
        images: uint8 ``(n, H, W, C)``, at least one.

    Returns:
        Probabilities ``(n, classes)``.
    """
    starts = range(0, len(images), BATCH)
    return np.concatenate([scores(images[start : start + BATCH]) for start in starts])


def compare(exported: np.ndarray, original: np.ndarray) -> dict[str, Any]:
    """Tells how far an exported classifier's answers are from the original's.

    Args:
        exported: Probabilities ``(n, classes)``.
        original: Those of the network as it was, for the same images.

    Returns:
        A dict: ``images``, their number; ``max_difference``, the largest difference of a
        probability; ``top1_agreement``, the percentage of images of the same class.
    """
    same = exported.argmax(axis=1) == original.argmax(axis=1)
    return {
        "images": len(exported),
        "max_difference": float(np.abs(exported - original).max()),
        "top1_agreement": 100 * float(np.mean(same)),
    }


def speeds(
    classifiers: Mapping[str, Scores], images: np.ndarray, *, rounds: int = 3
) -> dict[str, float]:
    """Times classifiers in turns, so that what else the machine does slows all of them.

    Args:
        classifiers: By name, functions from images to probabilities.
        images: A batch, uint8 ``(N, H, W, C)``.
        rounds: How often each is timed, after one round that isn't; the median counts.

    Returns:
        Images per second, by name.
    """
    times = {name: [] for name in classifiers}
    for _ in range(rounds + 1):
        for name, scores in classifiers.items():
            started = time.perf_counter()
            scores(images)
            times[name].append(time.perf_counter() - started)
    return {
        name: len(images) / statistics.median(each[1:]) for name, each in times.items()
    }


def size(folder: pathlib.Path) -> int:
    """Adds up the bytes of all files in a folder."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def line(report: Mapping[str, Any]) -> str:
    """Says in one line what a report of `runs.export.export` holds."""
    parts = [f"{report['format']} {report['precision']}"]
    parts.append(f"{report['bytes'] / 1e6:.1f} MB")
    parts.append(
        f"on {counted(report['images'], 'image')}"
        f"{'' if report['data'] else ' of noise'} at most "
        f"{report['max_difference']:.1e} from Keras, "
        f"{report['top1_agreement']:.1f} % the same class"
    )
    if "accuracy" in report:
        parts.append(
            f"accuracy {report['accuracy']:.2f} % "
            f"(Keras {report['original_accuracy']:.2f} %)"
        )
    elif report["data"]:
        parts.append("no accuracy, as these images have other classes")
    parts.append(
        f"{report['images_per_second']:,.0f} images/s, {report['speed_ratio']:.2f} times "
        "Keras's"
    )
    return "; ".join(parts)
