"""How an exported network differs from the one that it was made of: answers and speed.

Accuracy is not computed here but by `evaluation.metrics`, which `runs.export` calls.
"""

from __future__ import annotations

import pathlib
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from keras_resnet.config.words import counted

BATCH = 32
NEAR = 0.05  # Pixels that an exported detector's box may be off.
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


def compare_boxes(
    exported: Sequence[Mapping[str, np.ndarray]],
    original: Sequence[Mapping[str, np.ndarray]],
) -> dict[str, Any]:
    """Tells how far an exported detector's answers are from the original's.

    Detections come in the order of their scores, of which some are nearly equal. So each
    is compared with the nearest one of its class, wherever that stands.

    Args:
        exported: For each image, ``boxes`` ``(k, 4)`` in pixels, ``classes`` ``(k,)`` and
            ``count``, the number of those that count.
        original: Those of the detector as it was, for the same images.

    Returns:
        A dict: ``images`` and ``boxes``, their numbers; ``agreement``, the percentage of
        the boxes, of either side, for which the other has one of the class within `NEAR`
        pixels, `None` if there are no boxes; ``max_difference``, the largest difference of
        a coordinate of these.
    """
    differences = np.concatenate(
        [
            _nearest(*pair)
            for one, other in zip(exported, original, strict=True)
            for pair in ((one, other), (other, one))
        ]
        or [np.zeros(0)]
    )
    near = differences[differences <= NEAR]
    return {
        "images": len(original),
        "boxes": int(sum(one["count"] for one in original)),
        "agreement": 100 * len(near) / len(differences) if len(differences) else None,
        "max_difference": float(near.max(initial=0.0)),
    }


def _nearest(found, others):
    """For each box that counts, the distance to the nearest other one of its class."""
    (boxes, classes), (wanted, theirs) = (
        (one["boxes"][: one["count"]], one["classes"][: one["count"]])
        for one in (found, others)
    )
    distances = np.abs(boxes[:, np.newaxis] - wanted).max(axis=-1)
    distances[classes[:, np.newaxis] != theirs] = np.inf
    return distances.min(axis=1, initial=np.inf)


def speeds(
    networks: Mapping[str, Callable[[Any], Any]],
    images: Sequence[np.ndarray] | np.ndarray,
    *,
    rounds: int = 3,
) -> dict[str, float]:
    """Times networks in turns, so that what else the machine does slows all of them.

    Args:
        networks: By name, functions from images to answers.
        images: A batch, uint8 ``(N, H, W, C)``, or what else the functions take.
        rounds: How often each is timed, after one round that isn't; the median counts.

    Returns:
        Images per second, by name.
    """
    times = {name: [] for name in networks}
    for _ in range(rounds + 1):
        for name, network in networks.items():
            started = time.perf_counter()
            network(images)
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
    if "boxes" in report:
        return "; ".join([*parts, *_of_detector(report)])
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


def _of_detector(report):
    said = f"on {counted(report['images'], 'image')} with "
    said += counted(report["boxes"], "detection")
    if report["agreement"] is not None:
        said += (
            f" {report['agreement']:.1f} % within {NEAR} pixels of Keras's, these at most "
            f"{report['max_difference']:.1e}"
        )
    speed = f"{report['images_per_second']:.3g} images/s"
    return [said, f"{speed}, {report['speed_ratio']:.2f} times Keras's"]
