"""Detectors as what answers for image files, and where pictures may be drawn."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from typing import NamedTuple, Protocol

from keras_resnet.data.image_files import contents_of
from keras_resnet.detection.inference import (
    Found,
    Image,
    above,
    check_score,
    detect_files,
    not_decoded,
)
from keras_resnet.detection.prediction import (
    check_suffix,
    draw_detections,
    write_detections,
)
from keras_resnet.export.load import find_exported
from keras_resnet.files import local_path
from keras_resnet.runs.detector_run import DetectorRun
from keras_resnet.runs.detector_serve import decoder, exported, names_beside
from keras_resnet.targets import check_place

__all__ = [
    "Detector",
    "check_folder",
    "check_suffix",
    "draw_detections",
    "of_export",
    "of_run",
    "write_detections",
]


class Detects(Protocol):
    """What `detection.detect_files` does with a detector of its own."""

    def __call__(
        self, images: Iterable[Image], *, score: float
    ) -> Iterator[tuple[Image, Found | ValueError]]: ...


class Detector(NamedTuple):
    """A detector's run or export as what answers for images.

    Attributes:
        detect: From images and the least score to pairs of image and answer.
        classes: Their names.
        category_ids: The number of each class in COCO's form of results: that of the
            data it was trained on.
    """

    detect: Detects
    classes: tuple[str, ...]
    category_ids: tuple[int, ...]


def of_run(run: DetectorRun) -> Detector:
    """A detector's run as what answers for images."""

    def detect(images, *, score):
        return detect_files(run.model, images, run.batches, score=score)

    data = run.record.get("dataset", {})
    numbers = data.get("category_ids") or range(1, 1 + len(run.classes))
    return Detector(detect, run.classes, tuple(numbers))


def of_export(path: str | os.PathLike[str]) -> Detector:
    """An exported form of a detector as what answers for images, one at a time.

    It doesn't tell the numbers that its classes had in the data: they are 1, 2, …
    """
    folder, format = find_exported(path)
    names = names_beside(folder, format)
    decode, one = decoder(), exported(folder, format)

    def detect(images, *, score):
        check_score(score)
        return _answers(decode, one, images, score)

    return Detector(detect, names, tuple(range(1, 1 + len(names))))


def _answers(decode, detect, images, score):
    """Pairs of an image and what an export finds on it, or why it can't be read."""
    for image in images:
        try:
            contents = image if isinstance(image, bytes) else contents_of(image)
        except (OSError, ValueError) as error:
            yield image, ValueError(str(error))
            continue
        try:
            pixels = decode(contents)
        except ValueError as error:
            yield image, not_decoded(image, error)
            continue
        found = detect(pixels)
        count = int(found.pop("count"))
        ones = {name: values[:count] for name, values in found.items()}
        yield image, above(ones, score)


def check_folder(path: str | os.PathLike[str], overwrite: bool = False) -> None:
    """Checks that pictures can be written into a folder.

    Raises:
        FileExistsError: If it is a file, or holds files that may not be replaced.
        PermissionError: If nothing can be written there.
    """
    folder = local_path(path)
    check_place(folder, "`pictures` (--pictures)")
    if folder.exists() and not folder.is_dir():
        raise FileExistsError(
            f"`pictures` (--pictures) must be a folder. Received: {folder}, a file. "
            "Choose another name."
        )
    if folder.is_dir() and any(folder.iterdir()) and not overwrite:
        raise FileExistsError(
            "`pictures` (--pictures) must be a new or an empty folder. Received: "
            f"{folder}, which holds files. Choose another name, or pass --overwrite, which "
            "replaces pictures of the same names."
        )
