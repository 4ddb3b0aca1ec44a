"""Exports a trained detector in forms that serve, and compares each with it."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import keras

from keras_resnet.config.box_batches import BoxBatches
from keras_resnet.config.values import to_values
from keras_resnet.data import sources
from keras_resnet.data.box_inputs import decode_upright, on_canvas
from keras_resnet.data.listing import list_images
from keras_resnet.export import compare, detector, detector_onnx
from keras_resnet.files import local_path, to_json, write_json
from keras_resnet.runs import environment
from keras_resnet.runs.detector_load import by_keras, detect_by
from keras_resnet.runs.detector_run import DetectorRun
from keras_resnet.runs.detector_serve import decoder, exported
from keras_resnet.targets import check_target

IMAGES = 4  # The number of images on which an export is compared.
AGREEMENT = 98.0  # Percent of the boxes that must be Keras's.
MOSAIC = 8  # Bundled images along a side of one that a detector is shown.


def export(
    found: DetectorRun,
    *,
    format: str = "saved_model",
    precision: str = "float32",
    data: str | os.PathLike[str] | None = None,
    output: str | os.PathLike[str] | None = None,
    version: int = 1,
    overwrite: bool = False,
) -> tuple[pathlib.Path, dict[str, Any]]:
    """Writes a detector in a form that serves, and compares it with the detector.

    Args:
        found: The detector.
        format: ``"saved_model"`` or ``"onnx"``.
        precision: ``"float32"``.
        data: Folder of images to compare on; by default mosaics of bundled images, on which
            it may find nothing.
        output: As of `runs.export.export`, as are the last two.
        version: Of a SavedModel.
        overwrite: Whether to replace what is at ``output``.

    Returns:
        The folder written, and the report, which also lies there as ``export.json``:
        format, precision and bytes; data; what `compare.compare_boxes` gives;
        ``images_per_second`` and ``speed_ratio``, to Keras's; versions and hardware.

    Raises:
        ValueError: If there is no such form.
        FileExistsError: If ``output`` exists and may not be replaced.
        RuntimeError: If the export doesn't answer as the detector, or can't be written on
            this backend.
    """
    _check_form(format, precision, version)
    name = format if format == "saved_model" else f"{format}_{precision}"
    target = local_path(found.folder / name if output is None else output)
    overwrite = overwrite or output is None
    sign = detector_onnx.FORM
    if format == "saved_model":
        check_target(target / str(version), detector.GRAPH, overwrite)
    else:
        check_target(target, sign, overwrite)
    images = _images(data)
    reports = []

    def finish(folder: pathlib.Path) -> None:
        reports.append(_report(found, folder, format, data, images))

    options = {"finish": finish, "overwrite": overwrite}
    if format == "saved_model":
        options["version"] = version
    write = export_model if format == "saved_model" else export_onnx
    written = write(found.model, target, found.batches, found.classes, **options)
    return written, reports[0]


def _check_form(format, precision, version):
    if format not in ("saved_model", "onnx") or precision != "float32":
        raise ValueError(
            "A detector can be exported with `format` (--format) saved_model or onnx and "
            f"`precision` (--precision) float32. Received: format={format!r}, "
            f"precision={precision!r}."
        )
    if format == "onnx" and version != 1:
        raise ValueError(
            "`version` (--version) is a SavedModel's, for TF Serving: leave it out. "
            f"Received: version={version}, format={format!r}."
        )


def export_model(
    model: keras.Model,
    output: str | os.PathLike[str],
    settings: BoxBatches,
    class_names: Sequence[str],
    *,
    finish: Callable[[pathlib.Path], object] | None = None,
    version: int = 1,
    overwrite: bool = False,
) -> pathlib.Path:
    """Writes a SavedModel that decodes image files, resizes them and finds objects.

    Args:
        model: A `FasterRCNN`.
        output: Folder of the model's versions.
        settings: How images are resized and padded for it.
        class_names: Names of its classes, in the order of their numbers.
        finish: As of `export.detector.export_detector`, as are the others.
        version: Of the model, the name of its folder.
        overwrite: Whether to replace this version if it exists.

    Returns:
        The version's folder.
    """
    return detector.export_detector(
        model,
        output,
        decode=decode_upright,
        prepare=partial(on_canvas, settings=settings),
        class_names=class_names,
        files={"preprocessing.json": to_json(to_values(settings))},
        finish=finish,
        version=version,
        overwrite=overwrite,
    )


def export_onnx(
    model: keras.Model,
    output: str | os.PathLike[str],
    settings: BoxBatches,
    class_names: Sequence[str],
    **options: Any,
) -> pathlib.Path:
    """Writes the detector without decoding and resizing; see `detector_onnx.export_onnx`.

    Args:
        model: As of `export_model`, as are the next three.
        output: The folder.
        settings: Lies beside the network, for whoever prepares images for it.
        class_names: Names of the classes.
        **options: Of `detector_onnx.export_onnx`.
    """
    preprocessing = to_values(settings)
    return detector_onnx.export_onnx(
        model, output, class_names=class_names, preprocessing=preprocessing, **options
    )


def _images(data):
    """The images to compare on, uint8 ``(height, width, 3)`` of any sizes."""
    if data is not None:
        files = list_images(local_path(data)).files[:IMAGES]
        if not files:
            raise ValueError(
                "`data` (--data) must be a folder of images to compare a detector on. "
                f"Received: {data}, with none in it."
            )
        decode = decoder()
        return [decode(file.read_bytes()) for file in files]
    pixels = sources.load("fashion_mini").test.images[..., 0]
    count = 3 * MOSAIC**2
    tiled = pixels[: IMAGES * count].reshape(IMAGES, 3, MOSAIC, MOSAIC, 28, 28)
    side = 28 * MOSAIC
    return list(tiled.transpose(0, 2, 4, 3, 5, 1).reshape(IMAGES, side, side, 3))


def _report(found, folder, format, data, images):
    """Compares an export with its detector, writes the report and gives it."""
    run = {
        "exported": exported(folder, format),
        "keras": detect_by(by_keras(found.model), found.batches),
    }
    answers = {name: [detect(one) for one in images] for name, detect in run.items()}
    same = compare.compare_boxes(answers["exported"], answers["keras"])
    if same["agreement"] is not None and same["agreement"] < AGREEMENT:
        raise RuntimeError(
            f"The exported detector must give {AGREEMENT} % of Keras's boxes to "
            f"{compare.NEAR} pixels. Received: {same['agreement']:.1f} % of those on "
            f"{same['images']} images. The versions of TensorFlow and of what writes or "
            f"runs {format} don't go together: try others, or another format."
        )
    each = {
        name: lambda some, detect=detect: [detect(one) for one in some]
        for name, detect in run.items()
    }
    speeds = compare.speeds(each, images[:1], rounds=1)
    report = {
        "format": format,
        "precision": "float32",
        "bytes": compare.size(folder),
        "data": data and str(data),
        **same,
        "images_per_second": round(speeds["exported"], 3),
        "speed_ratio": round(speeds["exported"] / speeds["keras"], 3),
        **environment.describe(),
    }
    write_json(folder / "export.json", report)
    return report
