"""From what the region proposal network puts out to proposals, and its loss."""

import warnings
from collections.abc import Sequence
from typing import Any

from keras import ops

from keras_resnet.config.detector import Anchors, Proposals
from keras_resnet.detection import losses, matching
from keras_resnet.detection.anchors import fit_somewhere
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

PLAIN = (1.0, 1.0, 1.0, 1.0)  # Its offsets aren't weighted.


def propose(
    row: Proposals,
    anchors: Sequence[Tensor],
    objectness: Sequence[Tensor],
    offsets: Sequence[Tensor],
    shapes: Tensor,
    *,
    training: bool = False,
    xla: bool = False,
) -> tuple[Tensor, Tensor]:
    """The boxes that may hold an object (Ren et al. 2015, sec. 3.3).

    Args:
        row: The `Proposals` of a detector.
        anchors: For each feature map, ``(n, 4)``.
        objectness: For each feature map, logits ``(batch, n)``.
        offsets: For each feature map, ``(batch, n, 4)``.
        shapes: Height and width of each image, ``(batch, 2)``.
        training: Whether as many are wanted as training takes.
        xla: As of `nms`.

    Returns:
        Boxes ``(batch, proposals, 4)``, the best one first, and bool
        ``(batch, proposals)``: the others only fill up. Without gradients.
    """
    looked_at = row.before_suppression[0 if training else 1]
    wanted = row.after_suppression[0 if training else 1]
    boxes, scores = [], []
    for level in zip(anchors, objectness, offsets, strict=True):
        some, score = _best(*level, looked_at)
        some = clip(some, shapes)
        valid = usable_boxes(some, row.smallest)
        kept = nms(some, valid, row.suppression, xla=xla)
        boxes.append(some)
        scores.append(ops.where(kept, score, -1.0))
    # As many rows whatever the image's size: the last ones fill up.
    boxes = ops.pad(ops.concatenate(boxes, 1), [[0, 0], [0, wanted], [0, 0]])
    scores = ops.pad(
        ops.concatenate(scores, 1), [[0, 0], [0, wanted]], constant_values=-1.0
    )
    scores, index = ops.top_k(scores, wanted)
    return ops.stop_gradient(rows(boxes, index)), scores >= 0


def _best(anchors, objectness, offsets, most):
    """The boxes of one map with the highest scores, and these as probabilities."""
    logits, index = ops.top_k(objectness, smaller(most, ops.shape(objectness)[1]))
    found = decode(rows(offsets, index), ops.take(anchors, index, axis=0), PLAIN)
    return found, ops.sigmoid(logits)


def proposal_losses(
    row: Proposals,
    anchors: Tensor,
    objectness: Tensor,
    offsets: Tensor,
    truth: dict[str, Tensor],
    *,
    usable: Tensor | None = None,
    seed: Any = None,
) -> tuple[Tensor, Tensor]:
    """The two losses of the region proposal network (Ren et al. 2015, eq. 1).

    Args:
        row: The `Proposals` of a detector.
        anchors: Those of all feature maps, ``(n, 4)``.
        objectness: Logits ``(batch, n)``.
        offsets: ``(batch, n, 4)``.
        truth: ``"boxes"`` ``(batch, m, 4)``, and ``"real"`` ``(batch, m)``: the others only
            fill up.
        usable: Bool ``(batch, n)``: anchors that may be drawn; all by default.
        seed: As of `matching.draw`.

    Returns:
        Binary cross-entropy and loss of the boxes, means over all that was drawn.
    """
    background = (0.0, row.background)
    index, label = matching.match(
        anchors,
        truth["boxes"],
        truth["real"],
        row.foreground,
        background,
        best_too=True,
    )
    if usable is not None:
        label = ops.where(usable, label, matching.IGNORED)
    index, label = ops.stop_gradient(index), ops.stop_gradient(label)
    chosen, drawn = matching.draw(label, row.samples, row.foreground_share, seed)
    wanted = encode(
        rows(truth["boxes"], rows(index, chosen)),
        ops.take(anchors, chosen, axis=0),
        PLAIN,
    )
    is_object = ops.cast(rows(label, chosen) == matching.OBJECT, "float32")
    logits, moved = rows(objectness, chosen), rows(offsets, chosen)
    # Binary cross-entropy of logits.
    entropy = ops.softplus(logits) - logits * is_object
    return losses.means(
        entropy, losses.smooth_l1(moved - wanted, row.beta) * is_object, drawn
    )


def inside(
    row: Anchors, anchors: Tensor, shapes: Tensor, images: Tensor
) -> Tensor | None:
    """Which anchors don't cross the borders of their images, ``(batch, n)``, or `None`.

    Args:
        row: The `Anchors` of a detector, which say whether that matters.
        anchors: ``(n, 4)``.
        shapes: Height and width of each image, ``(batch, 2)``.
        images: The batch, ``(batch, height, width, channels)``. A warning says so where
            no anchor can lie in any of them, and nothing is learnt.
    """
    if not row.inside_only:
        return None
    height, width = images.shape[1:3]
    if None not in (height, width) and not fit_somewhere(row, height, width):
        warnings.warn(
            "No anchor lies within images of this size, and anchors that cross the border "
            "aren't trained on (`inside_only`): the region proposal network learns "
            f"nothing. Received: images of {height}x{width} pixels, anchors of "
            f"{min(map(min, row.sizes)):g} pixels and more. Give larger images, or a row "
            "with smaller anchors.",
            stacklevel=2,
        )
    whole = ops.broadcast_to(anchors[None], (ops.shape(shapes)[0], *ops.shape(anchors)))
    return ops.all(clip(whole, shapes) == whole, axis=-1)
