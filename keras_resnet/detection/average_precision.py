"""Average precision by PASCAL VOC's rules.

The rule of VOC's devkit (VOCevaldet.m; Everingham et al. 2010, sec. 4.2): detections of a
class are taken in the order of their scores, over all images. Each is compared with the
true box of its image and class that it overlaps most. If their IoU isn't above the
threshold, it is wrong. Else it counts for nothing if that box is of a difficult object; it
is right if no detection before it had the same box, and a second detection of one object is
wrong.

The devkit counts pixels: a box is ``xmax - xmin + 1`` wide. In our half-open coordinates
(`data.boxes`) that is ``x2 - x1``, so that all overlaps are the devkit's. An IoU of exactly
the threshold isn't enough, as in the paper ("must exceed 50%"), py-faster-rcnn and
Detectron2; the devkit's own code takes it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from keras_resnet.config.checks import check_choice
from keras_resnet.data.boxes import Objects, area

RULES = ("area", "11 points")
RIGHT, WRONG, IGNORED = 1, 0, -1


@dataclass(frozen=True, eq=False)
class ClassPrecision:
    """What is found of one class.

    Attributes:
        average_precision: From 0 to 1; NaN where there is no object that counts.
        objects: How many there are, without difficult ones.
        found: How many of them were detected, at any score.
        detections: How many count, without those of difficult objects.
        recalls, precisions: After each detection, float ``(detections,)``, from 0 to 1.
        scores: Float ``(detections,)``, in decreasing order.
    """

    average_precision: float
    objects: int
    found: int
    detections: int
    recalls: np.ndarray
    precisions: np.ndarray
    scores: np.ndarray


@dataclass(frozen=True, eq=False)
class VocPrecision:
    """Average precision by one of VOC's rules.

    Attributes:
        mean: Of the classes that have an object, from 0 to 1; NaN if none has.
        by_class: A `ClassPrecision` for each class.
        rule: ``"area"`` or ``"11 points"``.
        threshold: IoU that a right detection must exceed.
    """

    mean: float
    by_class: tuple[ClassPrecision, ...]
    rule: str
    threshold: float


def voc_precision(
    truth: Objects,
    detections: Sequence[Mapping[str, np.ndarray]],
    classes: int,
    *,
    rule: str = "area",
    threshold: float = 0.5,
) -> VocPrecision:
    """Computes average precision by one of VOC's rules.

    Args:
        truth: The true objects of each image. Crowds count as difficult objects.
        detections: For each image ``boxes``, float ``(n, 4)``, ``x1, y1, x2, y2`` in pixels
            of the image as it is; ``scores``, float ``(n,)``; ``classes``, integers
            ``(n,)``, from 0.
        classes: Number of classes.
        rule: ``"area"``, the area under the curve of precision, made monotone, against
            recall (VOC from 2010 on); or ``"11 points"``, the mean of the largest
            precisions at a recall of 0, 0.1, … 1 and more (VOC 2007).
        threshold: IoU that a right detection must exceed.

    Returns:
        `VocPrecision`. Of equal scores, the detection of the earlier image is first.

    Raises:
        ValueError: If there aren't as many images with detections as with objects, or
            detections aren't of this form.
    """
    check_choice("rule", rule, RULES)
    check(truth, detections, classes)
    judged = [
        judge(truth.of(image), found, threshold)
        for image, found in enumerate(detections)
    ]
    labels, scores = (
        np.concatenate([np.zeros(0), *(found[name] for found in detections)])
        for name in ("classes", "scores")
    )
    verdicts = np.concatenate([np.zeros(0, int), *judged])
    counted = ~(truth.difficult | truth.crowd)
    by_class = []
    for label in range(classes):
        objects = int(np.sum(counted & (truth.labels == label)))
        chosen = (labels == label) & (verdicts != IGNORED)
        by_class.append(_of_class(verdicts[chosen], scores[chosen], objects, rule))
    known = [one.average_precision for one in by_class if one.objects]
    mean = float(np.mean(known)) if known else np.nan
    return VocPrecision(mean, tuple(by_class), rule, threshold)


def check(
    truth: Objects, detections: Sequence[Mapping[str, np.ndarray]], classes: int
) -> None:
    """Raises `ValueError` where detections aren't what `voc_precision` takes."""
    check_count(truth, detections)
    for image, found in enumerate(detections):
        boxes, scores, labels = (
            np.asarray(found[name]) for name in ("boxes", "scores", "classes")
        )
        count = len(scores)
        if boxes.shape != (count, 4) or labels.shape != (count,):
            raise ValueError(
                "Detections must be boxes (n, 4), scores (n,) and classes (n,). Received: "
                f"shapes {boxes.shape}, {scores.shape} and {labels.shape} for image "
                f"{image}."
            )
        if count and not (np.isfinite(boxes).all() and np.isfinite(scores).all()):
            raise ValueError(
                "Boxes and scores of detections must be finite. Received: others for image "
                f"{image}."
            )
        if count and not 0 <= labels.min() <= labels.max() < classes:
            raise ValueError(
                f"Classes of detections must be from 0 to {classes - 1}; padding must be "
                f"left out. Received: {labels.min()} to {labels.max()} for image {image}."
            )


def check_count(truth: Objects, detections: Sequence[Mapping[str, np.ndarray]]) -> None:
    """Raises `ValueError` where not every image has its detections."""
    images = len(truth.starts) - 1
    if len(detections) != images:
        raise ValueError(
            "There must be detections for each image, perhaps none in it. Received: "
            f"{images} images, and detections for {len(detections)}."
        )


def judge(
    truth: Mapping[str, np.ndarray],
    detections: Mapping[str, np.ndarray],
    threshold: float = 0.5,
) -> np.ndarray:
    """Tells which detections in one image are right by VOC's rule.

    Args:
        truth: The objects of the image, as of `Objects.of`.
        detections: Those of the image, as of `voc_precision`.
        threshold: IoU that a right detection must exceed.

    Returns:
        Integers ``(n,)``: `RIGHT`, `WRONG`, or `IGNORED` where the object that a detection
        overlaps most is difficult or a crowd.
    """
    return match(truth, detections, threshold)[0]


def match(
    truth: Mapping[str, np.ndarray],
    detections: Mapping[str, np.ndarray],
    threshold: float = 0.5,
) -> tuple[np.ndarray, np.ndarray]:
    """As `judge`, with the object that each detection overlaps most.

    Returns:
        What `judge` returns, and for each detection the position of the object of its class
        that it overlaps most, integers ``(n,)``; -1 where their IoU isn't above the
        threshold.
    """
    scores = np.asarray(detections["scores"])
    labels = np.asarray(detections["classes"])
    overlaps = iou(detections["boxes"], truth["boxes"])
    overlaps[labels[:, np.newaxis] != truth["labels"]] = -1.0
    ignored = truth["difficult"] | truth["crowd"]
    verdicts = np.full(len(scores), WRONG)
    objects = np.full(len(scores), -1)
    taken = np.zeros(len(ignored), bool)
    for place in np.argsort(-scores, kind="stable") if len(ignored) else ():
        best = overlaps[place].argmax()
        if not overlaps[place, best] > threshold:
            continue
        objects[place] = best
        if ignored[best]:
            verdicts[place] = IGNORED
        elif not taken[best]:
            verdicts[place] = RIGHT
            taken[best] = True
    return verdicts, objects


def iou(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Computes the intersections of boxes over their unions.

    Args:
        boxes: Float ``(n, 4)``.
        others: Float ``(m, 4)``.

    Returns:
        float64 ``(n, m)``, from 0 to 1; 0 for two boxes without area.
    """
    boxes, others = (np.reshape(b, (-1, 4)).astype(float) for b in (boxes, others))
    corner = np.maximum(boxes[:, np.newaxis, :2], others[:, :2])
    opposite = np.minimum(boxes[:, np.newaxis, 2:], others[:, 2:])
    common = np.prod(np.maximum(opposite - corner, 0), axis=-1)
    union = area(boxes)[:, np.newaxis] + area(others) - common
    return np.divide(common, union, out=np.zeros_like(common), where=union > 0)


def _of_class(verdicts, scores, objects, rule):
    """The curve of one class and what is under it."""
    order = np.argsort(-scores, kind="stable")
    right = np.cumsum(verdicts[order] == RIGHT)
    taken = np.arange(1, len(order) + 1)
    precisions = right / taken
    recalls = right / objects if objects else np.full(len(order), np.nan)
    if not objects:
        value = np.nan
    elif rule == "area":
        value = _area(right, precisions, objects)
    else:
        value = _eleven_points(right, precisions, objects)
    found = int(right[-1]) if len(right) else 0
    counts = objects, found, len(order)
    return ClassPrecision(value, *counts, recalls, precisions, scores[order])


def _area(right, precisions, objects):
    """The area under precisions, each made the largest of those at its recall or above."""
    monotone = np.maximum.accumulate(precisions[::-1])[::-1]
    return float(np.sum(monotone * np.diff(right, prepend=0)) / objects)


def _eleven_points(right, precisions, objects):
    # In whole numbers: a recall of 3 of 10 isn't below 0.1 * 3 as floats have it.
    at_recall = [
        precisions[10 * right >= tenths * objects].max(initial=0.0)
        for tenths in range(11)
    ]
    return float(np.mean(at_recall))
