"""Reads annotations in COCO's JSON form.

A data set is one JSON file, or a folder of them: ``annotations/instances_train2017.json``
and its siblings with the images in ``train2017``, ``images/train2017`` or ``images``; or
``train/_annotations.coco.json`` beside its images, as other programs write it.
"""

from __future__ import annotations

import math
import os
import pathlib
import re
from collections import defaultdict
from typing import Any

import numpy as np

from keras_resnet.data.box_checks import Annotation, Problem
from keras_resnet.data.layout import NAMES, SPLITS
from keras_resnet.data.listing import as_text
from keras_resnet.files import read_json

# The lists, and what each of their rows must have. What an object lacks is named later.
KEYS = {"images": ("id", "file_name"), "annotations": (), "categories": ("id", "name")}


def find(root: pathlib.Path) -> dict[str, pathlib.Path]:
    """Finds the JSON files of the splits of a folder, by their names.

    Args:
        root: The folder, or one JSON file, which is of the training images.

    Returns:
        A path for each split that there is. A file is known by a word of its name, such as
        ``train``, which may be followed by a year, or else by its folder's; files of
        captions, key points and the like are passed over where there are ones of instances.
    """
    if root.is_file():
        return {"train": root} if root.suffix.lower() == ".json" else {}
    places = [root, root / "annotations", *_folders(root)]
    files = [file for place in places for file in sorted(place.glob("*.json"))]
    instances = [file for file in files if "instances" in file.name.lower()]
    found = {}
    for file in instances or files:
        split = split_of(file.stem) or (
            file.parent != root and split_of(file.parent.name)
        )
        if not split:
            continue
        if split in found:
            raise ValueError(
                f"{as_text(root)} must hold one JSON file of {split} images. Received: "
                f"{as_text(found[split].name)} and {as_text(file.name)}. Remove one, or "
                "give the path of the other one itself."
            )
        found[split] = file
    return found


def _folders(root):
    return sorted(
        path for path in root.iterdir() if path.is_dir() and path.name.lower() in NAMES
    )


def split_of(name: str) -> str | None:
    """The split of which a name has a word, perhaps with a year; `None` if none."""
    words = {
        re.sub(r"\d+$", "", word) for word in re.split(r"[^a-z0-9]+", name.lower())
    }
    return next((split for split, names in SPLITS.items() if words & {*names}), None)


def read(file: pathlib.Path, images: pathlib.Path | None = None) -> dict[str, Any]:
    """Reads a JSON file, and finds the folder of its images.

    Args:
        file: Its path.
        images: The folder of its images, if it isn't one of those that are looked at.

    Returns:
        The dictionary, with the folder as ``"folder"``.

    Raises:
        ValueError: If it isn't COCO's form of boxes.
        FileNotFoundError: If its images are in none of the folders.
    """
    try:
        values = read_json(file)
    except ValueError as error:
        raise ValueError(f"{as_text(file)} must be JSON. Received: {error}.") from error
    lacking = [key for key in KEYS if not isinstance(_get(values, key), list)]
    if lacking or not values["images"]:
        raise ValueError(
            f"{as_text(file)} must have COCO's lists {', '.join(KEYS)}, and images. "
            f"Received: a file without {', '.join(lacking) or 'images'}."
        )
    for key, fields in KEYS.items():
        for row in values[key]:
            if not isinstance(row, dict) or not row.keys() >= {*fields}:
                raise ValueError(
                    f"Each of the {key} of {as_text(file)} must be an object of JSON"
                    + (f" with {' and '.join(fields)}" if fields else "")
                    + f". Received: {row!r}."
                )
            if fields and not (_is_key(row["id"]) and _is_key(row[fields[1]])):
                raise ValueError(
                    f"Each of the {key} of {as_text(file)} must have a number as `id` and "
                    f"text as `{fields[1]}`. Received: {row!r}."
                )
    return {**values, "folder": images or _image_folder(file, values["images"])}


def _is_key(value):
    """Whether a value can number something; some programs number by text."""
    return isinstance(value, int | str)


def _key(row, name):
    """The number of what an object belongs to; `None` where there is none."""
    return row[name] if _is_key(row.get(name)) else None


def _get(values, key):
    return values.get(key) if isinstance(values, dict) else None


def _image_folder(file, images):
    """The first folder in which there are images of a file."""
    # instances_train2017 -> train2017.
    year = file.stem.rpartition("_")[2]
    of_split = SPLITS.get(split_of(file.stem), ())
    places = [file.parent]
    for base in (file.parent.parent, file.parent):
        folders = (year, f"images/{year}", "images", *of_split, ".")
        places += [base / folder for folder in folders]
    # A few images may be missing; looking for a hundred takes no time.
    names = [str(image.get("file_name")) for image in images[:100]]
    for place in places:
        if any((place / name).is_file() for name in names):
            return place
    looked = ", ".join(as_text(place) for place in dict.fromkeys(places))
    raise FileNotFoundError(
        f"The images of {as_text(file)}, such as {names[0]!r}, must be in one of the "
        f"folders {looked}. Received: none of them there. Move them, or name their folder "
        "(`images=`)."
    )


def categories_of(values: dict[str, Any], file: pathlib.Path) -> dict[str, int]:
    """COCO's numbers of the classes of a file by name, in the order of the numbers.

    Raises:
        ValueError: If two have one number or one name, or some numbers are texts.
    """
    rows = [(row["id"], str(row["name"])) for row in values["categories"]]
    if len({isinstance(number, str) for number, _ in rows}) > 1:
        raise ValueError(
            f"The categories of {as_text(file)} must be numbered by numbers alone. "
            f"Received: {[number for number, _ in rows]}."
        )
    rows.sort()
    ids, names = (
        (tuple(column) for column in zip(*rows, strict=True)) if rows else ((), ())
    )
    for what, column in (("numbers", ids), ("names", names)):
        twice = sorted({one for one in column if column.count(one) > 1})
        if twice:
            raise ValueError(
                f"The categories of {as_text(file)} must have {what} of their own. "
                f"Received: {twice} twice or more."
            )
    return dict(zip(names, ids, strict=True))


def annotations(values: dict[str, Any], file: pathlib.Path) -> list[Annotation]:
    """The annotation of each image of a file, its objects' classes by name.

    Args:
        values: As of `read`.
        file: Its path, for people.

    Returns:
        One `Annotation` for each image, in the file's order. Objects of images or
        categories that the file doesn't have are in the first one's ``problems``.

    Raises:
        ValueError: If two images have one number.
    """
    names = {row["id"]: str(row["name"]) for row in values["categories"]}
    by_image = defaultdict(list)
    for row in values["annotations"]:
        by_image[_key(row, "image_id")].append(row)
    found, known = [], set()
    for image in values["images"]:
        if image["id"] in known:
            raise ValueError(
                f"Each image of {as_text(file)} must have a number `id` of its own. "
                f"Received: {image}."
            )
        known.add(image["id"])
        found.append(_annotation(image, by_image.pop(image["id"], []), names, values))
    strangers = [row for rows in by_image.values() for row in rows]
    found[0].problems += [
        Problem(
            "unreadable", as_text(file.name), f"object {row.get('id')}, of no image"
        )
        for row in strangers
    ]
    return found


def _annotation(image, rows, names, values):
    name = str(image["file_name"])
    file = as_text(name)
    size = (image.get("height"), image.get("width"))
    found = Annotation(
        id=image["id"],
        image=os.path.join(values["folder"], name),
        file=file,
        size=size if all(isinstance(n, int | float) and n > 0 for n in size) else None,
        names=[],
        boxes=np.zeros((0, 4)),
    )
    boxes, crowd, areas = [], [], []
    for row in rows:
        box = _box(row.get("bbox"))
        said = f"object {row.get('id')}"
        if box is None or _key(row, "category_id") not in names:
            found.problems.append(Problem("unreadable", file, said))
            continue
        area = _area(row)
        if area is None:
            found.problems.append(Problem("area", file, f"{said}: {row['area']!r}"))
        found.names.append(names[row["category_id"]])
        found.numbers.append(row.get("id"))
        boxes.append(box)
        crowd.append(bool(row.get("iscrowd", 0)))
        areas.append(area or (box[2] - box[0]) * (box[3] - box[1]))
    found.boxes = np.reshape(np.array(boxes, float), (-1, 4))
    found.flags = {"crowd": np.array(crowd, bool), "areas": np.array(areas, float)}
    return found


def _area(row):
    """An object's area; 0.0 where its row has none, `None` where that is no number."""
    try:
        area = float(row.get("area") or 0)
    except (TypeError, ValueError):
        return None
    return area if math.isfinite(area) and area >= 0 else None


def _box(values):
    """Corners of COCO's corner, width and height; `None` if it isn't four numbers."""
    try:
        x, y, width, height = map(float, values)
    except (TypeError, ValueError):
        return None
    return x, y, x + width, y + height
