"""Non-maximum suppression, on every backend and with static shapes."""

import keras
from keras import ops

from keras_resnet.detection.boxes import Tensor, iou


def nms(
    boxes: Tensor,
    valid: Tensor,
    threshold: float,
    *,
    groups: Tensor | None = None,
    xla: bool = False,
) -> Tensor:
    """Which boxes are kept if each one drops the worse ones that it overlaps.

    On TensorFlow its own kernel decides, unless XLA, which has none, compiles the graph or
    there are groups; the outcome is the same.

    Args:
        boxes: Float32 ``(batch, n, 4)``, ``x1, y1, x2, y2``, the best one first, as
            `keras.ops.top_k` of their scores orders them.
        valid: Bool ``(batch, n)``; the others are not kept and drop none.
        threshold: Intersection over union above which (not: from which) boxes overlap.
        groups: Integers ``(batch, n)``, such as classes: boxes of two groups don't
            overlap.
        xla: Whether XLA compiles the graph.

    Returns:
        Bool ``(batch, n)``.
    """
    if keras.backend.backend() == "tensorflow" and groups is None and not xla:
        return _by_tensorflow(boxes, valid, threshold)
    overlaps = iou(boxes, boxes) > threshold
    order = ops.arange(ops.shape(boxes)[1])
    overlaps = overlaps & (order[:, None] < order)
    if groups is not None:
        overlaps = overlaps & (groups[:, :, None] == groups[:, None])
    overlaps = ops.cast(overlaps, "float32")

    def again(kept, before):
        droppers = ops.cast(kept[:, None], "float32")
        return valid & ~(ops.matmul(droppers, overlaps)[:, 0] > 0), kept

    # Whether a box is kept depends on better ones alone. So each round settles at least one
    # more, and a round that changes nothing was the last.
    kept, _ = ops.while_loop(
        lambda kept, before: ops.any(kept != before), again, again(valid, valid)
    )
    return kept


def _by_tensorflow(boxes, valid, threshold):
    import tensorflow as tf

    count = tf.shape(boxes)[1]
    ranks = tf.cast(tf.range(count, 0, -1), tf.float32)

    def one_image(inputs):
        boxes, valid = inputs
        kept = tf.image.non_max_suppression(
            boxes, tf.where(valid, ranks, -1.0), count, threshold, score_threshold=0.0
        )
        return tf.scatter_nd(kept[:, None], tf.ones_like(kept, tf.bool), [count])

    return tf.map_fn(one_image, (boxes, valid), fn_output_signature=tf.bool)
