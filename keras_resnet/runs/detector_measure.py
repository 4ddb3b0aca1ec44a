"""What a detector finds on images with boxes, and how good it is, for a run's record."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from keras_resnet.config.box_batches import BoxBatches
from keras_resnet.data.box_pipelines import evaluation_batches
from keras_resnet.data.boxes import BoxedExamples
from keras_resnet.data.canvases import per_image, to_original
from keras_resnet.detection import voc_precision


def detect(
    model: keras.Model, examples: BoxedExamples, settings: BoxBatches
) -> list[dict[str, np.ndarray]]:
    """What a detector finds on each of some images.

    Args:
        model: A `FasterRCNN`.
        examples: The images.
        settings: How they are resized.

    Returns:
        For each image, in the order of ``examples``, ``boxes`` ``(n, 4)`` in pixels of the
        image as it was, ``scores`` and ``classes`` ``(n,)``, the best one first.
    """
    found: list[Any] = [None] * examples.size
    for batch, about in evaluation_batches(examples, settings):
        shown = {name: np.asarray(batch[name]) for name in ("images", "image_shapes")}
        said = {
            name: keras.ops.convert_to_numpy(values)
            for name, values in model.predict_on_batch(shown).items()
        }
        valid = said.pop("valid")
        said["boxes"] = to_original(
            said["boxes"], shown["image_shapes"], np.asarray(about["original_shapes"])
        )
        places = np.asarray(about["indices"])
        for place, one in zip(places, per_image(said, valid), strict=True):
            found[place] = one
    return found


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
