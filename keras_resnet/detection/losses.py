"""The losses of boxes that were drawn, and their means."""

import keras
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

    On several of TensorFlow's devices, whose losses Keras averages, these are the images
    of all devices: otherwise a box would count more where fewer were drawn.

    Args:
        classes: Loss of each box, ``(batch, n)``.
        boxes: Likewise.
        drawn: Bool ``(batch, n)``.

    Returns:
        Two scalars, 0 if none was drawn.
    """
    weight = ops.cast(drawn, "float32")
    count = ops.maximum(_over_replicas(ops.sum(weight)), 1.0) / replicas()
    return ops.sum(classes * weight) / count, ops.sum(boxes * weight) / count


def replicas() -> int:
    """How many of TensorFlow's devices a model is trained on together."""
    if keras.backend.backend() != "tensorflow":
        return 1
    import tensorflow as tf

    return int(tf.distribute.get_strategy().num_replicas_in_sync)


def _over_replicas(count):
    """The sum over all of them."""
    if replicas() == 1:
        return count
    import tensorflow as tf

    # There is none while Keras only traces the model.
    context = tf.distribute.get_replica_context()
    if context is None:
        return count
    return context.all_reduce(tf.distribute.ReduceOp.SUM, count)
