"""Anchors, which a region proposal network begins with (Ren et al. 2015, sec. 3.1)."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from keras import ops

from keras_resnet.config.detector import Anchors
from keras_resnet.detection.boxes import Tensor


def cell_anchors(row: Anchors, level: int) -> np.ndarray:
    """The anchors around the centre of one cell, float32 ``(sizes x ratios, 4)``.

    Args:
        row: The `Anchors` of a detector.
        level: Index of the feature map.
    """
    sizes = np.asarray(row.sizes[level], "float32")
    stretch = np.sqrt(np.asarray(row.ratios, "float32"))
    if row.outermost == "ratio":
        stretch, sizes = stretch[:, None], sizes[None]
    else:
        stretch, sizes = stretch[None], sizes[:, None]
    widths, heights = (1 / stretch) * sizes, stretch * sizes
    corners = np.stack([-widths, -heights, widths, heights], axis=-1).reshape(-1, 4) / 2
    return (np.round(corners) if row.rounded else corners).astype("float32")


def fit_somewhere(row: Anchors, height: int, width: int) -> bool:
    """Whether some anchor is no larger than an image of this size."""
    corners = np.concatenate([cell_anchors(row, i) for i in range(len(row.sizes))])
    sides = corners[:, 2:] - corners[:, :2]
    return bool((sides <= (width, height)).all(-1).any())


def grid(
    row: Anchors, level: int, cells: Sequence[Any], strides: Sequence[Any]
) -> Tensor:
    """The anchors of one feature map, row by row and cell by cell.

    Args:
        row: The `Anchors` of a detector.
        level: Index of the feature map.
        cells: Height and width of the map.
        strides: Distance of cells in pixels, down and across.

    Returns:
        Float32 ``(height x width x anchors of a cell, 4)``.
    """
    y, x = (
        (ops.cast(ops.arange(count), "float32") + row.offset)
        * ops.cast(step, "float32")
        for count, step in zip(cells, strides, strict=True)
    )
    y, x = ops.meshgrid(y, x, indexing="ij")
    centres = ops.reshape(ops.stack([x, y, x, y], axis=-1), (-1, 1, 4))
    around = ops.convert_to_tensor(cell_anchors(row, level)[None])
    return ops.reshape(centres + around, (-1, 4))


def of_maps(
    row: Anchors, images: Tensor, maps: Sequence[Tensor], strides: Sequence[int]
) -> list[Tensor]:
    """The anchors of all feature maps, one tensor for each, as of `grid`.

    Args:
        row: The `Anchors` of a detector.
        images: Batch of images, ``(batch, height, width, channels)``.
        maps: Batches of feature maps, ``(batch, height, width, channels)``.
        strides: Nominal strides of the maps.
    """
    found = []
    for level, (features, stride) in enumerate(zip(maps, strides, strict=True)):
        cells = ops.shape(features)[1:3]
        steps = (stride, stride)
        if row.measured_strides:
            steps = [
                side // count
                for side, count in zip(ops.shape(images)[1:3], cells, strict=True)
            ]
        found.append(grid(row, level, cells, steps))
    return found
