"""A trained detector, or an exported form of one, as what `serving` asks for answers."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from keras_resnet.config.box_batches import BoxBatches
from keras_resnet.config.values import from_values
from keras_resnet.data.box_inputs import decode_upright
from keras_resnet.devices.find import warn_of_unused_card
from keras_resnet.devices.host import plain_message, tensorflow
from keras_resnet.export.detector_onnx import open_onnx
from keras_resnet.export.load import find_exported
from keras_resnet.files import read_json
from keras_resnet.runs.detector_load import (
    Detect,
    by_keras,
    detect_by,
    is_detector,
)
from keras_resnet.runs.load import load

if TYPE_CHECKING:  # It imports LitServe.
    from keras_resnet.serving.servables import DetectorServable


def serves_detector(path: str | os.PathLike[str]) -> bool:
    """Whether a folder holds a detector or an exported form of one.

    Args:
        path: Any path, also one that leads nowhere.
    """
    try:
        beside = _beside(*find_exported(path))
        found = read_json(beside / "preprocessing.json")
        return isinstance(found, dict) and "shorter_sides" in found
    except (OSError, ValueError):
        return is_detector(path)


def servable(path: str | os.PathLike[str]) -> DetectorServable:
    """Loads a detector, or an exported form of one, for `serving.server.serve`.

    Args:
        path: A folder of which `serves_detector` is true.

    Returns:
        A `servables.DetectorServable`.
    """
    from keras_resnet.serving.servables import DetectorServable

    try:
        folder, format = find_exported(path)
    except FileNotFoundError:
        found = load(path)
        warn_of_unused_card()
        detect = detect_by(by_keras(found.model), found.batches)
        return DetectorServable(detect, decoder(), found.classes)
    names = names_beside(folder, format)
    return DetectorServable(exported(folder, format), decoder(), names)


def names_beside(folder: pathlib.Path, format: str) -> tuple[str, ...]:
    """The names of the classes of a detector's export.

    Args:
        folder: As of `exported`.
        format: As of `exported`.
    """
    text = (_beside(folder, format) / "labels.txt").read_text(encoding="utf-8")
    return tuple(text.removesuffix("\n").split("\n"))


def _beside(folder, format):
    """Where names and preprocessing lie."""
    return folder / "assets.extra" if format == "saved_model" else folder


def exported(folder: pathlib.Path, format: str) -> Detect:
    """A function as of `detector_load.detect_by`, by a detector's export.

    Args:
        folder: The export's, of a SavedModel a version's.
        format: ``"saved_model"`` or ``"onnx"``.
    """
    if format == "onnx":
        settings = from_values(BoxBatches, read_json(folder / "preprocessing.json"))
        return detect_by(open_onnx(folder), settings)
    tf = tensorflow()
    loaded = tf.saved_model.load(str(folder))

    def detect(image):
        # A signature doesn't keep its variables alive: it is taken from `loaded`.
        found = loaded.signatures["images"](images=tf.constant(image[np.newaxis]))
        return {name: values.numpy()[0] for name, values in found.items()}

    return detect


def decoder() -> Callable[[bytes], np.ndarray]:
    """A function from an image file's bytes to uint8 ``(height, width, 3)``, upright.

    It raises `ValueError` if they can't be decoded.
    """
    tf = tensorflow()
    graph = tf.function(decode_upright, input_signature=[tf.TensorSpec([], tf.string)])

    def decode(contents):
        try:
            with tf.device("CPU"):
                return graph(contents).numpy()
        except tf.errors.InvalidArgumentError as error:
            raise ValueError(plain_message(error)) from error

    return decode
