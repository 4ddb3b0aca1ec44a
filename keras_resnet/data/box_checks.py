"""Checks annotations before they are trained on: what is wrong is counted and named.

An image whose file, size or annotation can't be used is left out as a whole, and too many
of these are an error. A box that can't be used is left out alone, or cut at the image's
edge; `KINDS` says what is done about each kind of problem.
"""

from __future__ import annotations

import warnings
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from keras_resnet.config.words import counted
from keras_resnet.data.boxes import BoxedExamples, area, boxed, of_images
from keras_resnet.data.image_sizes import Seen

# What is said of the objects, or images, of each kind: one, then many of them.
KINDS: Mapping[str, tuple[str, str]] = {
    "unreadable": (
        "object has no name or no box of four numbers, and is left out",
        "objects have no name or no box of four numbers, and are left out",
    ),
    "class": (
        "object is of a class that isn't among those to train on, and is left out",
        "objects are of classes that aren't among those to train on, and are left out",
    ),
    "empty": (
        "box has no width or no height, and is left out",
        "boxes have no width or no height, and are left out",
    ),
    "outside": (
        "box lies outside of its image, and is left out",
        "boxes lie outside of their images, and are left out",
    ),
    "beyond": (
        "box reaches over the edge of its image, and is cut there",
        "boxes reach over the edges of their images, and are cut there",
    ),
    "duplicate": (
        "object has the class and box of another one: both count, as in VOC's and COCO's "
        "evaluation",
        "objects have the class and box of another one: all of them count, as in VOC's and "
        "COCO's evaluation",
    ),
    "turned": (
        "image lies on its side and was annotated so: its boxes are turned with it",
        "images lie on their sides and were annotated so: their boxes are turned with them",
    ),
    "mirrored": (
        "image is turned upside down or mirrored by its EXIF orientation, and its boxes "
        "are taken to be of what viewers show",
        "images are turned upside down or mirrored by their EXIF orientation, and their "
        "boxes are taken to be of what viewers show",
    ),
    "area": (
        "object has an area that is no number of pixels, and its box's is taken",
        "objects have areas that are no numbers of pixels, and their boxes' are taken",
    ),
    "zero": (
        "box begins at pixel 0, though VOC counts from 1: if the program that wrote it "
        "counts from 0, say so by `zero_based` (--zero-based)",
        "boxes begin at pixel 0, though VOC counts from 1: if the program that wrote them "
        "counts from 0, say so by `zero_based` (--zero-based)",
    ),
    "unannotated": (
        "image has no XML file, and is left out",
        "images have no XML file, and are left out",
    ),
    "without": (
        "image has no objects, and is all background",
        "images have no objects, and are all background",
    ),
}
# What an object that isn't left out can be.
KEPT: tuple[str | None, ...] = (None, "beyond", "duplicate")
ROUNDING = 1.0  # Pixels that a box may reach over the edge without a word.
NAMED = 3  # Of a kind's objects in a warning.


class Problem(NamedTuple):
    """Something that is wrong with an annotation, and was dealt with.

    Attributes:
        kind: One of `KINDS`.
        file: Whose annotation it is.
        said: The object, by its number in the file from 1, and its box; or "".
    """

    kind: str
    file: str
    said: str


@dataclass
class Annotation:
    """What a file says of one image, as it says it.

    Attributes:
        id: What the source calls the image.
        image: The image's path, or its bytes.
        file: Name of the annotation's or image's file, for people.
        size: Height and width in pixels; `None` where the file doesn't say.
        names: The class of each object, by name or number.
        boxes: Float ``(objects, 4)``, ``x1, y1, x2, y2`` as of `boxes`.
        flags: bool or float ``(objects,)`` by name: ``difficult``, ``crowd``, ``areas``.
        numbers: Which object of the file each is, from 1.
        problems: Objects that couldn't be read.
    """

    id: str | int
    image: str | bytes
    file: str
    size: tuple[int, int] | None
    names: list[Any]
    boxes: np.ndarray
    flags: dict[str, np.ndarray] = field(default_factory=dict)
    numbers: list[int] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)


def checked(
    annotations: Sequence[Annotation],
    seen: Mapping[int, Seen | str],
    labels: Mapping[Any, int],
) -> tuple[BoxedExamples | None, tuple[str, ...], list[Problem]]:
    """Makes examples of annotations, without what can't be trained on.

    Args:
        annotations: Of the images of a split.
        seen: For each one's position what its image file is, or why it can't be used.
        labels: The label of each class.

    Returns:
        `BoxedExamples` (`None` if no image is left), the images that were left out with the
        reasons, and the problems of the others.
    """
    kept, sizes, objects, skipped, problems = [], [], [], [], []
    for index, annotation in enumerate(annotations):
        found = seen[index]
        if isinstance(found, Seen) and not _fits(annotation.size, found):
            found = _other_size(annotation.size, found)
        if isinstance(found, str):
            skipped.append(f"{annotation.file} ({found})")
            continue
        upright, new = _upright(annotation, found)
        problems += annotation.problems + new
        columns, new = _usable(upright, found.upright, labels)
        problems += new
        kept.append(annotation)
        sizes.append(found.upright)
        objects.append(columns)
    if not kept:
        return None, tuple(skipped), problems
    images = [annotation.image for annotation in kept]
    ids = [annotation.id for annotation in kept]
    examples = boxed(images, sizes, of_images(objects), ids)
    return examples, tuple(skipped), problems


def _fits(size, found):
    """Whether the size that an annotation states is one of its image's two."""
    return not size or not all(size) or tuple(size) in (found.size, found.upright)


def _other_size(size, found):
    (height, width), (true_height, true_width) = size, found.size
    return (
        f"its annotation is of an image of {width}x{height} pixels, and the file has "
        f"{true_width}x{true_height}"
    )


def _upright(annotation, found):
    """Boxes of the upright image, wherever they were drawn, and what is to be said of it.

    Annotations don't say whether their program turned the photograph. Where it lies on its
    side, the size that they state tells. Where it doesn't, boxes are taken to have been
    drawn on what viewers show.
    """
    if found.orientation == 1:
        return annotation, []
    lying = found.orientation >= 5 and found.size != found.upright
    if lying and tuple(annotation.size or ()) == found.size:
        boxes = turned(annotation.boxes, found)
        drawn = Annotation(**{**vars(annotation), "boxes": boxes})
        return drawn, [Problem("turned", annotation.file, "")]
    return annotation, [] if lying else [Problem("mirrored", annotation.file, "")]


def turned(boxes: np.ndarray, found: Seen) -> np.ndarray:
    """Boxes ``(n, 4)`` of an image as it is stored, in the upright one."""
    height, width = found.size
    x1, y1, x2, y2 = np.reshape(boxes, (-1, 4)).T
    mirrored = width - x2, width - x1
    flipped = height - y2, height - y1
    # By orientation: left and right, then top and bottom, of the upright box.
    (left, right), (top, bottom) = {
        1: ((x1, x2), (y1, y2)),
        2: (mirrored, (y1, y2)),
        3: (mirrored, flipped),
        4: ((x1, x2), flipped),
        5: ((y1, y2), (x1, x2)),
        6: (flipped, (x1, x2)),
        7: (flipped, mirrored),
        8: ((y1, y2), mirrored),
    }[found.orientation]
    return np.stack([left, top, right, bottom], axis=1)


def _usable(annotation, size, labels):
    """The columns of the objects of an image that can be used, and the problems."""
    height, width = size
    boxes = np.reshape(annotation.boxes, (-1, 4)).astype(float)
    inside = np.clip(boxes, 0, [width, height, width, height])
    over = np.abs(boxes - inside).max(axis=1, initial=0)
    kinds, known = [], set()
    for name, box, cut, far in zip(annotation.names, boxes, inside, over, strict=True):
        key = (name, *box)
        if name not in labels:
            kind = "class"
        elif not np.isfinite(box).all():
            kind = "unreadable"
        elif not area(box)[0]:
            kind = "empty"
        elif not area(cut)[0]:
            kind = "outside"
        elif key in known:
            kind = "duplicate"
        else:
            kind = "beyond" if far > ROUNDING else None
        known.add(key)
        kinds.append(kind)
    numbers = annotation.numbers or range(1, len(kinds) + 1)
    problems = [
        Problem(kind, annotation.file, _object(number, name, box))
        for kind, number, name, box in zip(
            kinds, numbers, annotation.names, boxes, strict=True
        )
        if kind
    ]
    kept = [index for index, kind in enumerate(kinds) if kind in KEPT]
    if not kept:
        problems.append(Problem("without", annotation.file, ""))
    columns = {name: np.asarray(flag)[kept] for name, flag in annotation.flags.items()}
    columns["boxes"] = inside[kept]
    columns["labels"] = np.array([labels[annotation.names[i]] for i in kept], np.int32)
    return columns, problems


def _object(number, name, box):
    corners = " ".join(f"{value:g}" for value in box)
    return f"object {number}, {str(name)!r}: {corners}"


def in_sentences(problems: Sequence[Problem]) -> tuple[str, ...]:
    """Says of each kind of problem how many there are, and names the first ones."""
    by_kind = defaultdict(list)
    for problem in problems:
        by_kind[problem.kind].append(problem)
    sentences = []
    for kind, (one, many) in KINDS.items():
        ones = by_kind[kind]
        if not ones:
            continue
        named = "; ".join(
            problem.file + (f", {problem.said}" if problem.said else "")
            for problem in ones[:NAMED]
        )
        more = "; …" * (len(ones) > NAMED)
        sentences.append(f"{counted(len(ones), one, many)} ({named}{more})")
    return tuple(sentences)


def warn(what: str, sentences: Sequence[str]) -> None:
    """Warns of the problems of a data set.

    Args:
        what: Its name.
        sentences: As of `in_sentences`.
    """
    if sentences:
        warnings.warn(f"In the boxes of {what}: {'; '.join(sentences)}.", stacklevel=3)


def check_skipped(skipped: Sequence[str], count: int, what: str, share: float) -> None:
    """Raises `ValueError` if too many images of a split can't be used, and names them."""
    if len(skipped) > share * count:
        shown = "; ".join(skipped[:10]) + ("; …" if len(skipped) > 10 else "")
        raise ValueError(
            "Every image must have a file that can be decoded, and an annotation that can "
            f"be read and is of that file's size; at most {share:.1%} of a split may be "
            f"left out. Received: {what}, where {len(skipped)} of {count} can't be used: "
            f"{shown}. Repair or remove them."
        )
