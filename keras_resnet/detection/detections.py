"""From the logits and offsets of proposals to detections, and the box head's loss."""

from typing import Any

import keras
from keras import ops

from keras_resnet.config.detector import BoxHead
from keras_resnet.detection import losses, matching
from keras_resnet.detection.boxes import (
    Tensor,
    clip,
    decode,
    encode,
    rows,
    smaller,
    usable_boxes,
)
from keras_resnet.detection.suppression import nms

# Boxes that suppression looks at without TensorFlow's kernel, over all classes. Of a
# detection only better ones matter, and far fewer are above the threshold of scores.
CANDIDATES = 2000


def decoded(
    row: BoxHead, regions: Tensor, logits: Tensor, offsets: Tensor, shapes: Tensor
) -> tuple[Tensor, Tensor]:
    """What a box head says, as probabilities and boxes.

    Args:
        row: The `BoxHead` of a detector.
        regions: The boxes that were pooled, ``(batch, n, 4)``.
        logits: ``(batch, n, classes + 1)``.
        offsets: ``(batch, n, classes or classes + 1, 4)``.
        shapes: Height and width of each image, ``(batch, 2)``.

    Returns:
        Of each class without the background: probabilities ``(batch, n, classes)``, and
        boxes inside of their images ``(batch, n, classes, 4)``.
    """
    scores = ops.softmax(logits)
    if row.background_class == "first":
        scores, offsets = scores[..., 1:], offsets[:, :, 1:]
    else:
        scores = scores[..., :-1]
    return scores, clip(decode(offsets, regions[:, :, None], row.weights), shapes)


def candidates(row: BoxHead, scores: Tensor, boxes: Tensor, valid: Tensor) -> Tensor:
    """The scores, but 0 where they are too low or boxes too small to be a detection.

    Args:
        row: The `BoxHead` of a detector.
        scores: ``(batch, n, classes)``.
        boxes: ``(batch, n, classes, 4)``.
        valid: Bool ``(batch, n)``: the others only fill up.
    """
    usable = (scores > row.score) & valid[..., None] & usable_boxes(boxes, row.smallest)
    return ops.where(usable, scores, 0.0)


def best(
    row: BoxHead, scores: Tensor, boxes: Tensor, *, xla: bool = False
) -> dict[str, Tensor]:
    """The objects that a detector finds: of each class, boxes that don't overlap.

    Args:
        row: The `BoxHead` of a detector.
        scores: As of `candidates`, ``(batch, n, classes)``.
        boxes: ``(batch, n, classes, 4)``.
        xla: As of `nms`.

    Returns:
        ``"boxes"`` float32 ``(batch, detections, 4)``, ``"scores"`` float32, ``"classes"``
        int32 and ``"valid"`` bool, each ``(batch, detections)``; the best one first. Where
        ``valid`` is `False`, boxes and classes are -1 and scores 0.
    """
    if keras.backend.backend() == "tensorflow" and not xla:
        boxes, scores, classes = _by_tensorflow(row, boxes, scores)
    else:
        boxes, scores, classes = _portable(row, boxes, scores)
    found = scores > 0
    return {
        "boxes": ops.where(found[..., None], boxes, -1.0),
        "scores": scores,
        "classes": ops.where(found, classes, -1),
        "valid": found,
    }


def _by_tensorflow(row, boxes, scores):
    import tensorflow as tf

    boxes, scores, classes, _ = tf.image.combined_non_max_suppression(
        boxes,
        scores,
        max_output_size_per_class=row.detections,
        max_total_size=row.detections,
        iou_threshold=row.suppression,
        score_threshold=0.0,
        clip_boxes=False,
    )
    return boxes, scores, tf.cast(classes, "int32")


def _portable(row, boxes, scores):
    classes = ops.shape(scores)[2]
    scores = ops.reshape(scores, (ops.shape(scores)[0], -1))
    boxes = ops.reshape(boxes, (ops.shape(boxes)[0], -1, 4))
    scores, index = ops.top_k(scores, smaller(CANDIDATES, ops.shape(scores)[1]))
    boxes, classes = rows(boxes, index), ops.cast(index % classes, "int32")
    kept = nms(boxes, scores > 0, row.suppression, groups=classes)
    # Fewer candidates than detections are filled up.
    scores = ops.pad(ops.where(kept, scores, 0.0), [[0, 0], [0, row.detections]])
    scores, index = ops.top_k(scores, row.detections)
    index = ops.minimum(index, ops.shape(boxes)[1] - 1)
    return rows(boxes, index), scores, rows(classes, index)


def draw_proposals(
    row: BoxHead, proposals: Tensor, valid: Tensor, truth: dict[str, Tensor], seed: Any
) -> dict[str, Tensor]:
    """Draws proposals for the loss, among which are the true boxes.

    Args:
        row: The `BoxHead` of a detector.
        proposals: ``(batch, n, 4)``.
        valid: Bool ``(batch, n)``: the others only fill up.
        truth: ``"boxes"`` ``(batch, m, 4)``, ``"classes"`` and ``"real"``
            ``(batch, m)``.
        seed: As of `matching.draw`.

    Returns:
        ``"boxes"`` and ``"truth"``, the true box of each, both ``(batch, samples, 4)``;
        ``"classes"`` from 0, ``"is_object"`` and ``"drawn"`` ``(batch, samples)``.
    """
    boxes = ops.concatenate([proposals, truth["boxes"]], axis=1)
    valid = ops.concatenate([valid, truth["real"]], axis=1)
    index, label = matching.match(
        boxes, truth["boxes"], truth["real"], row.foreground, row.background
    )
    label = ops.where(valid, label, matching.IGNORED)
    # There are at least as many proposals, so that the shape is known.
    chosen, drawn = (
        ops.reshape(one, (-1, row.samples))
        for one in matching.draw(label, row.samples, row.foreground_share, seed)
    )
    index = rows(index, chosen)
    return {
        "boxes": ops.stop_gradient(rows(boxes, chosen)),
        "truth": rows(truth["boxes"], index),
        "classes": rows(truth["classes"], index),
        "is_object": rows(label, chosen) == matching.OBJECT,
        "drawn": drawn,
    }


def detection_losses(
    row: BoxHead, logits: Tensor, offsets: Tensor, drawn: dict[str, Tensor]
) -> tuple[Tensor, Tensor]:
    """The two losses of the box head (Girshick 2015, eq. 1).

    Args:
        row: The `BoxHead` of a detector.
        logits: ``(batch, samples, classes + 1)``.
        offsets: ``(batch, samples, classes or classes + 1, 4)``.
        drawn: What `draw_proposals` returned.

    Returns:
        Cross-entropy and loss of the boxes, means over all that was drawn.
    """
    first = row.background_class == "first"
    classes = drawn["classes"] + 1 if first else drawn["classes"]
    background = 0 if first else ops.shape(logits)[2] - 1
    entropy = ops.sparse_categorical_crossentropy(
        ops.where(drawn["is_object"], classes, background), logits, from_logits=True
    )
    wanted = encode(drawn["truth"], drawn["boxes"], row.weights)
    of_class = ops.maximum(classes, 0)[..., None, None]
    moved = ops.take_along_axis(offsets, of_class, axis=2)[:, :, 0]
    boxes = losses.smooth_l1(moved - wanted, row.beta)
    boxes = boxes * ops.cast(drawn["is_object"], "float32")
    return losses.means(entropy, boxes, drawn["drawn"])
