"""Loads a trained or converted detector from its folder.

This is the one place that knows how the folder of a detector tells what it is: in
``record.json`` or ``source.json``, ``network_values`` are those of a `DetectorSpec`, and
``preprocessing`` those of the `BoxBatches` by which its images are resized.
"""

from __future__ import annotations

import json
import os
import pathlib
import threading
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

import keras
import numpy as np

from keras_resnet.config.box_batches import BoxBatches
from keras_resnet.config.class_names import check_class_names, told_apart
from keras_resnet.config.detector import DetectorSpec
from keras_resnet.config.values import from_values
from keras_resnet.data.box_inputs import on_canvas
from keras_resnet.data.canvases import to_original
from keras_resnet.detection.own_files import keras_file
from keras_resnet.devices.host import tensorflow
from keras_resnet.devices.precision import computing_in
from keras_resnet.files import local_path
from keras_resnet.runs.from_record import record_in, record_of

Compute: TypeAlias = Callable[[np.ndarray, np.ndarray], Mapping[str, np.ndarray]]
Detect: TypeAlias = Callable[[np.ndarray], dict[str, np.ndarray]]


@dataclass(frozen=True)
class Detector:
    """A trained detector with all that is needed to use it.

    Attributes:
        model: A `FasterRCNN`.
        classes: Names of its classes, in the order of their numbers.
        settings: How images are resized and padded for it.
        folder: Where it lies.
    """

    model: keras.Model
    classes: tuple[str, ...]
    settings: BoxBatches
    folder: pathlib.Path


def is_detectors(record: Mapping[str, Any]) -> bool:
    """Whether the record of a run, or of what was converted, is that of a detector."""
    return "neck" in (record.get("network_values") or {})


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


def is_detectors_file(path: str | os.PathLike[str]) -> bool:
    """Whether a ``.keras`` file holds a detector, without building it.

    Args:
        path: Any path.
    """
    path = local_path(path)
    try:
        with zipfile.ZipFile(path) as archive:
            config = json.loads(archive.read("config.json"))
    except (OSError, KeyError, ValueError, zipfile.BadZipFile):
        return False
    return (
        isinstance(config, dict)
        and config.get("registered_name") == "keras_resnet>FasterRCNN"
    )


def settings_of(spec: DetectorSpec) -> BoxBatches:
    """How the images of a published detector are resized, one at a time."""
    shorter, longer = spec.sides
    return BoxBatches(batch_size=1, shorter_sides=(shorter,), longer_side=longer)


@computing_in("float32")
def load_detector(path: str | os.PathLike[str]) -> Detector:
    """Loads a trained detector, or what `keras-resnet convert` wrote of one.

    Args:
        path: The folder.

    Returns:
        A `Detector`.

    Raises:
        FileNotFoundError: If there is no finished run.
        ValueError: If its files can't be read, or don't fit each other.
    """
    folder = local_path(path)
    record = record_of(folder)
    model = keras_file(folder / "model.keras")
    classes = told_apart(record["classes"])
    try:
        settings = from_values(BoxBatches, record["preprocessing"])
        check_class_names(classes)
        if len(classes) != model.num_classes:
            raise ValueError(
                f"`classes` must hold {model.num_classes} names. Received: {len(classes)}."
            )
    except ValueError as error:
        raise ValueError(
            f"{record_in(folder)} was damaged or changed after it was written: {error} "
            "Put a copy of it back, or undo the change."
        ) from error
    if keras.backend.backend() == "tensorflow":
        # XLA would compile each size of an image anew.
        model.jit_compile = False
    return Detector(model, classes, settings, folder)


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
