"""Converts a classifier to ONNX, LiteRT or OpenVINO, in full, half and 8-bit precision.

These files take uint8 images ``(N, H, W, C)`` of the model's size and give float32
probabilities ``(N, classes)``. Normalization is inside, and batch norm is folded into the
convolutions.
"""

from __future__ import annotations

import os
import pathlib
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import keras
import numpy as np

from keras_resnet.devices.host import Tensor, tensorflow
from keras_resnet.devices.log_lines import quiet
from keras_resnet.export.checks import check_classifier
from keras_resnet.export.fold import fold_batch_norm
from keras_resnet.export.load import FILES
from keras_resnet.files import local_path, replaced, to_json
from keras_resnet.outputs import gives_probabilities
from keras_resnet.targets import check_target

# float16 is how LiteRT and OpenVINO keep the weights: on CPUs they compute in float32.
# bfloat16 is how OpenVINO computes where the CPU can, and in float32 elsewhere.
PRECISIONS: dict[str, tuple[str, ...]] = {
    "onnx": ("float32", "int8"),
    "litert": ("float32", "float16", "int8"),
    "openvino": ("float32", "float16", "bfloat16", "int8"),
}
FORM = "form.json"
# tf2onnx 1.17 writes up to 18 with all that these networks need.
ONNX_OPSET = 18


@dataclass(frozen=True)
class Form:
    """What a classifier is written as.

    Attributes:
        format: ``"onnx"``, ``"litert"`` or ``"openvino"``.
        precision: One of the format's in `PRECISIONS`. ``"int8"`` quantizes weights and
            activations after training.

    Raises:
        ValueError: If there is no such format, or it has no such precision.
    """

    format: str
    precision: str = "float32"

    def __post_init__(self) -> None:
        if self.format not in PRECISIONS:
            raise ValueError(
                f"`format` must be one of {', '.join(PRECISIONS)}. "
                f"Received: format={self.format!r}."
            )
        if self.precision not in PRECISIONS[self.format]:
            raise ValueError(
                f"`precision` must be one of {', '.join(PRECISIONS[self.format])} for "
                f"{self.format}. Received: precision={self.precision!r}."
            )


def export_classifier(
    model: keras.Model,
    path: str | os.PathLike[str],
    form: Form,
    *,
    normalize: Callable[[Tensor], Tensor],
    class_names: Sequence[str],
    preprocessing: Mapping[str, Any],
    calibration: np.ndarray | None = None,
    finish: Callable[[pathlib.Path], object] | None = None,
    overwrite: bool = False,
) -> pathlib.Path:
    """Writes a folder that `load.load_exported` takes, usable by itself.

    It holds the network (under its name in `load.FILES`), ``labels.txt`` (the class
    names, one a line), ``preprocessing.json`` and ``form.json`` (format and precision).

    Args:
        model: `keras.Model`, as of `saved_model.export_saved_model`.
        path: The folder. It appears when complete, as that of `export_saved_model`.
        form: Format and precision.
        normalize: Function in TensorFlow operations, as of `export_saved_model`.
        class_names: Names (str) of the model's classes, in the order of its outputs.
        preprocessing: What images go through before, for `json.dumps`.
        calibration: For int8 alone: real images, uint8 ``(n, H, W, C)``, some hundred
            of them, from which the ranges of the activations are measured.
        finish: Function of the folder, called before it appears: it may write into it,
            and what it raises stops the export.
        overwrite: Whether to replace the folder if it exists.

    Returns:
        `pathlib.Path` of the folder.

    Raises:
        FileExistsError: If the folder exists and ``overwrite`` is false.
        ImportError: If the format's packages are not installed.
        ValueError: If the model can't be served, or calibration and precision don't
            fit each other.
        RuntimeError: On backends other than TensorFlow.
    """
    target = local_path(path)
    check(form)
    check_classifier(model, class_names)
    if (form.precision == "int8") != (calibration is not None and len(calibration) > 0):
        raise ValueError(
            "`calibration` must be given for int8, and only then: images as the network "
            f"will see them. Received: precision={form.precision!r}, "
            f"{'no' if calibration is None else len(calibration)} calibration images."
        )
    check_target(target, FORM, overwrite)
    graph = _graph(model, normalize)
    with replaced(target, FORM) as folder:
        folder.mkdir()
        with quiet():
            file = folder / FILES[form.format]
            _WRITERS[form.format](graph, file, form.precision, calibration)
        labels = "".join(f"{name}\n" for name in class_names)
        for name, text in {
            "labels.txt": labels,
            "preprocessing.json": to_json(preprocessing),
            FORM: to_json(asdict(form)),
        }.items():
            (folder / name).write_text(text, encoding="utf-8")
        if finish:
            finish(folder)
    return target


def check(form: Form) -> None:
    """Checks that a form can be written with this backend and the installed packages.

    Raises:
        ImportError: If the format's packages are not installed.
        RuntimeError: On backends other than TensorFlow.
    """
    if keras.backend.backend() != "tensorflow":
        raise RuntimeError(
            f"{form.format} is converted from TensorFlow's graph. Received: "
            f"backend={keras.backend.backend()!r}. A saved model loads on every backend: "
            "load it with KERAS_BACKEND=tensorflow and export there."
        )
    with quiet():  # NNCF says hello.
        if form.format == "onnx":
            import onnxruntime  # noqa: F401
            import tf2onnx  # noqa: F401
        elif form.format == "litert":
            import ai_edge_litert  # noqa: F401
        else:
            import openvino  # noqa: F401

            if form.precision == "int8":
                import nncf  # noqa: F401


def _graph(model, normalize):
    """The concrete function from ``images`` to ``scores``."""
    tf = tensorflow()
    folded = fold_batch_norm(model)
    activation = tf.identity if gives_probabilities(model) else tf.nn.softmax
    spec = tf.TensorSpec([None, *model.input_shape[1:]], tf.uint8, name="images")

    @tf.function(input_signature=[spec])
    def classify(images):
        return {"scores": activation(folded(normalize(images), training=False))}

    module = tf.Module()  # Variables must be reachable from somewhere.
    module.network, module.classify = folded, classify
    return module


def _write_onnx(graph, file, precision, calibration):
    import tf2onnx

    tf2onnx.convert.from_function(
        graph.classify,
        input_signature=graph.classify.input_signature,
        opset=ONNX_OPSET,
        output_path=str(file),
    )
    if precision == "int8":
        _quantize_onnx(file, calibration)
    _name_batch_axis(file)


def _name_batch_axis(file):
    """Gives the batch axis one name at both ends: tf2onnx numbers each by itself."""
    import onnx

    network = onnx.load(str(file))
    for end in (*network.graph.input, *network.graph.output):
        end.type.tensor_type.shape.dim[0].dim_param = "batch"
    onnx.save(network, str(file))


def _quantize_onnx(file, calibration):
    from onnxruntime import quantization
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(quantization.CalibrationDataReader):
        def __init__(self):
            self.batches = _batches(calibration, 16)

        def get_next(self):
            batch = next(self.batches, None)
            return None if batch is None else {"images": batch}

    with tempfile.TemporaryDirectory() as folder:
        prepared = pathlib.Path(folder) / "prepared.onnx"
        # Symbolic shapes need SymPy, and nothing here has such shapes.
        quant_pre_process(str(file), str(prepared), skip_symbolic_shape=True)
        # As ONNX Runtime advises for CPUs: 7-bit weights where there is no VNNI, or
        # sums of two products saturate; with it, they lose little.
        quantization.quantize_static(
            str(prepared),
            str(file),
            Reader(),
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
            per_channel=True,
            reduce_range=True,
        )


def _write_litert(graph, file, precision, calibration):
    tf = tensorflow()
    with tempfile.TemporaryDirectory() as folder:
        # From a function alone, the output would have no name.
        _write_function(graph, folder)
        converter = tf.lite.TFLiteConverter.from_saved_model(
            folder, signature_keys=["serving_default"]
        )
        if precision != "float32":
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
        if precision == "float16":
            converter.target_spec.supported_types = [tf.float16]
        if precision == "int8":
            converter.representative_dataset = lambda: (
                {"images": batch} for batch in _batches(calibration, 1)
            )
        file.write_bytes(converter.convert())


def _write_openvino(graph, file, precision, calibration):
    import openvino

    with tempfile.TemporaryDirectory() as folder:
        _write_function(graph, folder)
        network = openvino.convert_model(folder)
        # Else the file tells where this folder was, another one each time.
        network.set_rt_info("a SavedModel", ["conversion_parameters", "input_model"])
        if precision == "int8":
            import nncf

            network = nncf.quantize(
                network,
                nncf.Dataset(list(_batches(calibration, 1))),
                subset_size=len(calibration),
            )
        openvino.save_model(network, file, compress_to_fp16=precision == "float16")


def _write_function(graph, folder):
    """Writes a SavedModel of one function, for converters."""
    archive = keras.export.ExportArchive()
    graph.classify.get_concrete_function()
    archive.add_endpoint("serve", graph.classify)
    archive.write_out(folder, verbose=False)


_WRITERS = {
    "onnx": _write_onnx,
    "litert": _write_litert,
    "openvino": _write_openvino,
}


def _batches(images, size):
    """Batches of images, of which a rest that fills none is left out."""
    return (
        images[start : start + size]
        for start in range(0, max(len(images) - size, 0) + 1, size)
    )
