"""A trained or converted detector as a function of one image of any size."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Mapping
from functools import partial
from typing import TypeAlias

import keras
import numpy as np

from keras_resnet.config.box_batches import BoxBatches
from keras_resnet.config.detector import DetectorSpec
from keras_resnet.data.box_inputs import on_canvas
from keras_resnet.data.canvases import to_original
from keras_resnet.devices.host import tensorflow
from keras_resnet.devices.precision import computing_in
from keras_resnet.files import local_path
from keras_resnet.runs.from_record import record_in
from keras_resnet.runs.record import is_detectors

Compute: TypeAlias = Callable[[np.ndarray, np.ndarray], Mapping[str, np.ndarray]]
Detect: TypeAlias = Callable[[np.ndarray], dict[str, np.ndarray]]


def is_detector(path: str | os.PathLike[str]) -> bool:
    """Whether a folder holds a trained or converted detector, by its record.

    Args:
        path: Any path, also one that leads nowhere.
    """
    folder = local_path(path)
    try:
        record = json.loads(record_in(folder).read_text(encoding="utf-8"))
    except (OSError, ValueError):  # Whoever reads it says what is wrong.
        return False
    return isinstance(record, dict) and is_detectors(record)


def settings_of(spec: DetectorSpec) -> BoxBatches:
    """How the images of a published detector are resized, one at a time."""
    shorter, longer = spec.sides
    return BoxBatches(batch_size=1, shorter_sides=(shorter,), longer_side=longer)


def by_keras(model: keras.Model) -> Compute:
    """A detector as what `detect_by` takes. Threads wait for each other."""
    lock = threading.Lock()

    def compute(images, shapes):
        with lock, computing_in("float32"):
            found = model.predict_on_batch({"images": images, "image_shapes": shapes})
        return {
            name: keras.ops.convert_to_numpy(values) for name, values in found.items()
        }

    return compute


def detect_by(compute: Compute, settings: BoxBatches) -> Detect:
    """Makes a function that finds the objects on an image of any size.

    Args:
        compute: From images ``(1, height, width, 3)`` and their heights and widths without
            padding ``(1, 2)`` to ``boxes``, ``scores``, ``classes`` and ``valid``.
        settings: How images are resized and padded for it.

    Returns:
        Function from uint8 ``(height, width, 3)`` to ``boxes``, ``scores``, ``classes`` and
        ``count``, as of `export.detector.export_detector`, of one image.
    """
    tf = tensorflow()
    prepare = tf.function(
        partial(on_canvas, settings=settings),
        input_signature=[tf.TensorSpec([None, None, 3], tf.uint8)],
    )

    def detect(image):
        with tf.device("CPU"):
            prepared, size = (one.numpy()[np.newaxis] for one in prepare(image))
        found = compute(prepared, size)
        boxes = to_original(found["boxes"], size, np.array([image.shape[:2]]))[0]
        valid = found["valid"][0]
        return {
            "boxes": np.where(valid[:, np.newaxis], boxes, np.float32(-1)),
            "scores": found["scores"][0],
            "classes": found["classes"][0],
            "count": np.int32(valid.sum()),
        }

    return detect
