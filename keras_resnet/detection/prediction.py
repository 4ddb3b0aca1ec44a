"""What a detector finds on image files, as tables, COCO's results and pictures."""

from __future__ import annotations

import csv
import json
import os
import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from keras_resnet.analysis.box_plots import boxes_on_image
from keras_resnet.data.listing import as_text
from keras_resnet.detection.coco import coco_results
from keras_resnet.detection.inference import Found, Image, upright
from keras_resnet.files import local_path, replace_file

# Of an image, what is found in it; or why it can't be read.
Answer: TypeAlias = tuple[Image, Found | ValueError]

TABLES = (".csv", ".json")
COLUMNS = ("image", "class", "score", "x1", "y1", "x2", "y2", "error")


def write_detections(
    path: str | os.PathLike[str],
    answers: Sequence[Answer],
    class_names: Sequence[str],
    category_ids: Sequence[int] | None = None,
) -> None:
    """Writes what `detect_files` found: CSV with a row for each detection, or COCO's JSON.

    In CSV an image without detections has a row of its own, with nothing but its name, and
    one that can't be read has the error. The JSON is COCO's form of results, with the
    path as ``image_id`` and the name of the class as ``category_name`` beside its number;
    images without detections, and those that can't be read, aren't in it.

    Args:
        path: Of the file, which ends in .csv or .json. It appears when complete.
        answers: List of what `detect_files` yields, of files.
        class_names: One per label.
        category_ids: COCO's number of each class; by default 1, 2, …

    Raises:
        OSError: If it can't be written, such as to a disk that is full by now.
        ValueError: If it has another suffix.
    """
    path = local_path(path)
    check_suffix(path)
    if path.suffix == ".csv":
        replace_file(path, lambda file: _write_csv(file, answers, class_names))
        return
    rows = as_coco(answers, class_names, category_ids)
    text = json.dumps(rows, indent=2, ensure_ascii=False) + "\n"
    # What is no UTF-8 in a name becomes JSON's own escapes.
    replace_file(
        path,
        lambda file: file.write_text(text, encoding="utf-8", errors="backslashreplace"),
    )


def check_suffix(path: str | os.PathLike[str]) -> None:
    """Raises `ValueError` if `write_detections` can't write a file of this name."""
    path = local_path(path)
    if path.suffix not in TABLES:
        raise ValueError(
            f"Detections go into files that end in {' or '.join(TABLES)}. Received: "
            f"{path}."
        )


def _write_csv(path, answers, class_names):
    # Old disks have names that are no UTF-8: they are written as they are.
    with open(
        path, "w", newline="", encoding="utf-8", errors="surrogateescape"
    ) as file:
        writer = csv.DictWriter(file, COLUMNS, restval="")
        writer.writeheader()
        for image, answer in answers:
            name = {"image": os.fspath(image)}
            if isinstance(answer, ValueError):
                writer.writerow(name | {"error": str(answer)})
                continue
            for row in each(answer, class_names) or [{}]:
                writer.writerow(name | row)


def each(
    found: Mapping[str, np.ndarray], class_names: Sequence[str]
) -> list[dict[str, Any]]:
    """The detections of an image one by one: ``class``, ``score``, ``x1`` … ``y2``."""
    columns = (np.asarray(found[name]) for name in ("classes", "scores", "boxes"))
    return [
        {"class": class_names[int(label)], "score": float(score)}
        | dict(zip(COLUMNS[3:7], map(float, box), strict=True))
        for label, score, box in zip(*columns, strict=True)
    ]


def as_coco(
    answers: Iterable[Answer],
    class_names: Sequence[str],
    category_ids: Sequence[int] | None = None,
) -> list[dict[str, Any]]:
    """What `detect_files` found, as `coco_results`, with the names of the classes.

    Args:
        answers: What `detect_files` yields, of files.
        class_names: One per label.
        category_ids: COCO's number of each class; by default 1, 2, …
    """
    numbers = tuple(category_ids or range(1, 1 + len(class_names)))
    names = dict(zip(numbers, class_names, strict=True))
    good = [
        (os.fspath(image), found)
        for image, found in answers
        if not isinstance(found, ValueError)
    ]
    images, found = zip(*good, strict=True) if good else ((), ())
    return [
        row | {"category_name": names[row["category_id"]]}
        for row in coco_results(found, images, numbers)
    ]


def draw_detections(
    answers: Iterable[Answer],
    class_names: Sequence[str],
    folder: str | os.PathLike[str],
) -> list[pathlib.Path]:
    """Draws each image with the boxes, names and scores of what is found in it.

    Args:
        answers: What `detect_files` yields, of files, which are read again.
        class_names: One per label.
        folder: Where to write a PNG for each image, of its name, with a number where
            images of several folders have one name. It is made if there is none.

    Returns:
        The files.

    Raises:
        OSError: If they can't be written.
    """
    folder, paths = local_path(folder), {}
    for image, found in answers:
        if isinstance(found, ValueError):
            continue
        name = as_text(pathlib.Path(os.fspath(image)).name)
        path = _free(folder, pathlib.Path(name).stem, paths)
        boxes_on_image(upright(image), found, class_names, path, title=name)
        paths[path] = image
    return list(paths)


def _free(folder, stem, taken):
    """A path in a folder that no other image has taken."""
    path, number = folder / f"{stem}.png", 2
    while path in taken:
        path, number = folder / f"{stem}_{number}.png", number + 1
    return path
