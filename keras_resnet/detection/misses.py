"""What a detector gets wrong, image by image: what it misses, and what it makes up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from keras_resnet.config.words import counted
from keras_resnet.data.boxes import Objects
from keras_resnet.detection.average_precision import (
    RIGHT,
    WRONG,
    check_count,
    iou,
    match,
)

# Why a detection is wrong (after Hoiem et al. 2012), in the order in which it is asked.
REASONS: Mapping[str, str] = {
    "second": "second detection of an object",
    "class": "object of another class",
    "place": "badly placed",
    "background": "nothing there",
}
NEAR = 0.1  # IoU with an object of its class from which a detection is badly placed.


@dataclass(frozen=True, eq=False)
class Misses:
    """What a detector gets wrong in one image.

    Attributes:
        image: Its position.
        missed: bool ``(objects,)``: which objects it doesn't find; difficult ones and
            crowds are never missed.
        verdicts: Integers ``(n,)`` as of `average_precision.judge`, of the detections.
        reasons: For each detection a key of `REASONS`, or "" where it isn't wrong.
        shown: bool ``(n,)``: which detections were asked about. Others are no mistakes.
    """

    image: int
    missed: np.ndarray
    verdicts: np.ndarray
    reasons: tuple[str, ...]
    shown: np.ndarray

    @property
    def wrong(self) -> int:
        """How many detections are wrong."""
        return sum(map(bool, self.reasons))

    @property
    def mistakes(self) -> int:
        """How many objects are missed and detections wrong."""
        return int(self.missed.sum()) + self.wrong


def misses_by_image(
    truth: Objects,
    detections: Sequence[Mapping[str, np.ndarray]],
    *,
    score: float = 0.5,
    threshold: float = 0.5,
) -> list[Misses]:
    """Finds what a detector gets wrong, the image with most mistakes first.

    Args:
        truth: The true objects of each image.
        detections: As of `voc_precision`.
        score: Detections of at least this score count; others are as if they weren't there.
        threshold: IoU that a right detection must exceed.

    Returns:
        One `Misses` for each image. Of equally many mistakes, the image in which more
        objects are missed is first.

    Raises:
        ValueError: If there aren't as many images with detections as with objects.
    """
    check_count(truth, detections)
    found = [
        _in_image(image, truth.of(image), one, score, threshold)
        for image, one in enumerate(detections)
    ]
    return sorted(found, key=lambda one: (-one.mistakes, -one.missed.sum(), one.image))


def _in_image(image, truth, detections, score, threshold):
    shown = np.asarray(detections["scores"]) >= score
    some = {
        name: np.asarray(detections[name])[shown]
        for name in ("boxes", "scores", "classes")
    }
    judged, objects = match(truth, some, threshold)
    missed = ~(truth["difficult"] | truth["crowd"])
    missed[objects[judged == RIGHT]] = False
    overlaps = iou(some["boxes"], truth["boxes"])
    same = some["classes"][:, np.newaxis] == truth["labels"]

    def reason(place):
        if judged[place] != WRONG:
            return ""
        if objects[place] >= 0:
            return "second"
        if (overlaps[place][~same[place]] > threshold).any():
            return "class"
        near = overlaps[place][same[place]].max(initial=0.0) >= NEAR
        return "place" if near else "background"

    verdicts = np.full(len(shown), WRONG)
    verdicts[shown] = judged
    reasons = np.full(len(shown), "", object)
    reasons[shown] = [reason(place) for place in range(len(judged))]
    return Misses(image, missed, verdicts, tuple(reasons), shown)


def with_mistakes(
    misses: Misses, truth: Objects, detections: Sequence[Mapping[str, np.ndarray]]
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """The objects and detections of an image, as `box_plots.boxes_side_by_side` draws them.

    Args:
        misses: Of the image.
        truth: The objects of all images.
        detections: Those of all images.

    Returns:
        Dictionaries of the objects, with bool ``missed``, and of the detections that were
        asked about, with bool ``wrong``.
    """
    found = {
        name: np.asarray(detections[misses.image][name])[misses.shown]
        for name in ("boxes", "scores", "classes")
    }
    wrong = np.array([bool(reason) for reason in misses.reasons], bool)
    return (
        truth.of(misses.image) | {"missed": misses.missed},
        found | {"wrong": wrong[misses.shown]},
    )


def in_words(
    misses: Misses, name: str | int, truth: Objects, class_names: Sequence[str]
) -> str:
    """Says what a detector gets wrong in an image, in one line.

    Args:
        misses: Of the image.
        name: What the image is called.
        truth: The objects of all images.
        class_names: One name per label.

    Returns:
        Text such as ``"BloodImage_00007: 2 objects missed (RBC 2); 1 detection wrong (badly
        placed 1)"``.
    """
    labels = truth.of(misses.image)["labels"][misses.missed]
    parts = []
    if len(labels):
        each = np.bincount(labels, minlength=len(class_names))
        names = [
            f"{class_names[label]} {each[label]}" for label in np.flatnonzero(each)
        ]
        said = counted(len(labels), "object missed", "objects missed")
        parts.append(f"{said} ({', '.join(names)})")
    if misses.wrong:
        each = {key: misses.reasons.count(key) for key in REASONS}
        whys = [f"{REASONS[key]} {count}" for key, count in each.items() if count]
        said = counted(misses.wrong, "detection wrong", "detections wrong")
        parts.append(f"{said} ({', '.join(whys)})")
    return f"{name}: {'; '.join(parts) or 'no mistake'}"
