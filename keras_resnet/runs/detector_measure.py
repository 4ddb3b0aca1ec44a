"""How good what a detector finds is, for a run's record."""

from __future__ import annotations

from typing import Any

import numpy as np

from keras_resnet.data.boxes import BoxedExamples
from keras_resnet.detection import voc_precision


def precision_of(
    examples: BoxedExamples,
    found: list[dict[str, np.ndarray]],
    class_names: tuple[str, ...],
) -> dict[str, Any]:
    """Average precision in percent by VOC's rule of the area, at an IoU of 0.5.

    Returns:
        ``average_precision``, `None` if no class has an object, and ``by_class``, of the
        classes that have one.
    """
    result = voc_precision(examples.objects, found, len(class_names))
    by_class = {
        name: 100 * one.average_precision
        for name, one in zip(class_names, result.by_class, strict=True)
        if one.objects
    }
    return {
        "average_precision": 100 * result.mean if by_class else None,
        "by_class": by_class,
    }
