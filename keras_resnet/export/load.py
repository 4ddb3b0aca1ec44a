"""Loads an exported classifier of any form."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from keras_resnet.config.class_names import told_apart
from keras_resnet.devices import limits
from keras_resnet.devices.host import plain_message, tensorflow
from keras_resnet.devices.log_lines import without_log_lines
from keras_resnet.files import local_path, read_json
from keras_resnet.pixels import as_uint8

FILES = {"onnx": "model.onnx", "litert": "model.tflite", "openvino": "model.xml"}
# OpenVINO's names of what it computes in; 8-bit networks are float32 in between.
OPENVINO_PRECISIONS = {"float16": "f16", "bfloat16": "bf16"}


@dataclass(frozen=True)
class Exported:
    """An exported classifier.

    Attributes:
        run: Function from uint8 images, at least one, to probabilities.
        size: Height, width and channels of its images.
        class_names: Names of the classes, in the order of the scores.
        preprocessing: What images go through before: ``preprocessing.json``.
        format: ``"saved_model"``, ``"onnx"``, ``"litert"`` or ``"openvino"``.
    """

    run: Callable[[np.ndarray], np.ndarray]
    size: tuple[int, int, int]
    class_names: tuple[str, ...]
    preprocessing: dict[str, Any]
    format: str

    def scores(self, images: np.ndarray) -> np.ndarray:
        """Computes the probabilities of all classes.

        Args:
            images: ``(N, H, W, C)`` of the model's size, RGB or greyscale, with values as
                `pixels.as_uint8` takes them; N may be 0, and all of them are in memory at
                once.

        Returns:
            float32 ``(N, classes)``.

        Raises:
            ValueError: If the images have other values or another shape.
        """
        images = as_uint8(images)
        if images.shape[1:] != self.size:
            raise ValueError(
                f"`images` must be of shape (N, {', '.join(map(str, self.size))}). "
                f"Received: shape {images.shape}."
            )
        if not len(images):
            return np.zeros((0, len(self.class_names)), np.float32)
        return np.asarray(self.run(np.ascontiguousarray(images)), np.float32)


def load_exported(path: str | os.PathLike[str]) -> Exported:
    """Loads what `converters.export_classifier` or `export_saved_model` wrote.

    Args:
        path: The folder; of a SavedModel a version's, or that of all versions, whose
            highest one is taken.

    Returns:
        An `Exported`.

    Raises:
        FileNotFoundError: If there is no exported network, or what lies beside it is
            missing.
        ValueError: If these files can't be read.
        ImportError: If the format's runtime is not installed.
    """
    folder, format = find_exported(path)
    beside = folder / "assets.extra" if format == "saved_model" else folder
    labels, preprocessing_file = beside / "labels.txt", beside / "preprocessing.json"
    for file in (labels, preprocessing_file):
        if not file.is_file():
            raise FileNotFoundError(
                f"{file} must lie beside the exported network. Export it again with "
                "`keras-resnet export`."
            )
    preprocessing = _object(preprocessing_file, "size", "channels")
    form = folder / "form.json"
    precision = _object(form, "precision")["precision"] if form.is_file() else None
    names = _names(labels)
    try:
        size = (*map(int, preprocessing["size"]), int(preprocessing["channels"]))
        run = _OPENERS[format](folder, precision)
        classes = np.shape(run(np.zeros((1, *size), np.uint8)))[1]
        if classes != len(names):
            raise ValueError(
                f"labels.txt has {len(names)} names for {classes} classes."
            )
    except ImportError:
        raise
    except Exception as error:  # Each runtime has its own.
        raise ValueError(
            f"{folder} must be as `keras-resnet export` wrote it. Reading it failed: "
            f"{type(error).__name__}: {' '.join(plain_message(error).split())[:200]}"
        ) from error
    return Exported(
        run=run,
        size=size,
        class_names=names,
        preprocessing=preprocessing,
        format=format,
    )


def _object(path: pathlib.Path, *keys: str) -> dict[str, Any]:
    """Reads a JSON file that must be an object with these keys, and may have others."""
    try:
        found = read_json(path)
        if not isinstance(found, dict):
            raise ValueError(f"Received: {found!r}.")
        if missing := [key for key in keys if key not in found]:
            raise ValueError(f"Missing: {', '.join(missing)}.")
    except ValueError as error:
        raise ValueError(
            f"{path} must be as `keras-resnet export` wrote it, an object with the keys "
            f"{', '.join(keys)}. {error} Export it again."
        ) from error
    return found


def _names(path: pathlib.Path) -> tuple[str, ...]:
    """The class names in a ``labels.txt``, one a line."""
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path} must be UTF-8, as `keras-resnet export` wrote it. Reading it failed: "
            f"{error}. Export it again."
        ) from error
    # Exports of earlier versions may have the same name twice.
    return told_apart(text.removesuffix("\n").split("\n"))


def find_exported(path: str | os.PathLike[str]) -> tuple[pathlib.Path, str]:
    """Finds where an exported network lies, and its format.

    Raises:
        FileNotFoundError: If there is none.
    """
    path = local_path(path)
    for format, name in FILES.items():
        if (path / name).is_file():
            return path, format
    graphs = [*path.glob("saved_model.pb"), *path.glob("*/saved_model.pb")]
    versions = [graph.parent for graph in graphs if graph.parent.name.isdecimal()]
    if path in (graph.parent for graph in graphs):
        return path, "saved_model"
    if versions:  # One that is being written is passed over.
        return max(versions, key=lambda folder: int(folder.name)), "saved_model"
    raise FileNotFoundError(
        f"{path} must hold an exported network: {', '.join(FILES.values())} or a "
        "SavedModel. Make one with `keras-resnet export`."
    )


def _open_saved_model(folder, precision):
    tf = tensorflow()
    loaded = tf.saved_model.load(str(folder))
    signature = loaded.signatures["images"]

    def run(images):
        return signature(images=tf.constant(images))["scores"].numpy()

    run.loaded = loaded  # A signature does not keep its variables alive.
    return run


def onnx_session(folder: pathlib.Path) -> Any:
    """ONNX Runtime's `InferenceSession` of an exported network, on the CPU.

    Args:
        folder: In which the network lies.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # Errors.
    options.intra_op_num_threads = _threads()
    return onnxruntime.InferenceSession(
        str(folder / FILES["onnx"]), options, providers=["CPUExecutionProvider"]
    )


def _open_onnx(folder, precision):
    session = onnx_session(folder)
    return lambda images: session.run(["scores"], {"images": images})[0]


def _open_litert(folder, precision):
    from ai_edge_litert.interpreter import Interpreter

    with without_log_lines():
        interpreter = Interpreter(
            str(folder / FILES["litert"]), num_threads=limits.cores()
        )
    [taken], [given] = interpreter.get_input_details(), interpreter.get_output_details()
    size = None

    def run(images):
        nonlocal size
        if size != images.shape:
            interpreter.resize_tensor_input(taken["index"], images.shape)
            interpreter.allocate_tensors()
            size = images.shape
        interpreter.set_tensor(taken["index"], images)
        interpreter.invoke()
        return interpreter.get_tensor(given["index"])

    return run


def _open_openvino(folder, precision):
    import openvino

    network = openvino.Core().compile_model(
        str(folder / FILES["openvino"]),
        "CPU",
        {
            # Else it computes in bfloat16 wherever the CPU can.
            "INFERENCE_PRECISION_HINT": OPENVINO_PRECISIONS.get(precision, "f32"),
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": _threads(),
        },
    )
    return lambda images: network(images)[0]


def _threads():
    """Threads of what counts cores by itself, but knows no quota; 0 leaves it to that."""
    return limits.cores() if limits.cpu_quota() else 0


_OPENERS = {
    "saved_model": _open_saved_model,
    "onnx": _open_onnx,
    "litert": _open_litert,
    "openvino": _open_openvino,
}
