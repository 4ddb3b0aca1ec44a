"""``keras-resnet predict``: names what is on images."""

from __future__ import annotations

import argparse
import itertools
import os
import pathlib
import sys
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from keras_resnet.cli import detecting
from keras_resnet.cli.options import add_common, command, refuse
from keras_resnet.config.words import counted

if TYPE_CHECKING:
    from keras_resnet.runs.answers import Answer

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
        "--output", metavar="FILE", help=".csv, .json or .parquet file to write instead"
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
    from keras_resnet.runs.answers import check_table
    from keras_resnet.runs.predict import Classifier, files, load_predictor, predict

    if options.output is not None:
        check_table(options.output, options.overwrite)
    classifier = load_predictor(options.run)
    if not isinstance(classifier, Classifier):
        return detecting.predict(options, classifier)
    refuse(options, ("score", "pictures"), "classifies whole images")
    images = files(options.images)
    top = TOP if options.top is None else options.top
    answers = _with_errors(predict(classifier, images, top=top))
    if options.output is None:
        unread = 0
        for image, answer in answers:
            unread += isinstance(answer, ValueError)
            _show(image, answer)
        return 1 if unread else 0
    top = min(top, len(classifier.classes))
    return _into_table(options.output, answers, len(images), top)


def _into_table(output: str, answers: Iterable[Answer], count: int, top: int) -> int:
    """Writes answers to a file as they come; returns the exit code."""
    from rich.console import Console
    from rich.progress import track

    from keras_resnet.runs.answers import write_table

    console = Console(stderr=True)
    rest = iter(
        track(
            answers,
            total=count,
            description="",
            console=console,
            disable=not console.is_terminal,
        )
    )
    given = []  # Should the disk be full in the end, they aren't lost.

    def noted():
        for pair in rest:
            given.append(pair)
            yield pair

    try:
        write_table(output, noted(), top=top)
    except OSError as error:
        print(
            f"keras-resnet: {output} can't be written ({error.strerror or error}): "
            "the answers are printed instead.",
            file=sys.stderr,
        )
        for image, answer in itertools.chain(given, rest):
            _show(image, answer)
        return 1
    unread = sum(isinstance(answer, ValueError) for _, answer in given)
    print(f"{output}: {counted(count - unread, 'image')}")
    return 1 if unread else 0


def _with_errors(answers: Iterable[Answer]) -> Iterator[Answer]:
    """The same answers; says of each image that can't be read why."""
    for image, answer in answers:
        if isinstance(answer, ValueError):
            print(f"keras-resnet: {answer}", file=sys.stderr)
        yield image, answer


def _show(image: pathlib.Path, answer: Any) -> None:
    """Prints an answer, if it is one."""
    if not isinstance(answer, ValueError):
        print(_line(image, answer))


def _line(image: pathlib.Path, answer: list[tuple[str, float]]) -> str:
    """An image's answer for the terminal."""
    named = ", ".join(f"{name} {100 * share:.1f} %" for name, share in answer)
    # Names that are no UTF-8 can't be printed.
    return f"{os.fsencode(image).decode(errors='replace')}: {named}"
