"""Reads the XML files of PASCAL VOC's layout, and of exports in its form.

Three layouts are known: VOC's own (``Annotations``, ``JPEGImages`` and, with the names of
the images of each split, ``ImageSets/Main``); the same without ``ImageSets``; and folders
of splits (``train``, ``valid``, ``test``) in which each XML file lies beside its image.
"""

from __future__ import annotations

import math
import pathlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from xml.etree import ElementTree

import numpy as np

from keras_resnet.config.image_formats import SUFFIXES
from keras_resnet.data.box_checks import Annotation, Problem
from keras_resnet.data.layout import SPLITS
from keras_resnet.data.listing import as_text, contents, list_images

ANNOTATIONS, IMAGES, LISTS = "Annotations", "JPEGImages", "ImageSets"
CORNERS = ("xmin", "ymin", "xmax", "ymax")
LEVELS = 2  # Folders that may lie around the data set, such as VOCdevkit/VOC2007.


@dataclass
class Read:
    """The annotations of a split.

    Attributes:
        annotations: Of the images that have a readable one.
        broken: The others' files, each with the reason.
        problems: Images that nobody has annotated.
    """

    annotations: list[Annotation] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)


def find(root: pathlib.Path) -> pathlib.Path | None:
    """The folder that has VOC's layout: this one, or the only one of its folders.

    Returns:
        `None` where there are no XML files in one of the known layouts.
    """
    for _ in range(1 + LEVELS):
        if (root / ANNOTATIONS).is_dir():
            return root
        if any(_xml_files(folder) for folder in _folders_of_splits(root).values()):
            return root
        folders = contents(root).folders
        if len(folders) != 1:
            return None
        root = folders[0]
    return None


def read(
    root: pathlib.Path, *, zero_based: bool = False, to_train: bool = True
) -> dict[str, Read]:
    """Reads all annotations of a folder that `find` gave.

    Args:
        root: The folder.
        zero_based: Whether corners are coordinates that begin at 0 and are taken as they
            are; VOC's own are numbers of pixels from 1 (see `boxes`).
        to_train: Whether there must be images to train on.

    Returns:
        A `Read` for each of ``"train"``, ``"validation"`` and ``"test"`` that there is. An
        image of ``trainval.txt`` belongs to the training images if no other list has it.

    Raises:
        FileNotFoundError: If no image is listed, or none to be trained on.
    """
    if not (root / ANNOTATIONS).is_dir():
        places = {
            split: _beside(folder)
            for split, folder in _folders_of_splits(root).items()
            if _xml_files(folder)
        }
    else:
        places = _in_lists(root)
    if not (places.get("train") or (not to_train and any(places.values()))):
        raise FileNotFoundError(
            f"{as_text(root)} must have images{' to train on' * to_train}: names in "
            f"{LISTS}/Main/train.txt (or trainval.txt), or XML files in {ANNOTATIONS}. "
            "Received: none."
        )
    return {
        split: _read_all(pairs, zero_based) for split, pairs in places.items() if pairs
    }


def _folders_of_splits(root):
    """The folders of splits by split, in any capitals."""
    return {
        split: folder
        for folder in contents(root).folders
        for split, names in SPLITS.items()
        if folder.name.lower() in names
    }


def _xml_files(folder):
    return sorted(folder.glob("*.xml"))


def _beside(folder):
    """Pairs of XML file and images in one folder."""
    return _pairs(_xml_files(folder), _by_stem(contents(folder).images))


def _pairs(files, images):
    """Pairs of XML file and images, and of nothing and images that have none."""
    pairs = [(file, images.pop(file.stem, [])) for file in files]
    return pairs + [(None, paths) for paths in images.values()]


def _by_stem(paths):
    """Paths of images by their names without suffix: 1.jpg and 1.png have one name."""
    found = {}
    for path in paths:
        found.setdefault(path.stem, []).append(path)
    return found


def _in_lists(root):
    """Pairs of XML file and images of each split, by VOC's lists of names."""
    images = _by_stem(list_images(root / IMAGES).files)

    def pairs(names):
        return [
            (root / ANNOTATIONS / f"{name}.xml", images.get(name, [])) for name in names
        ]

    lists = _lists(root / LISTS / "Main", _by_stem(_xml_files(root / ANNOTATIONS)))
    if not lists:
        return {"train": _pairs(_xml_files(root / ANNOTATIONS), images)}
    both = lists.pop("trainval", [])
    known = {name for names in lists.values() for name in names}
    rest = [name for name in both if name not in known]
    lists["train"] = lists.get("train", []) + rest
    return {split: pairs(names) for split, names in lists.items()}


def _lists(folder, annotated):
    """The names in VOC's lists of images, by split; each name once.

    A name may have spaces if there is an XML file of it: else it is a line's first word.
    """
    found = {}
    for path in sorted(folder.glob("*.txt")):
        name = path.stem.lower()
        split = next((s for s, names in SPLITS.items() if name in names), None)
        if split is None and name != "trainval":
            continue  # VOC's lists of one class each, such as cat_train.txt.
        try:
            lines = [line.strip() for line in path.read_text("utf-8-sig").splitlines()]
        except UnicodeDecodeError as error:
            raise ValueError(
                f"{as_text(path)} must be a list of names in UTF-8. Received: {error}. "
                "Save it in UTF-8."
            ) from error
        names = ((_without_suffix(x), x.split()[0]) for x in lines if x)
        found[split or name] = list(
            dict.fromkeys(
                whole if whole in annotated else _without_suffix(first)
                for whole, first in names
            )
        )
    return found


def _without_suffix(name):
    stem, dot, suffix = name.rpartition(".")
    return stem if dot and f".{suffix.lower()}" in (*SUFFIXES, ".xml") else name


def _read_all(pairs, zero_based):
    found = Read()
    for file, images in pairs:
        if file is None:
            found.problems += _unannotated(images)
            continue
        name = as_text(file.name)
        if not images:
            found.broken.append(f"{name} (there is no image {as_text(file.stem)!r})")
            continue
        try:
            image = _image_of(file, images)
            found.annotations.append(annotation(file, image, zero_based=zero_based))
        except FileNotFoundError:
            found.broken.append(f"{name} (there is no such file)")
        # Python doesn't know every encoding that an XML file may state.
        except (OSError, ValueError, LookupError, ElementTree.ParseError) as error:
            found.broken.append(f"{name} ({error})")
        else:
            found.problems += _unannotated(path for path in images if path != image)
    return found


def _unannotated(images):
    return [Problem("unannotated", as_text(path.name), "") for path in images]


def _image_of(file, images):
    """The image of an XML file: of several with its name, the one that it says."""
    if len(images) == 1:
        return images[0]
    said = ElementTree.parse(file).getroot().findtext("filename")
    named = [path for path in images if said and path.name == said.strip()]
    if len(named) != 1:
        paths = " and ".join(as_text(path.name) for path in images)
        raise ValueError(f"there are {paths}, and its <filename> is {said!r}")
    return named[0]


def annotation(
    file: pathlib.Path, image: pathlib.Path, *, zero_based: bool = False
) -> Annotation:
    """Reads one XML file of VOC's form.

    Args:
        file: Its path.
        image: The path of its image.
        zero_based: As of `read`.

    Returns:
        An `Annotation`. A box whose last pixel isn't beyond its first one has no area: VOC
        would count it one pixel wide, but programs write that for a click of the mouse.

    Raises:
        ElementTree.ParseError: If it isn't XML.
        ValueError: If it isn't an annotation.
    """
    root = ElementTree.parse(file).getroot()
    if root.tag != "annotation":
        raise ValueError(f"it must be an <annotation>, and is a <{root.tag}>")
    name = as_text(file.name)
    found = Annotation(
        id=as_text(file.stem),
        image=str(image),
        file=name,
        size=_size(root),
        names=[],
        boxes=np.zeros((0, 4)),
    )
    boxes, difficult = [], []
    for number, element in enumerate(root.findall("object"), start=1):
        label = (element.findtext("name") or "").strip()
        corners = _corners(element)
        if not label or corners is None:
            said = f"object {number}, {label!r}"
            found.problems.append(Problem("unreadable", name, said))
            continue
        if not zero_based and min(corners[:2]) == 0:
            said = f"object {number}, {label!r}"
            found.problems.append(Problem("zero", name, said))
        found.names.append(label)
        found.numbers.append(number)
        boxes.append(corners if zero_based else half_open(corners))
        difficult.append((element.findtext("difficult") or "").strip() == "1")
    found.boxes = np.reshape(np.array(boxes, float), (-1, 4))
    found.flags = {"difficult": np.array(difficult, bool)}
    return found


def half_open(corners: tuple[float, float, float, float]) -> tuple[float, ...]:
    """VOC's first and last pixels, counted from 1, as coordinates (see `boxes`)."""
    xmin, ymin, xmax, ymax = corners
    if xmax <= xmin or ymax <= ymin:
        return corners
    return xmin - 1, ymin - 1, xmax, ymax


def _size(root):
    """Height and width that the file states; `None` if it states none."""
    try:
        height, width = (int(root.findtext(f"size/{k}")) for k in ("height", "width"))
    except (TypeError, ValueError):
        return None
    return (height, width) if height > 0 and width > 0 else None


def _corners(element):
    """The four numbers of an object's box; `None` where they aren't."""
    try:
        corners = tuple(float(element.findtext(f"bndbox/{k}")) for k in CORNERS)
    except (TypeError, ValueError):
        return None
    return corners if all(map(math.isfinite, corners)) else None


def class_names(reads: Mapping[str, Read]) -> tuple[str, ...]:
    """The names of the classes of the training images' objects, in alphabetical order."""
    return tuple(sorted({n for a in reads["train"].annotations for n in a.names}))
