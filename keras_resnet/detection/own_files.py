"""Reads the files that Keras writes of our detectors."""

from __future__ import annotations

import pathlib
import warnings
from typing import TYPE_CHECKING

import keras
import numpy as np

from keras_resnet.detection import heads
from keras_resnet.detection.torch_names import PREDICTOR
from keras_resnet.files import damage_of

if TYPE_CHECKING:
    from keras_resnet.detection.faster_rcnn import FasterRCNN

OWN = (".keras", ".h5")


def read_detector(
    path: pathlib.Path, model: FasterRCNN, classes_may_differ: bool
) -> FasterRCNN:
    """The detector in a file, whose weights are to go into another one.

    Args:
        path: Of a ``.keras`` or ``.weights.h5`` file.
        model: The other one. Of a ``.weights.h5`` file the result is like it, and where the
            file is for other classes the two layers that depend on these are its own.
        classes_may_differ: Whether the file may be for another number of classes.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it holds no detector, is damaged, or doesn't fit.
    """
    if path.suffix == ".h5":
        return _in_weights_file(path, model, classes_may_differ)
    source = keras_file(path)
    if source.num_classes != model.num_classes and not classes_may_differ:
        raise _of_other_classes(path, model)
    return source


def _of_other_classes(path, model):
    return ValueError(
        "The weights must be of as many classes as the model: does `num_classes` match "
        f"them? Received: {path}, and num_classes={model.num_classes}."
    )


def keras_file(path: pathlib.Path) -> FasterRCNN:
    """Loads a detector that Keras saved, not compiled.

    Args:
        path: Of the ``.keras`` file.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it holds no detector, or is damaged.
    """
    from keras_resnet.detection.faster_rcnn import FasterRCNN

    _check_file(path)
    if found := damage_of(path):
        raise ValueError(
            f"{path} can't be used: {found}. Make it again, or put a copy of it back."
        )
    model = keras.saving.load_model(path, compile=False)
    if not isinstance(model, FasterRCNN):
        raise ValueError(
            f"{path} must hold a detector, a FasterRCNN. Received: a "
            f"{type(model).__name__}. Give a network that classifies as "
            "`backbone_weights`."
        )
    return model


def _check_file(path):
    if not path.is_file():
        raise FileNotFoundError(
            f"There must be a detector's weights at {path}. Received: no file there."
        )


def _in_weights_file(path, model, classes_may_differ):
    """A detector like the model, with what a ``.weights.h5`` file has.

    Such a file doesn't tell its number of classes. So all variables begin with NaN: where
    that is left, the file's are of another shape.
    """
    _check_file(path)
    source = type(model).from_config(model.get_config())
    layers = heads.parts(source.features, source.box_head)
    for layer in layers:
        layer.set_weights([np.full_like(one, np.nan) for one in layer.get_weights()])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Keras names what it skipped.
        source.load_weights(path, skip_mismatch=True)
    left = [one for one in layers if any(np.isnan(w).any() for w in one.get_weights())]
    if wrong := [layer.name for layer in left if layer.name not in PREDICTOR]:
        raise ValueError(
            f"{path} must be of a detector like {model.spec.name!r}. Received: one with "
            f"other weights, or with NaN, in {', '.join(wrong[:5])}."
        )
    if left and not classes_may_differ:
        raise _of_other_classes(path, model)
    for layer in left:
        layer.set_weights(model.box_head.get_layer(layer.name).get_weights())
    return source
