"""Average precision by COCO's rule, computed by COCO's own library or a faster one.

Lin et al. 2014; the rule is at cocodataset.org, "Detection evaluation": the mean over IoUs
of 0.50, 0.55, … 0.95 and over classes, of at most 100 detections per image.
"""

from __future__ import annotations

import contextlib
import importlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from keras_resnet.config.checks import check_choice
from keras_resnet.data.boxes import Objects
from keras_resnet.detection.average_precision import check

# Where each library has its classes of ground truth and of evaluation. They give equal
# numbers (tests/detection/test_coco.py); pycocotools is COCO's own.
LIBRARIES: Mapping[str, tuple[tuple[str, str], tuple[str, str]]] = {
    "pycocotools": (("pycocotools.coco", "COCO"), ("pycocotools.cocoeval", "COCOeval")),
    "faster_coco_eval": (
        ("faster_coco_eval", "COCO"),
        ("faster_coco_eval", "COCOeval_faster"),
    ),
}


@dataclass(frozen=True)
class CocoPrecision:
    """COCO's twelve numbers, each from 0 to 1; NaN where no object counts.

    Attributes:
        ap: Average precision over IoUs from 0.50 to 0.95.
        ap50, ap75: At an IoU of 0.50, and of 0.75.
        ap_small, ap_medium, ap_large: Of objects of up to 32x32 pixels, of up to 96x96, and
            of others, by `Objects.areas`.
        ar1, ar10, ar100: Average recall with 1, 10 and 100 detections per image.
        ar_small, ar_medium, ar_large: With 100, of objects of these sizes.
        by_class: ``ap`` of each class.
        library: What computed it, a key of `LIBRARIES`.
    """

    ap: float
    ap50: float
    ap75: float
    ap_small: float
    ap_medium: float
    ap_large: float
    ar1: float
    ar10: float
    ar100: float
    ar_small: float
    ar_medium: float
    ar_large: float
    by_class: tuple[float, ...]
    library: str


def coco_precision(
    truth: Objects,
    detections: Sequence[Mapping[str, np.ndarray]],
    classes: int,
    *,
    library: str | None = None,
) -> CocoPrecision:
    """Computes average precision and recall by COCO's rule.

    Args:
        truth: The true objects of each image. Detections in crowds are ignored; COCO knows
            no difficult objects, so these count as others do.
        detections: As of `voc_precision`.
        classes: Number of classes.
        library: A key of `LIBRARIES`. Defaults to the first one that is installed.

    Returns:
        `CocoPrecision`.

    Raises:
        ImportError: If the library, or each of them, isn't installed.
        ValueError: As of `voc_precision`.
    """
    check(truth, detections, classes)
    name, coco, evaluation = _library(library)
    images = [{"id": image + 1} for image in range(len(detections))]
    categories = [{"id": label + 1, "name": str(label)} for label in range(classes)]
    shared = {"images": images, "categories": categories, "info": {}}
    objects = _annotations(truth.of(image) for image in range(len(images)))
    found = _annotations(
        {
            "labels": np.asarray(one["classes"]),
            "scores": np.asarray(one["scores"]),
            "boxes": np.asarray(one["boxes"]),
        }
        for one in detections
    )
    with contextlib.redirect_stdout(io.StringIO()):  # They print tables.
        # Not by `loadRes`, which fails where nothing was detected.
        sides = []
        for rows in (objects, found):
            side = coco()
            side.dataset = {**shared, "annotations": rows}
            side.createIndex()
            sides.append(side)
        run = evaluation(*sides, "bbox")
        run.evaluate()
        run.accumulate()
        run.summarize()
    # (IoUs, recalls, classes, sizes of objects, numbers of detections); -1 is nothing.
    precisions = run.eval["precision"][:, :, :, 0, -1]
    by_class = [_mean(precisions[:, :, label]) for label in range(classes)]
    twelve = [float(value) if value >= 0 else np.nan for value in run.stats[:12]]
    return CocoPrecision(*twelve, by_class=tuple(by_class), library=name)


def _library(name):
    """A library's name and its two classes."""
    if name is not None:
        check_choice("library", name, tuple(LIBRARIES))
    for one in [name] if name else LIBRARIES:
        try:
            classes = [
                getattr(importlib.import_module(module), attribute)
                for module, attribute in LIBRARIES[one]
            ]
        except ImportError:
            continue
        return one, *classes
    raise ImportError(
        f"COCO's average precision needs {' or '.join([name] if name else LIBRARIES)}, "
        "which isn't installed. Run `pip install 'keras-residual[detection]'`; VOC's rules "
        "need neither."
    )


def _annotations(images):
    """COCO's rows for the objects or detections of images, numbered from 1."""
    rows = []
    for image, columns in enumerate(images):
        for index, label in enumerate(columns["labels"]):
            x1, y1, x2, y2 = map(float, columns["boxes"][index])
            row = {
                "id": len(rows) + 1,  # 0 would mean "no object" to pycocotools.
                "image_id": image + 1,
                "category_id": int(label) + 1,
                "bbox": [x1, y1, x2 - x1, y2 - y1],
                "area": (x2 - x1) * (y2 - y1),
                "iscrowd": 0,
            }
            if "scores" in columns:
                row["score"] = float(columns["scores"][index])
            else:
                row["area"] = float(columns["areas"][index])
                row["iscrowd"] = int(columns["crowd"][index])
            rows.append(row)
    return rows


def _mean(precisions):
    """The mean of those that there are."""
    known = precisions[precisions > -1]
    return float(known.mean()) if known.size else np.nan


def coco_results(
    detections: Sequence[Mapping[str, np.ndarray]],
    image_ids: Sequence[str | int],
    category_ids: Sequence[int],
) -> list[dict[str, Any]]:
    """Writes detections in COCO's form of results, for its server and other programs.

    Args:
        detections: As of `voc_precision`.
        image_ids: What the data set calls each image, as of `BoxedExamples.ids`.
        category_ids: COCO's number of each class, as of `BoxedSplits.category_ids`.

    Returns:
        A dictionary for each detection, fit for JSON: ``image_id``, ``category_id``,
        ``bbox`` (``x``, ``y``, width and height) and ``score``.
    """
    return [
        {
            "image_id": image,
            "category_id": int(category_ids[int(label)]),
            "bbox": [float(v) for v in (*box[:2], *(box[2:] - box[:2]))],
            "score": float(score),
        }
        for image, found in zip(image_ids, detections, strict=True)
        for box, score, label in zip(
            np.asarray(found["boxes"]), found["scores"], found["classes"], strict=True
        )
    ]
