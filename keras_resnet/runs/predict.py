"""Names what is on image files, by a run or an exported form of one."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from keras_resnet.config.image_formats import SUFFIXES
from keras_resnet.config.preprocessing import Preprocessing
from keras_resnet.data.image_files import decoded, read_image
from keras_resnet.data.listing import as_text, by_reason, list_images, say_left_out
from keras_resnet.devices.find import warn_of_unused_card
from keras_resnet.export.load import find_exported, load_exported
from keras_resnet.files import local_path
from keras_resnet.runs.answers import Answer
from keras_resnet.runs.detector_predict import Detector, of_export, of_run
from keras_resnet.runs.detector_run import DetectorRun
from keras_resnet.runs.detector_serve import serves_detector
from keras_resnet.runs.load import BATCH, load
from keras_resnet.runs.ranking import check_top, ranked


@dataclass(frozen=True, eq=False)
class Classifier:
    """A run or an exported form of one, as what answers for images.

    Attributes:
        scores: Function from uint8 images ``(N, H, W, C)`` to probabilities ``(N,
            classes)``.
        classes: Their names.
        preprocessing: What image files go through before, a `Preprocessing`.
    """

    scores: Callable[[np.ndarray], np.ndarray]
    classes: tuple[str, ...]
    preprocessing: Preprocessing


def load_classifier(path: str | os.PathLike[str]) -> Classifier:
    """Loads a run or any exported form of one.

    Args:
        path: A run's folder, or one that `export` wrote.

    Returns:
        A `Classifier`.

    Raises:
        FileNotFoundError, ValueError: As `runs.load.load` and `export.load.load_exported`;
            or if it is a detector.
    """
    found = load_predictor(path)
    if isinstance(found, Detector):
        raise ValueError(
            f"{path} must hold a network that classifies images. Received: a detector, "
            "which `keras-resnet predict` and `evaluate` take."
        )
    return found


def load_predictor(path: str | os.PathLike[str]) -> Classifier | Detector:
    """Loads what `load_classifier` does, or a detector's run or export."""
    try:
        find_exported(path)
    except FileNotFoundError:
        try:
            run = load(path)
        except FileNotFoundError as error:
            raise FileNotFoundError(
                f"{path} must hold a finished run, or an exported form of one: {error}"
            ) from error
        warn_of_unused_card()
        if isinstance(run, DetectorRun):
            return of_run(run)
        return Classifier(run.scores, run.classes, run.preprocessing)
    if serves_detector(path):
        return of_export(path)
    exported = load_exported(path)
    try:
        preprocessing = Preprocessing.from_json(exported.preprocessing)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"{path}: preprocessing.json must be as `keras-resnet export` wrote it: "
            f"{error}. Export it again."
        ) from error
    return Classifier(exported.scores, exported.class_names, preprocessing)


def files(paths: Iterable[str | os.PathLike[str]]) -> list[pathlib.Path]:
    """Lists image files: those named, and those that `list_images` finds in folders.

    Args:
        paths: Of files and folders.

    Returns:
        The files in the order of the paths, those of a folder sorted. A path that leads
        nowhere, or to a folder without images, is among them, and is answered by its
        error, unless all do.

    Raises:
        FileNotFoundError: If no path leads to a file.
    """
    paths = [local_path(path) for path in paths]
    if paths and not any(path.exists() for path in paths):
        raise FileNotFoundError(
            f"There must be an image at {paths[0]}; there is no file."
        )
    found = []
    for path in paths:
        inside = list_images(path) if path.is_dir() else None
        if inside is None or not inside.files:
            found.append(path)
            continue
        say_left_out(f"In {as_text(path)}", inside.left_out)
        found += inside.files
    if paths and all(not path.exists() or path.is_dir() for path in found):
        raise FileNotFoundError(
            _without_images(next(filter(pathlib.Path.is_dir, found)))
        )
    return found


def _without_images(folder):
    """What is wrong with a folder that was named to be predicted."""
    left_out = by_reason(list_images(folder).left_out)
    return (
        f"{as_text(folder)} must hold images ({', '.join(SUFFIXES)}); there are none. "
        f"Received: {left_out or 'an empty folder'}."
    )


def predict(
    classifier: Classifier, images: Sequence[pathlib.Path | bytes], *, top: int = 3
) -> Iterator[Answer]:
    """Names what is on image files, batch by batch.

    Args:
        classifier: A `Classifier`.
        images: Paths of image files, or their bytes, as other programs hand them over.
        top: How many classes to name at most.

    Returns:
        An iterator. For each image, in order, ``(image, answer)``: the image as it was
        given; a list of ``(class name, probability)``, likeliest first, or the
        ``ValueError`` of one that can't be read.

    Raises:
        ValueError: If ``top`` is not a positive integer.
    """
    check_top(top)
    return _answers(classifier, images, top)


def _answers(classifier, images, top):
    preprocessing = classifier.preprocessing
    for start in range(0, len(images), BATCH):
        some = images[start : start + BATCH]
        prepared = [_read(image, preprocessing) for image in some]
        good = [image for image in prepared if not isinstance(image, ValueError)]
        rows = iter(classifier.scores(np.stack(good)) if good else ())
        for image, pixels in zip(some, prepared, strict=True):
            if isinstance(pixels, ValueError):
                yield image, pixels
                continue
            row = next(rows)
            yield image, ranked(row, classifier.classes, top)


def _read(image, preprocessing):
    try:
        if isinstance(image, bytes):
            return decoded(image, preprocessing, "The image")
        if image.is_dir():
            return ValueError(_without_images(image))
        return read_image(image, preprocessing)
    except (OSError, ValueError) as error:
        return ValueError(str(error))
