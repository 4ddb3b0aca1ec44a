"""The losses of boxes that were drawn, and their means."""

from keras import ops

from keras_resnet.detection.boxes import Tensor


def smooth_l1(difference: Tensor, beta: float) -> Tensor:
    """A parabola up to ``beta`` and a line behind it, summed over x, y, w and h.

    Girshick 2015, eq. 3, where ``beta`` is 1; 0 is the absolute value.

    Args:
        difference: Shape ``(…, 4)``.
        beta: Where one turns into the other.
    """
    size = ops.abs(difference)
    if beta > 0:
        curved = 0.5 * size**2 / beta
        size = ops.where(size < beta, curved, size - 0.5 * beta)
    return ops.sum(size, axis=-1)


def means(classes: Tensor, boxes: Tensor, drawn: Tensor) -> tuple[Tensor, Tensor]:
    """The means of two losses over the boxes that were drawn, of all images together.

    Args:
        classes: Loss of each box, ``(batch, n)``.
        boxes: Likewise.
        drawn: Bool ``(batch, n)``.

    Returns:
        Two scalars, 0 if none was drawn.
    """
    weight = ops.cast(drawn, "float32")
    count = ops.maximum(ops.sum(weight), 1.0)
    return ops.sum(classes * weight) / count, ops.sum(boxes * weight) / count
