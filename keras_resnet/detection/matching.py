"""Which true box a box belongs to, and which boxes are in the loss."""

from typing import Any

import keras
from keras import ops

from keras_resnet.detection.boxes import Tensor, iou, rows, smaller

OBJECT, BACKGROUND, IGNORED = 1, 0, -1


def match(
    boxes: Tensor,
    truth: Tensor,
    real: Tensor,
    foreground: float,
    background: tuple[float, float],
    *,
    best_too: bool = False,
) -> tuple[Tensor, Tensor]:
    """Finds the true box that each box overlaps most (Ren et al. 2015, sec. 3.1.2).

    Args:
        boxes: Anchors or proposals, ``(batch, n, 4)`` or ``(n, 4)``.
        truth: True boxes, ``(batch, m, 4)``.
        real: Bool ``(batch, m)``: the others only fill the batch up.
        foreground: IoU from which a box is an object.
        background: IoUs from which and below which it is none.
        best_too: Whether the boxes that overlap a true box most are objects as well, all
            that do so equally, if they overlap it at all.

    Returns:
        Indices of true boxes and `OBJECT`, `BACKGROUND` or `IGNORED`, each int32
        ``(batch, n)``.
    """
    overlaps = iou(truth, boxes)
    overlaps = ops.where(real[..., None], overlaps, -1.0)
    index = ops.cast(ops.argmax(overlaps, axis=1), "int32")
    most = ops.maximum(ops.max(overlaps, axis=1), 0.0)
    is_object = most >= foreground
    if best_too:
        # A true box that no anchor touches would have all of them for its best.
        best = ops.max(overlaps, axis=2, keepdims=True)
        is_object = is_object | ops.any((overlaps == best) & (best > 0), axis=1)
    is_background = (most >= background[0]) & (most < background[1])
    label = ops.where(is_background, BACKGROUND, IGNORED)
    return index, ops.where(is_object, OBJECT, label)


def sample(
    label: Tensor, priority: Tensor, samples: int, share: float
) -> tuple[Tensor, Tensor]:
    """Draws boxes for the loss: objects up to a share, and background for the rest.

    Args:
        label: As `match` returns them, ``(batch, n)``.
        priority: Random numbers in [0, 1), ``(batch, n)``: the largest are drawn.
        samples: How many boxes of an image, if it has enough.
        share: Of objects among them, at the most.

    Returns:
        Indices of the drawn boxes ``(batch, samples)``, or ``(batch, n)`` if there are
        fewer boxes, and bool of the same shape: which of them were drawn.
    """
    count = ops.shape(label)[1]
    drawn, most = [], smaller(int(samples * share), count)
    objects = 0
    for kind in (OBJECT, BACKGROUND):
        best, index = ops.top_k(ops.where(label == kind, priority, -1.0), most)
        room = ops.arange(most) < samples - objects
        drawn.append((index, (best >= 0) & room))
        objects = ops.sum(ops.cast(drawn[0][1], "int32"), axis=1, keepdims=True)
        most = smaller(samples, count)
    index, is_drawn = (ops.concatenate(parts, 1) for parts in zip(*drawn, strict=True))
    # The drawn ones first, each kind in its order.
    length = ops.shape(index)[1]
    order = ops.arange(length) + length * ops.cast(~is_drawn, "int32")
    _, first = ops.top_k(-order, most)
    return rows(ops.cast(index, "int32"), first), rows(is_drawn, first)


def draw(label: Tensor, samples: int, share: float, seed: Any) -> tuple[Tensor, Tensor]:
    """As `sample`, with random numbers.

    Args:
        label: As of `sample`.
        samples: As of `sample`.
        share: As of `sample`.
        seed: A `keras.random.SeedGenerator`, or an integer.
    """
    priority = keras.random.uniform(ops.shape(label), seed=seed)
    return sample(label, priority, samples, share)
