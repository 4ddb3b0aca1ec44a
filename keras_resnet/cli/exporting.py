"""``keras-resnet export``: writes a run in another form, and compares the two."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from keras_resnet.cli.options import add_common, command
from keras_resnet.cli.steps import step


def add_export(subparsers: Any) -> None:
    """Adds ``export``."""
    sub = command(
        subparsers,
        "export",
        export,
        "Write a run as a SavedModel for TF Serving, or in another form.",
        "keras-resnet export runs/quickstart_seed0 --output models/fashion\n"
        "  keras-resnet export runs/quickstart_seed0 --format onnx --precision int8",
        frameworks=("keras", "tensorflow"),
    )
    sub.add_argument("run", metavar="RUN", help="folder of a run")
    sub.add_argument(
        "--format",
        default="saved_model",
        choices=("saved_model", "onnx", "litert", "openvino"),
        help="format to write (saved_model)",
    )
    sub.add_argument(
        "--precision",
        default="float32",
        choices=("float32", "float16", "bfloat16", "int8"),
        help="precision of the weights (float32, which a SavedModel always has)",
    )
    sub.add_argument(
        "--data",
        help="folder or data set to calibrate and compare on (the run's own)",
    )
    sub.add_argument("--data-dir", help="where TensorFlow Datasets keeps its data")
    sub.add_argument(
        "--output", help="folder to write; of a SavedModel, that of its versions"
    )
    sub.add_argument(
        "--version",
        type=int,
        default=1,
        metavar="N",
        help="version of a SavedModel (1); TF Serving serves the highest",
    )
    sub.add_argument(
        "--overwrite", action="store_true", help="replace an earlier export"
    )
    add_common(sub)


def export(options: argparse.Namespace) -> None:
    """``keras-resnet export``: writes a run in another form and compares the two."""
    from keras_resnet.export import compare
    from keras_resnet.runs.export import export

    with step(f"Exporting {options.run} as {options.format}"):
        folder, result = export(
            options.run,
            format=options.format,
            precision=options.precision,
            data=options.data,
            data_dir=options.data_dir,
            output=options.output,
            version=options.version,
            overwrite=options.overwrite,
        )
    print(folder)
    print(compare.line(result))
    lost = result.get("original_accuracy", 0) - result.get("accuracy", 0)
    if lost > 0.5:
        print(
            f"keras-resnet: {result['precision']} lost {lost:.1f} points of accuracy: give "
            "images like those it will see (--data), or take another precision or format.",
            file=sys.stderr,
        )
