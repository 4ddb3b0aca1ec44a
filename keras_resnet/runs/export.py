"""Exports a run in forms that serve, and compares each with the run.

`export` writes and compares; the forms themselves are written by `keras_resnet.export`,
which knows nothing of runs.
"""

from __future__ import annotations

import contextlib
import os
import pathlib
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import keras
import numpy as np

from keras_resnet.config.preprocessing import Preprocessing
from keras_resnet.data.images import normalize, prepare
from keras_resnet.devices.host import tensorflow
from keras_resnet.devices.precision import computing_in
from keras_resnet.evaluation.metrics import from_probabilities
from keras_resnet.export import compare, converters, saved_model
from keras_resnet.export.fold import fold_batch_norm
from keras_resnet.export.load import load_exported
from keras_resnet.files import local_path, to_json, write_json
from keras_resnet.models.layers import groups_apart
from keras_resnet.runs import detector_export, environment
from keras_resnet.runs.detector_load import is_detector
from keras_resnet.runs.detector_run import DetectorRun
from keras_resnet.runs.load import BATCH, Run, load
from keras_resnet.runs.sample import sample_of
from keras_resnet.targets import check_target

# How far a form's probabilities may be from Keras's. 8 bits may change any single answer:
# how many change is what the report says.
AGREEMENT = {"float32": 1e-3, "float16": 5e-2, "bfloat16": 5e-2, "int8": 1.0}


@computing_in("float32")
def export(
    run: str | os.PathLike[str] | Run | DetectorRun,
    *,
    format: str = "saved_model",
    precision: str = "float32",
    data: str | os.PathLike[str] | None = None,
    data_dir: str | os.PathLike[str] | None = None,
    output: str | os.PathLike[str] | None = None,
    version: int = 1,
    overwrite: bool = False,
) -> tuple[pathlib.Path, dict[str, Any]]:
    """Writes a run in a form that serves, and compares it with the run.

    Args:
        run: The run's folder, or the run as `load` returns it; detectors are exported by
            `detector_export.export`.
        format: ``"saved_model"``, ``"onnx"``, ``"litert"`` or ``"openvino"``.
        precision: One of the format's in `converters.PRECISIONS`; a SavedModel is
            float32.
        data: Folder of images or name of a data set, if not the run's own: to compare on
            and, for int8, to calibrate on (with other images of it).
        data_dir: Where TensorFlow Datasets keeps its data.
        output: Folder to write; ``saved_model`` or ``<format>_<precision>`` in the run's
            folder by default, which is replaced.
        version: Of a SavedModel, the name of its folder in ``output``. TF Serving serves
            the highest one.
        overwrite: Whether to replace what is at ``output``.

    Returns:
        The folder written, and the report, which also lies there as ``export.json``:
        format, precision and bytes; data, `None` if there was none and noise had to do;
        what `compared` gives; ``images_per_second`` and ``speed_ratio``, to Keras's on
        the same images in turns; versions and hardware.

    Raises:
        ValueError: If format and precision don't fit, or int8 has no images.
        FileExistsError: If ``output`` exists and ``overwrite`` is false, or was not
            written by an export.
        RuntimeError: If the exported network does not answer as the run, or can't be
            written on this backend.
    """
    if isinstance(run, DetectorRun) or (not isinstance(run, Run) and is_detector(run)):
        return detector_export.export(
            run if isinstance(run, DetectorRun) else load(run),
            format=format,
            precision=precision,
            data=data,
            output=output,
            version=version,
            overwrite=overwrite,
        )
    _check_form(format, precision, version)
    run = run if isinstance(run, Run) else load(run)
    name = format if format == "saved_model" else f"{format}_{precision}"
    target = local_path(run.folder / name if output is None else output)
    # The run's own export is a copy of its model: writing it again loses nothing.
    overwrite = overwrite or output is None
    # Before any image is read.
    if format == "saved_model":
        check_target(target / str(version), saved_model.GRAPH, overwrite)
    else:
        check_target(target, converters.FORM, overwrite)
    sample = sample_of(run, data, data_dir, calibrate=precision == "int8")
    reports = []

    def finish(written):
        reports.append(_report(run, sample, written, format, precision))

    if format == "saved_model":
        written = export_model(
            run.model,
            target,
            run.preprocessing,
            run.classes,
            finish=finish,
            version=version,
            overwrite=overwrite,
        )
    else:
        written = _convert(
            run,
            target,
            converters.Form(format, precision),
            calibration=sample.calibration,
            finish=finish,
            overwrite=overwrite,
        )
    return written, reports[0]


def _check_form(format, precision, version):
    """Raises unless a run can be written so, here and now."""
    if format not in ("saved_model", *converters.PRECISIONS):
        raise ValueError(
            "`format` (--format) must be saved_model or "
            f"{' or '.join(converters.PRECISIONS)}. Received: format={format!r}."
        )
    if format == "saved_model":
        if precision != "float32":
            raise ValueError(
                "A SavedModel is float32: choose another `format` (--format), or leave "
                f"`precision` (--precision) out. Received: precision={precision!r}."
            )
        return
    if version != 1:
        raise ValueError(
            "`version` (--version) is a SavedModel's, for TF Serving: leave it out. "
            f"Received: version={version}, format={format!r}."
        )
    # Last: it looks for the format's packages.
    converters.check(converters.Form(format, precision))


def export_model(
    model: keras.Model,
    output: str | pathlib.Path,
    preprocessing: Preprocessing,
    class_names: Sequence[str],
    *,
    finish: Callable[[pathlib.Path], object] | None = None,
    version: int = 1,
    overwrite: bool = False,
) -> pathlib.Path:
    """Writes a SavedModel that decodes, prepares and normalizes image files itself.

    Batch norm is folded into the convolutions: docs/LOG.md says what that gives.

    Args:
        model: As of `saved_model.export_saved_model`, as are all others but these two.
        output: Folder of the model's versions.
        preprocessing: What the model's images go through.
        class_names: Names of the model's classes.
        finish: Called with the version's folder before it appears.
        version: Of the model, the name of its folder.
        overwrite: Whether to replace this version if it exists.

    Returns:
        The version's folder.
    """
    with groups_apart():
        return saved_model.export_saved_model(
            fold_batch_norm(model),
            output,
            decode=partial(prepare, preprocessing=preprocessing),
            normalize=partial(normalize, preprocessing=preprocessing),
            class_names=class_names,
            files={"preprocessing.json": to_json(preprocessing.as_json())},
            finish=finish,
            version=version,
            overwrite=overwrite,
        )


def _convert(run, target, form, **options):
    """`converters.export_classifier` of a run, with its preprocessing."""
    with groups_apart():
        return converters.export_classifier(
            run.model,
            target,
            form,
            normalize=partial(normalize, preprocessing=run.preprocessing),
            class_names=run.classes,
            preprocessing=run.preprocessing.as_json(),
            **options,
        )


def compared(
    exported: np.ndarray, original: np.ndarray, labels: np.ndarray | None = None
) -> dict[str, Any]:
    """Tells how far an exported classifier's answers are from the original's.

    Args:
        exported: Probabilities ``(n, classes)``.
        original: Those of the network as it was, for the same images.
        labels: The true classes, integers ``(n,)``.

    Returns:
        What `compare.compare` gives; with labels also ``accuracy`` and
        ``original_accuracy`` in percent, unless the answers are NaN.
    """
    result = compare.compare(exported, original)
    if labels is not None and np.isfinite(exported).all():
        result["accuracy"] = from_probabilities(exported, labels).accuracy
        result["original_accuracy"] = from_probabilities(original, labels).accuracy
    return result


def _report(run, sample, folder, format, precision):
    """Compares an export with its run, writes the report and gives it."""
    exported = load_exported(folder).scores
    with whole_float32():
        answers = [
            compare.answers(scores, sample.images) for scores in (exported, run.scores)
        ]
    difference = compared(*answers, sample.labels)
    limit = AGREEMENT[precision]
    if not difference["max_difference"] <= limit:  # It may be NaN.
        raise RuntimeError(
            f"The exported network must give Keras's probabilities to {limit}. Received: "
            f"a difference of {difference['max_difference']} over {len(sample.images)} "
            f"images. The versions of TensorFlow and of what writes or runs {format} "
            "don't go together: try others, or another format."
        )
    batch = np.resize(sample.images, (BATCH, *sample.images.shape[1:]))
    speeds = compare.speeds({"exported": exported, "keras": run.scores}, batch)
    result = {
        "format": format,
        "precision": precision,
        "bytes": compare.size(folder),
        "data": sample.data,
        **difference,
        "images_per_second": round(speeds["exported"], 1),
        "speed_ratio": round(speeds["exported"] / speeds["keras"], 3),
        **environment.describe(),
    }
    write_json(folder / "export.json", result)
    return result


@contextlib.contextmanager
def whole_float32() -> Iterator[None]:
    """Has GPUs compute float32 in full; since Ampere they round factors to TF32."""
    if keras.backend.backend() == "jax":
        import jax

        with jax.default_matmul_precision("highest"):
            yield
        return
    tf = tensorflow()
    config = tf.config.experimental
    before = config.tensor_float_32_execution_enabled()
    config.enable_tensor_float_32_execution(False)
    try:
        yield
    finally:
        config.enable_tensor_float_32_execution(before)
