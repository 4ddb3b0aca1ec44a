"""How good what a detector finds is, for a run's record."""

from __future__ import annotations

from typing import Any

import numpy as np

from keras_resnet.data.boxes import BoxedExamples
from keras_resnet.detection.evaluation import measure_detections


def precision_of(
    examples: BoxedExamples,
    found: list[dict[str, np.ndarray]],
    class_names: tuple[str, ...],
) -> dict[str, Any]:
    """Average precision in percent by VOC's rule of the area, at an IoU of 0.5.

    Returns:
        ``average_precision`` and ``by_class``, as of `measure_detections`.
    """
    result = measure_detections(examples.objects, found, class_names, "voc")
    return {key: result[key] for key in ("average_precision", "by_class")}
