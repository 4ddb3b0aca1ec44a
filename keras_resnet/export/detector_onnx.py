"""Writes a detector to ONNX: from resized images to boxes, without decoding."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np

from keras_resnet.devices.host import tensorflow
from keras_resnet.devices.log_lines import quiet
from keras_resnet.export.converters import FORM
from keras_resnet.export.detector import check_detector, compiling_for_xla
from keras_resnet.export.load import FILES, onnx_session
from keras_resnet.files import local_path, replaced, to_json
from keras_resnet.targets import check_target

OPSET = 17
INPUTS = ("images", "image_shapes")
OUTPUTS = ("boxes", "scores", "classes", "valid")


def export_onnx(
    model: keras.Model,
    path: str | os.PathLike[str],
    *,
    class_names: Sequence[str],
    preprocessing: Mapping[str, Any],
    finish: Callable[[pathlib.Path], object] | None = None,
    overwrite: bool = False,
) -> pathlib.Path:
    """Writes a folder with ``model.onnx``, ``labels.txt`` and ``preprocessing.json``.

    The network takes one image at a time:

    - ``images``, float32 ``(1, height, width, 3)``, RGB from 0 to 255, resized, and padded
      with 0 at the bottom and at the right to multiples of what ``preprocessing.json``
      calls ``multiple``;
    - ``image_shapes``, float32 ``(1, 2)``, height and width without this padding.

    It gives what the detector gives: ``boxes``, float32 ``(1, k, 4)``, in pixels of what it
    took; ``scores``, float32, ``classes``, int32, and ``valid``, bool, ``(1, k)``.

    Args:
        model: As of `detector.export_detector`.
        path: The folder. It appears when complete.
        class_names: Names (str) of the model's classes, in the order of their numbers.
        preprocessing: How images are resized and padded, for `json.dumps`.
        finish: Function of the folder, called before it appears: it may write into it,
            and what it raises stops the export.
        overwrite: Whether to replace the folder if it exists.

    Returns:
        `pathlib.Path` of the folder.

    Raises:
        FileExistsError: If the folder exists and ``overwrite`` is false.
        ImportError: If tf2onnx isn't installed.
        ValueError: If the model can't be exported, or the names don't fit it.
        RuntimeError: On backends other than TensorFlow.
    """
    target = local_path(path)
    check_detector(model, class_names)
    check_target(target, FORM, overwrite)
    with replaced(target, FORM) as folder:
        folder.mkdir()
        with quiet():
            _write(model, folder / FILES["onnx"])
        labels = "".join(f"{name}\n" for name in class_names)
        for name, text in {
            "labels.txt": labels,
            "preprocessing.json": to_json(preprocessing),
            FORM: to_json({"format": "onnx", "precision": "float32"}),
        }.items():
            (folder / name).write_text(text, encoding="utf-8")
        if finish:
            finish(folder)
    return target


def _write(model, file):
    import tf2onnx

    tf = tensorflow()
    specs = [
        tf.TensorSpec([1, None, None, 3], tf.float32, name=INPUTS[0]),
        tf.TensorSpec([1, 2], tf.float32, name=INPUTS[1]),
    ]

    @tf.function(input_signature=specs)
    def detect(images, image_shapes):
        batch = {"images": images, "image_shapes": image_shapes}
        return model(batch, training=False)

    # ONNX has none of TensorFlow's kernels either, so that it gets what XLA gets.
    with compiling_for_xla(model):
        tf2onnx.convert.from_function(
            detect, input_signature=specs, opset=OPSET, output_path=str(file)
        )


def open_onnx(
    folder: pathlib.Path,
) -> Callable[[np.ndarray, np.ndarray], dict[str, np.ndarray]]:
    """Loads a detector that `export_onnx` wrote.

    Args:
        folder: The folder.

    Returns:
        Function from images and their shapes to the network's outputs by name.
    """
    session = onnx_session(folder)

    def compute(images, shapes):
        given = (np.asarray(one, np.float32) for one in (images, shapes))
        feed = dict(zip(INPUTS, given, strict=True))
        return dict(zip(OUTPUTS, session.run(list(OUTPUTS), feed), strict=True))

    return compute
