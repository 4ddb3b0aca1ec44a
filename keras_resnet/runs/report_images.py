"""The images of a report: thumbnails of a confusion matrix's cells, and worst mistakes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from keras_resnet import analysis
from keras_resnet.data import pipelines
from keras_resnet.data.examples import Examples, StreamedExamples
from keras_resnet.devices.host import tensorflow
from keras_resnet.report.facts import Measured, Picture
from keras_resnet.report.pixels import address, overlaid
from keras_resnet.runs.batch_sizes import images_at_once
from keras_resnet.runs.load import Run
from keras_resnet.runs.pictures import as_pixels

PER_CELL = 12  # Images of a cell of the confusion matrix.
MOST = 3000  # Thumbnails of all runs: with the largest that is about 12 MB.
SIDE = 48  # Pixels of a thumbnail's longer side, at most.
LARGE = 224  # Of an image among the worst mistakes.
LOSSLESS = 32  # Smaller images than this are PNG: JPEG would show its own patterns.
QUALITY = 80  # Of JPEG.
AT_ONCE = 32


def cells_to_show(measured: Measured, most: int) -> dict[tuple[int, int], list[int]]:
    """The images to show of each cell of the confusion matrix.

    Args:
        measured: What the predictions say.
        most: How many images in all; each cell gets its first before any gets a second.

    Returns:
        By true and predicted class positions of images, the most confident first.
    """
    order = np.argsort(-measured.confidence, kind="stable")
    rank: dict[tuple[int, int], int] = {}
    ranked = []
    for one in order:
        cell = int(measured.labels[one]), int(measured.predicted[one])
        rank[cell] = rank.get(cell, 0) + 1
        if rank[cell] <= PER_CELL:
            ranked.append((rank[cell], len(ranked), cell, int(one)))
    cells: dict[tuple[int, int], list[int]] = {}
    for _, _, cell, one in sorted(ranked)[:most]:
        cells.setdefault(cell, []).append(one)
    return cells


def thumbnails(
    run: Run,
    examples: Examples | StreamedExamples,
    chosen: Sequence[int],
    where: np.ndarray,
) -> dict[int, Picture]:
    """Small pictures of images as the network takes them.

    Args:
        run: Whose preprocessing the images go through.
        examples: Of the split.
        chosen: Positions of images in the predictions.
        where: Of each image of the predictions the position in the split.

    Returns:
        Pictures by the positions in the predictions.
    """
    shown = {}
    for part, normalized in _batches(run, examples, chosen, where):
        images = as_pixels(normalized, run.preprocessing)
        small = _within(images, SIDE)
        for position, image in zip(part, small, strict=True):
            shown[position] = encoded(image)
    return shown


def worst(
    run: Run,
    examples: Examples | StreamedExamples,
    measured: Measured,
    where: np.ndarray,
) -> dict[int, tuple[Picture, Picture | None]]:
    """The most confident mistakes with their class activation maps.

    A map is of the class that the image is taken for (Grad-CAM); `None` where the network
    has no feature maps to make it of.

    Args:
        run: The run.
        examples: Of the split.
        measured: What the predictions say.
        where: As of `thumbnails`.

    Returns:
        Pictures by the positions in the predictions.
    """
    shown: dict[int, tuple[Picture, Picture | None]] = {}
    size = images_at_once(run.model, AT_ONCE)
    for part, normalized in _batches(run, examples, measured.worst, where, size):
        images = _within(as_pixels(normalized, run.preprocessing), LARGE)
        try:
            found = analysis.grad_cam(run.model, normalized, measured.predicted[part])
            heat = _within((255 * found.heat()).astype("uint8")[..., None], LARGE)
            maps: list[Any] = list(heat[..., 0] / 255)
        except ValueError:
            maps = [None] * len(part)
        for position, image, one in zip(part, images, maps, strict=True):
            cam = None if one is None else encoded(overlaid(image, one))
            shown[position] = encoded(image), cam
    return shown


def _batches(
    run: Run,
    examples: Examples | StreamedExamples,
    chosen: Sequence[int] | np.ndarray,
    where: np.ndarray,
    batch_size: int = AT_ONCE,
) -> Iterator[tuple[list[int], np.ndarray]]:
    """Positions in the predictions and normalized images, a few at a time."""
    if not len(chosen):
        return
    ordered = sorted(map(int, chosen), key=lambda one: where[one])
    batches = pipelines.evaluation_batches(
        _picked(examples, [int(where[one]) for one in ordered]),
        run.preprocessing,
        batch_size=batch_size,
    )
    start = 0
    for images, _ in batches.as_numpy_iterator():
        yield ordered[start : start + len(images)], images
        start += len(images)


def _picked(
    examples: Examples | StreamedExamples, positions: list[int]
) -> Examples | StreamedExamples:
    """The examples at these positions, in their order."""
    if isinstance(examples, Examples):
        return Examples(examples.images[positions], examples.labels[positions])
    whole, wanted = examples.read, np.zeros(examples.size, bool)
    wanted[positions] = True

    def read() -> Any:
        chosen = tensorflow().constant(wanted)
        numbered = whole().take(positions[-1] + 1).enumerate()
        return numbered.filter(lambda i, _: chosen[i]).map(lambda _, example: example)

    return StreamedExamples(read, len(positions))


def _within(images: np.ndarray, side: int) -> np.ndarray:
    """Images made smaller, where they are larger, by the mean of what each pixel covers."""
    height, width = images.shape[1:3]
    share = side / max(height, width)
    if share >= 1:
        return images
    size = max(1, math.floor(height * share)), max(1, math.floor(width * share))
    small = tensorflow().image.resize(images, size, method="area").numpy()
    return np.rint(small).astype("uint8")


def encoded(image: np.ndarray) -> Picture:
    """An image as part of a page.

    Args:
        image: uint8 ``(height, width, 1 or 3)``.
    """
    tf = tensorflow()
    height, width = image.shape[:2]
    with tf.device("CPU"):
        if max(height, width) <= LOSSLESS:
            contents, kind = tf.io.encode_png(image).numpy(), "image/png"
        else:
            contents = tf.io.encode_jpeg(image, quality=QUALITY).numpy()
            kind = "image/jpeg"
    return Picture(source=address(contents, kind), width=width, height=height)
