"""``keras-resnet predict`` for detectors: detects objects on images."""

from __future__ import annotations

import argparse
import os
import pathlib
import sys
from typing import Any

from keras_resnet.cli.options import refuse
from keras_resnet.config.words import counted

SCORE = 0.5  # Of a detection, at least, where nobody says it.


def predict(options: argparse.Namespace, detector: Any) -> int:
    """Detects objects on images; prints, writes and draws them.

    Args:
        options: Those of ``keras-resnet predict``.
        detector: A `runs.detector_predict.Detector`.

    Returns:
        The exit code: 1 if some images can't be read, or something can't be written.
    """
    from rich.console import Console
    from rich.progress import track

    from keras_resnet.runs.detector_predict import (
        check_folder,
        check_suffix,
        draw_detections,
        write_detections,
    )
    from keras_resnet.runs.predict import files

    refuse(options, ("top",), "detects objects")
    if options.output is not None:
        check_suffix(options.output)
    if options.pictures is not None:
        check_folder(options.pictures, options.overwrite)
    images = files(options.images)
    score = SCORE if options.score is None else options.score
    answered = detector.detect(images, score=score)
    if options.output is not None:
        console = Console(stderr=True)
        answered = track(
            answered,
            total=len(images),
            description="",
            console=console,
            disable=not console.is_terminal,
        )
    answers, unread = [], 0
    for image, answer in answered:
        if isinstance(answer, ValueError):
            unread += 1
            print(f"keras-resnet: {answer}", file=sys.stderr)
        elif options.output is None:
            print(_line(image, answer, detector.classes))
        answers.append((image, answer))
    failed = bool(unread)
    try:
        if options.output is not None:
            names, numbers = detector.classes, detector.category_ids
            write_detections(options.output, answers, names, numbers)
            print(f"{options.output}: {counted(len(images) - unread, 'image')}")
    except OSError as error:  # The disk may be full by now.
        failed = True
        for image, answer in answers:
            if not isinstance(answer, ValueError):
                print(_line(image, answer, detector.classes))
        print(
            f"keras-resnet: {options.output} can't be written ({error.strerror or error}): "
            "the detections are printed instead.",
            file=sys.stderr,
        )
    if options.pictures is not None:
        drawn = draw_detections(answers, detector.classes, options.pictures)
        print(f"{options.pictures}: {counted(len(drawn), 'picture')}")
    return 1 if failed else 0


def _line(image: pathlib.Path, answer: dict[str, Any], names: tuple[str, ...]) -> str:
    """An image's detections for the terminal."""
    columns = (answer[name] for name in ("classes", "scores", "boxes"))
    found = [
        f"{names[int(label)]} {100 * score:.1f} % at "
        + " ".join(f"{value:.0f}" for value in box)
        for label, score, box in zip(*columns, strict=True)
    ]
    # Names that are no UTF-8 can't be printed.
    name = os.fsencode(image).decode(errors="replace")
    return f"{name}: {'; '.join(found) or 'nothing'}"
