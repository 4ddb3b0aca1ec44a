"""Boxes as tensors: offsets from other boxes and back, clipping, and shapes that may vary.

A box is ``x1, y1, x2, y2`` in pixels. The arithmetic is Keras's own
(`keras.utils.bounding_boxes`), with what it lacks for detectors.
"""

import math
from collections.abc import Sequence
from typing import Any, TypeAlias

import keras
from keras import ops

Tensor: TypeAlias = Any  # Of Keras's backend.

# A box becomes at most this many times as wide or high as the one that it begins with, so
# that no exponential overflows: Detectron's and torchvision's `bbox_xform_clip`.
MOST_GROWTH = 1000 / 16


def encode(boxes: Tensor, anchors: Tensor, weights: Sequence[float]) -> Tensor:
    """What has to be done to anchors to get boxes (Girshick et al. 2014, appendix C).

    A side of 0 is taken for one of 1e-7, so that every offset is finite.

    Args:
        boxes: Shape ``(batch, n, 4)``.
        anchors: Shape ``(batch, n, 4)`` or ``(n, 4)``.
        weights: What x, y, width and height are multiplied by.

    Returns:
        Shape ``(batch, n, 4)``: differences of centres, in sides of the anchors, and
        logarithms of the ratios of sides, weighted.
    """
    return keras.utils.bounding_boxes.encode_box_to_deltas(
        anchors,
        boxes,
        anchor_format="xyxy",
        box_format="xyxy",
        encoding_format="center_xywh",
        variance=[1 / weight for weight in weights],
    )


def decode(offsets: Tensor, anchors: Tensor, weights: Sequence[float]) -> Tensor:
    """The inverse of `encode`, for offsets that a network predicts; see `MOST_GROWTH`.

    Args:
        offsets: Shape ``(…, 4)``.
        anchors: Shape ``(…, 4)``, broadcast against ``offsets``.
        weights: As of `encode`.
    """
    most = [math.inf, math.inf, math.log(MOST_GROWTH), math.log(MOST_GROWTH)]
    offsets = ops.minimum(
        offsets / ops.convert_to_tensor(list(weights), "float32"), most
    )
    return keras.utils.bounding_boxes.decode_deltas_to_boxes(
        anchors,
        offsets,
        anchor_format="xyxy",
        box_format="xyxy",
        encoded_format="center_xywh",
    )


def iou(boxes: Tensor, others: Tensor) -> Tensor:
    """Intersection over union, ``(batch, n, m)``, of boxes ``(batch, n, 4)`` and others.

    Args:
        boxes: Shape ``(batch, n, 4)``.
        others: Shape ``(batch, m, 4)`` or ``(m, 4)``.
    """
    return keras.utils.bounding_boxes.compute_iou(boxes, others, "xyxy")


def clip(boxes: Tensor, shapes: Tensor) -> Tensor:
    """Boxes cut off at the borders of their images.

    Args:
        boxes: Shape ``(batch, …, 4)``.
        shapes: Height and width of each image, ``(batch, 2)``.
    """
    height, width = ops.split(ops.cast(shapes, boxes.dtype), 2, axis=-1)
    limits = ops.concatenate([width, height, width, height], axis=-1)
    limits = ops.reshape(limits, (-1, *[1] * (len(boxes.shape) - 2), 4))
    return ops.minimum(ops.maximum(boxes, 0.0), limits)


def sides(boxes: Tensor) -> Tensor:
    """The shorter side of each box: shape ``(…)`` of boxes ``(…, 4)``."""
    return ops.min(boxes[..., 2:] - boxes[..., :2], axis=-1)


def usable_boxes(boxes: Tensor, smallest: float) -> Tensor:
    """Which boxes have an area, and sides of at least so many pixels.

    Empty ones, such as those behind the border, would never be suppressed.

    Args:
        boxes: ``(…, 4)``.
        smallest: Side in pixels that a box must have.
    """
    shorter = sides(boxes)
    return (shorter > 0) & (shorter >= smallest)


def rows(values: Tensor, indices: Tensor) -> Tensor:
    """Of each image the rows with some indices.

    Args:
        values: Shape ``(batch, n)`` or ``(batch, n, c)``.
        indices: Shape ``(batch, k)``.
    """
    if len(values.shape) == 3:
        indices = ops.expand_dims(indices, -1)
    return ops.take_along_axis(values, indices, axis=1)


def smaller(one: Any, other: Any) -> Any:
    """The minimum of two sizes, of which TensorFlow may know one only when it runs."""
    if isinstance(one, int) and isinstance(other, int):
        return min(one, other)
    return ops.minimum(one, other)
