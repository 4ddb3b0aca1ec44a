"""A run, or an exported form of one, as what `serving` asks for answers."""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING

import keras

from keras_resnet.data.images import prepare
from keras_resnet.devices.host import plain_message, tensorflow
from keras_resnet.export.load import find_exported
from keras_resnet.files import local_path
from keras_resnet.runs import detector_serve
from keras_resnet.runs.predict import load_classifier

if TYPE_CHECKING:  # It imports LitServe.
    from keras_resnet.serving.servables import AnyServable


def servable(folder: str | os.PathLike[str]) -> AnyServable:
    """Loads a run, or an exported form of one, for `serving.server.serve`.

    Args:
        folder: As of `load_classifier`, or a detector's. Of a classifier's run its own
            SavedModel answers on TensorFlow, where there is one.

    Returns:
        A `servables.Servable`, or of a detector a `servables.DetectorServable`.
    """
    if detector_serve.serves_detector(folder):
        return detector_serve.servable(folder)
    from keras_resnet.serving.servables import Servable

    found = load_classifier(_saved_model_of(folder))
    preprocessing = found.preprocessing
    shape = (*preprocessing.size, preprocessing.channels)
    return Servable(found.scores, _decoder(preprocessing), found.classes, shape)


def _saved_model_of(folder):
    """The SavedModel of a run, which computes faster than Keras; else the folder."""
    folder = local_path(folder)
    if keras.backend.backend() != "tensorflow" or not (folder / "record.json").exists():
        return folder
    try:
        find_exported(folder / "saved_model")
    except FileNotFoundError:
        return folder
    return folder / "saved_model"


def _decoder(preprocessing):
    """A function from an image file's bytes to uint8 of the model's size, in a graph."""
    tf = tensorflow()
    graph = tf.function(
        partial(prepare, preprocessing=preprocessing),
        input_signature=[tf.TensorSpec([], tf.string)],
    )

    def from_bytes(contents):
        try:
            with tf.device("CPU"):
                return graph(contents).numpy()
        except tf.errors.InvalidArgumentError as error:
            raise ValueError(plain_message(error)) from error

    return from_bytes
