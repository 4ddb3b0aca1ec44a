"""``keras-resnet predict``: names what is on images."""

from __future__ import annotations

import argparse
import os
import pathlib
import sys
from typing import Any

from keras_resnet.cli import detecting
from keras_resnet.cli.options import add_common, command, refuse
from keras_resnet.config.words import counted

TOP = 3  # Classes to name, where nobody says how many.


def add_predict(subparsers: Any) -> None:
    """Adds ``predict``."""
    sub = command(
        subparsers,
        "predict",
        predict,
        "Classify images, or detect objects on them; the exit code is 1 if some can't be "
        "read.",
        "keras-resnet predict runs/quickstart_seed0 shoe.png\n"
        "  keras-resnet predict runs/quickstart_seed0/onnx_int8 photos "
        "--output photos.csv",
        frameworks=("keras", "tensorflow"),
    )
    sub.add_argument("run", metavar="RUN", help="folder of a run or of an export")
    sub.add_argument("images", nargs="+", metavar="IMAGE", help="file or folder")
    sub.add_argument("--top", type=int, help="classes to name (3); not of a detector")
    sub.add_argument(
        "--output", metavar="FILE", help=".csv or .json file to write instead"
    )
    sub.add_argument("--overwrite", action="store_true", help="replace that file")
    group = sub.add_argument_group("detectors")
    group.add_argument(
        "--score", type=float, help="least score of a detection, from 0 to 1 (0.5)"
    )
    group.add_argument(
        "--pictures", metavar="FOLDER", help="where to draw each image with its boxes"
    )
    add_common(sub)


def predict(options: argparse.Namespace) -> int:
    """``keras-resnet predict``: names what is on images.

    Returns:
        The exit code: 1 if some images can't be read, or the table can't be written.
    """
    from rich.console import Console
    from rich.progress import track

    from keras_resnet.runs.predict import (
        Classifier,
        check_table,
        files,
        load_predictor,
        predict,
        write_table,
    )

    if options.output is not None:
        check_table(options.output, options.overwrite)
    classifier = load_predictor(options.run)
    if not isinstance(classifier, Classifier):
        return detecting.predict(options, classifier)
    refuse(options, ("score", "pictures"), "classifies whole images")
    images = files(options.images)
    answers, unread = [], 0
    top = TOP if options.top is None else options.top
    answered = predict(classifier, images, top=top)
    if options.output is not None:
        console = Console(stderr=True)
        answered = track(
            answered,
            total=len(images),
            description="",
            console=console,
            disable=not console.is_terminal,
        )
    for image, answer in answered:
        if isinstance(answer, ValueError):
            unread += 1
            print(f"keras-resnet: {answer}", file=sys.stderr)
        elif options.output is None:
            print(_line(image, answer))
        answers.append((image, answer))
    if options.output is None:
        return 1 if unread else 0
    try:
        write_table(options.output, answers)
    except OSError as error:  # The disk may be full by now.
        for image, answer in answers:
            if not isinstance(answer, ValueError):
                print(_line(image, answer))
        print(
            f"keras-resnet: {options.output} can't be written ({error.strerror or error}): "
            "the answers are printed instead.",
            file=sys.stderr,
        )
        return 1
    print(f"{options.output}: {counted(len(images) - unread, 'image')}")
    return 1 if unread else 0


def _line(image: pathlib.Path, answer: list[tuple[str, float]]) -> str:
    """An image's answer for the terminal."""
    named = ", ".join(f"{name} {100 * share:.1f} %" for name, share in answer)
    # Names that are no UTF-8 can't be printed.
    return f"{os.fsencode(image).decode(errors='replace')}: {named}"
