"""The sizes of images with boxes: how they are resized, and what they are padded to.

All images of a batch have one size, the canvas: a resized image lies in its upper left
corner, and the rest is 0. Photographs that are wider than high share one canvas, the others
another one, so that little is computed on the padding and a compiled network sees two sizes
at most.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from keras_resnet.config.box_batches import BoxBatches


def resized(sizes: np.ndarray, shorter_side: int, settings: BoxBatches) -> np.ndarray:
    """Computes the sizes of resized images.

    Args:
        sizes: Heights and widths in pixels, integers ``(..., 2)``.
        shorter_side: Length that the shorter side gets, as far as ``longer_side`` allows.
        settings: Its ``longer_side`` and ``rounding`` count here.

    Returns:
        int32 ``(..., 2)``. By ``"floor"`` the shorter side of some images comes out a pixel
        below ``shorter_side``, as ``h * (shorter_side / h)`` does in torchvision, too.
    """
    sizes = np.asarray(sizes, np.float64)
    scale = np.minimum(
        shorter_side / sizes.min(axis=-1), settings.longer_side / sizes.max(axis=-1)
    )
    exact = sizes * scale[..., np.newaxis]
    half = 0.5 if settings.rounding == "half_up" else 0.0
    return np.maximum(np.floor(exact + half), 1).astype(np.int32)


def by_orientation(sizes: np.ndarray, wanted: np.ndarray) -> list[np.ndarray]:
    """Groups images by their canvas: those at least as wide as high, then the others.

    Args:
        sizes: Heights and widths, integers ``(n, 2)``.
        wanted: bool ``(n,)``: which images are to be grouped.

    Returns:
        Positions of the images of each group that has any.
    """
    portrait = sizes[:, 0] > sizes[:, 1]
    groups = [np.flatnonzero(wanted & (portrait == side)) for side in (False, True)]
    return [group for group in groups if len(group)]


def canvas(sizes: np.ndarray, settings: BoxBatches) -> tuple[int, int]:
    """The height and width to which all of some images are padded.

    Args:
        sizes: Heights and widths of the images as they are, integers ``(n, 2)``.
        settings: How they are resized.

    Returns:
        The smallest multiples of ``settings.multiple`` in which each of them has room at
        the largest of its sizes.
    """
    largest = resized(sizes, max(settings.shorter_sides), settings).max(axis=0)
    height, width = -(-largest // settings.multiple) * settings.multiple
    return int(height), int(width)


def to_original(
    boxes: np.ndarray, image_shapes: np.ndarray, original_shapes: np.ndarray
) -> np.ndarray:
    """Maps boxes in pixels of the canvas to pixels of the images as they were.

    Args:
        boxes: Float ``(batch, n, 4)``.
        image_shapes: Heights and widths on the canvas, without padding, ``(batch, 2)``.
        original_shapes: Heights and widths of the images as they were, ``(batch, 2)``.

    Returns:
        float32 ``(batch, n, 4)``, cut at the edges of the images.
    """
    original = np.asarray(original_shapes, np.float32)
    ratios = original / np.asarray(image_shapes, np.float32)
    # x and y twice, from heights and widths.
    ratios, limits = (np.tile(v[:, ::-1], 2)[:, np.newaxis] for v in (ratios, original))
    return np.clip(np.asarray(boxes, np.float32) * ratios, 0, limits)


def per_image(
    predictions: Mapping[str, np.ndarray], valid: np.ndarray
) -> Sequence[dict[str, np.ndarray]]:
    """Takes a batch of padded predictions apart.

    Args:
        predictions: Arrays ``(batch, n, ...)`` by name, such as ``boxes`` and ``scores``.
        valid: bool ``(batch, n)``: which of them there are.

    Returns:
        For each image a dictionary of those of its own.
    """
    return [
        {name: np.asarray(values)[row][mask] for name, values in predictions.items()}
        for row, mask in enumerate(np.asarray(valid, bool))
    ]
