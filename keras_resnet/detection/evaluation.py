"""How good a detector is on a split: one result for JSON, and a table for people."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import keras
import numpy as np

from keras_resnet.config.box_batches import BoxBatches
from keras_resnet.config.box_protocols import BOX_PROTOCOLS
from keras_resnet.config.lookup import find
from keras_resnet.config.words import counted, percent
from keras_resnet.data.boxes import BoxedExamples, Objects
from keras_resnet.detection.average_precision import voc_precision
from keras_resnet.detection.coco import coco_precision
from keras_resnet.detection.inference import detections_in

# COCO's twelve numbers, in its order.
TWELVE: tuple[str, ...] = (
    *("ap", "ap50", "ap75", "ap_small", "ap_medium", "ap_large"),
    *("ar1", "ar10", "ar100", "ar_small", "ar_medium", "ar_large"),
)


def evaluate_detector(
    detector: keras.Model,
    examples: BoxedExamples,
    settings: BoxBatches,
    *,
    class_names: Sequence[str] | None = None,
    protocol: str = "voc",
    batch_size: int | None = None,
    seen: Callable[[int], Any] | None = None,
) -> dict[str, Any]:
    """Measures a detector on the images of a split.

    Args:
        detector: As of `detections_in`.
        examples: The split.
        settings: As of `detections_in`.
        class_names: One per label; by default the detector's own ``class_names``, or
            numbers.
        protocol: As of `measure_detections`.
        batch_size: As of `detections_in`.
        seen: As of `detections_in`.

    Returns:
        What `measure_detections` gives.

    Raises:
        ImportError, ValueError: As of `detections_in` and `measure_detections`; or if the
            split has a label that the detector doesn't know.
    """
    find(BOX_PROTOCOLS, protocol, kind="protocol of detection")
    names = names_of(detector, examples.objects, class_names)
    found = detections_in(
        detector, examples, settings, batch_size=batch_size, seen=seen
    )
    return measure_detections(examples.objects, found, names, protocol)


def names_of(
    detector: keras.Model, truth: Objects, class_names: Sequence[str] | None
) -> tuple[str, ...]:
    """The names of a detector's classes: those given, its own, or numbers.

    Raises:
        ValueError: If there are not as many as it has classes, or a label has none.
    """
    count = getattr(detector, "num_classes", None)
    names = class_names or getattr(detector, "class_names", None)
    most = 1 + int(truth.labels.max(initial=-1))
    names = tuple(names or map(str, range(count or most)))
    if len(names) != (count or len(names)) or most > len(names):
        raise ValueError(
            "There must be a name for each class of the detector, and each label must be "
            f"one of these. Received: {len(names)} names, {count or 'unknown'} classes, "
            f"and labels from 0 to {most - 1}."
        )
    return names


def measure_detections(
    truth: Objects,
    detections: Sequence[Mapping[str, np.ndarray]],
    class_names: Sequence[str],
    protocol: str = "voc",
) -> dict[str, Any]:
    """Compares detections with what is there, by VOC's or COCO's rule.

    Args:
        truth: The true objects of each image.
        detections: As of `voc_precision`.
        class_names: One per label.
        protocol: ``"voc07"``, the mean precision at 11 recalls; ``"voc"``, the area under
            the curve, both at an IoU of 0.5; or ``"coco"``, the mean over IoUs from 0.50
            to 0.95, which needs the extra ``detection``.

    Returns:
        A dictionary fit for JSON. Precisions and recalls are in percent, and `None` where
        there is no object.
        ``protocol``;
        ``average_precision``, the mean of the classes;
        ``n``, images;
        ``objects`` that count;
        ``ignored``, objects that don't: crowds and, by VOC's rules, difficult ones;
        ``detections``, all of them;
        ``by_class``, dictionaries with ``name``, ``average_precision``, ``objects``,
        ``detections`` and, by VOC's rules, ``found``: objects detected at any score.
        By COCO's rule also its twelve numbers, by the names of `CocoPrecision`, and the
        ``library`` that computed them.

    Raises:
        ImportError: If COCO's rule is asked for and no library has it.
        ValueError: As of `voc_precision`, or if there is no such protocol.
    """
    rule = find(BOX_PROTOCOLS, protocol, kind="protocol of detection").rule
    classes = len(class_names)
    # COCO knows no difficult objects.
    counts = ~truth.crowd if rule == "coco" else ~(truth.crowd | truth.difficult)
    if rule == "coco":
        result, more = _by_coco(truth, detections, classes)
    else:
        result, more = _by_voc(truth, detections, classes, rule)
    objects = np.bincount(truth.labels[counts], minlength=classes)
    labels = [np.zeros(0, int), *(one["classes"] for one in detections)]
    found = np.bincount(np.concatenate(labels).astype(int), minlength=classes)
    rows = zip(class_names, more, objects, found, strict=True)
    return {
        "protocol": protocol,
        **result,
        "n": len(detections),
        "objects": int(counts.sum()),
        "ignored": int((~counts).sum()),
        "detections": int(found.sum()),
        "by_class": [
            {"name": name, **own, "objects": int(there), "detections": int(seen)}
            for name, own, there, seen in rows
        ],
    }


def _by_voc(truth, detections, classes, rule):
    """The mean, and for each class its average precision and the objects found."""
    measured = voc_precision(truth, detections, classes, rule=rule)
    each = [
        {"average_precision": _number(one.average_precision), "found": one.found}
        for one in measured.by_class
    ]
    return {"average_precision": _number(measured.mean)}, each


def _by_coco(truth, detections, classes):
    """The mean and COCO's numbers, and for each class its average precision."""
    values = asdict(coco_precision(truth, detections, classes))
    each = [{"average_precision": _number(value)} for value in values.pop("by_class")]
    library = values.pop("library")
    numbers = {name: _number(values[name]) for name in TWELVE}
    return {"average_precision": numbers["ap"], **numbers, "library": library}, each


def _number(value):
    """In percent, as JSON has it, which knows no NaN."""
    return None if math.isnan(value) else 100 * float(value)


def as_table(result: Mapping[str, Any]) -> str:
    """A result as lines for a terminal, a class in each.

    Args:
        result: As of `measure_detections`; what it was tested by, if that is told.
    """
    how = f" with {result['tested_by']}" if result.get("tested_by") else ""
    ignored = counted(
        result["ignored"], "difficult object or crowd", "difficult or crowds"
    )
    lines = [
        f"mean AP {percent(result['average_precision'])} by {result['protocol']}{how}, "
        f"{counted(result['n'], 'image')}, {counted(result['objects'], 'object')}"
        + f" and {ignored} left out"
        * bool(result["ignored"])
    ]
    if "ap50" in result:
        said = [
            f"{name[:2].upper()}{name[2:]} {percent(result[name])}".replace("_", " ")
            for name in TWELVE
        ]
        lines += [", ".join(said[:6]), ", ".join(said[6:])]
    rows = result["by_class"]
    width = max([5, *(len(row["name"]) for row in rows)])
    with_found = "found" in rows[0]
    head = f"{'class':{width}}  {'AP':>8}  {'objects':>8}"
    lines.append(head + f"  {'found':>8}" * with_found + f"  {'detections':>10}")
    for row in rows:
        found = f"  {row['found']:8,}" if with_found else ""
        lines.append(
            f"{row['name']:{width}}  {percent(row['average_precision']):>8}  "
            f"{row['objects']:8,}{found}  {row['detections']:10,}"
        )
    return "\n".join(lines)
