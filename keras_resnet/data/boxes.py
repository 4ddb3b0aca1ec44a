"""Images with boxes: the one form of VOC folders, COCO's JSON and TensorFlow Datasets.

A box is ``x1, y1, x2, y2`` in pixels of the upright image. Coordinates count from the left
and upper edge of the image, so that a photograph of 640x480 as a whole is
``(0, 0, 640, 480)``, and a box is ``x2 - x1`` wide: it is half-open.

VOC writes the first and the last pixel that belong to an object, counted from 1. Its
corners become ``(xmin - 1, ymin - 1, xmax, ymax)``, so that the devkit's width, which is
``xmax - xmin + 1``, is ours. (Detectron2 reads them so, too; py-faster-rcnn subtracts 1
from all four, and adds it to each width later.) COCO's corner, width and height are ours as
they are.
"""

from __future__ import annotations

import hashlib
import pathlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from keras_resnet.config.words import counted
from keras_resnet.data.examples import Examples, StreamedExamples
from keras_resnet.data.identity import fingerprint_of_files


@dataclass(frozen=True, eq=False)
class Objects:
    """The objects in a number of images, image after image.

    Attributes:
        starts: int64 ``(images + 1,)``; the objects of image ``i`` are those from
            ``starts[i]`` to ``starts[i + 1]``.
        boxes: float32 ``(objects, 4)``, ``x1, y1, x2, y2`` in pixels (see the module).
        labels: int32 ``(objects,)``, from 0.
        difficult: bool ``(objects,)``: VOC's flag; its evaluation ignores these.
        crowd: bool ``(objects,)``: COCO's flag, one box for many objects. They are never
            trained on, and COCO's evaluation ignores what lies in them.
        areas: float32 ``(objects,)``, in pixels: COCO's of the segmentation, by which its
            evaluation tells small, medium and large objects apart; else the boxes'.
    """

    starts: np.ndarray
    boxes: np.ndarray
    labels: np.ndarray
    difficult: np.ndarray
    crowd: np.ndarray
    areas: np.ndarray

    def __post_init__(self) -> None:
        count = len(self.boxes)
        others = (self.labels, self.difficult, self.crowd, self.areas)
        lengths = [len(values) for values in others]
        if self.boxes.shape != (count, 4) or lengths != [count] * 4:
            raise ValueError(
                "`boxes` must have four columns, and there must be one label, one flag of "
                "each kind and one area for each. Received: boxes of shape "
                f"{self.boxes.shape}, and {lengths} of the others."
            )
        if self.starts[0] != 0 or self.starts[-1] != count:
            raise ValueError(
                "`starts` must begin with 0 and end with the number of boxes. Received: "
                f"{self.starts[0]} and {self.starts[-1]} for {count} boxes."
            )
        if count and self.labels.min() < 0:
            raise ValueError(
                "Labels must be from 0: the background has none, and padding must be left "
                f"out. Received: {self.labels.min()}."
            )

    @property
    def counts(self) -> np.ndarray:
        """int64 ``(images,)``: how many objects each image has."""
        return np.diff(self.starts)

    def of(self, image: int) -> dict[str, np.ndarray]:
        """The objects of one image, by the names of the attributes."""
        part = slice(self.starts[image], self.starts[image + 1])
        return {name: values[part] for name, values in self._columns()}

    def keep(self, mask: np.ndarray) -> Objects:
        """Those for which a mask, bool ``(objects,)``, is true."""
        before = np.concatenate([[0], np.cumsum(mask)])
        columns = {name: values[mask] for name, values in self._columns()}
        return Objects(before[self.starts], **columns)

    def take(self, images: np.ndarray) -> Objects:
        """Those of some images, by the images' positions, in this order."""
        return of_images([self.of(image) for image in images])

    def _columns(self):
        names = ("boxes", "labels", "difficult", "crowd", "areas")
        return [(name, getattr(self, name)) for name in names]


def of_images(images: Sequence[Mapping[str, np.ndarray]]) -> Objects:
    """Puts the objects of images one after the other.

    Args:
        images: For each image a dictionary with ``boxes`` ``(n, 4)`` and ``labels``
            ``(n,)``; ``difficult``, ``crowd`` and ``areas`` may lack.
    """

    def column(name, kind, default, shape=()):
        rows = [
            np.reshape(image[name] if name in image else default(image), (-1, *shape))
            for image in images
        ]
        empty = np.zeros((0, *shape), kind)
        return np.concatenate([empty, *rows]).astype(kind)

    def none(image):
        return np.zeros(len(image["labels"]), bool)

    counts = [len(image["labels"]) for image in images]
    return Objects(
        starts=np.concatenate([[0], np.cumsum(counts, dtype=np.int64)]),
        boxes=column("boxes", np.float32, None, (4,)),
        labels=column("labels", np.int32, None),
        difficult=column("difficult", bool, none),
        crowd=column("crowd", bool, none),
        areas=column("areas", np.float32, lambda image: area(image["boxes"])),
    )


def area(boxes: np.ndarray) -> np.ndarray:
    """The areas of boxes ``(n, 4)`` in pixels; 0 where a corner is on the wrong side."""
    boxes = np.reshape(boxes, (-1, 4))
    return np.prod(np.maximum(boxes[:, 2:] - boxes[:, :2], 0), axis=1)


@dataclass(frozen=True, eq=False)
class BoxedExamples:
    """A split of images with boxes.

    Attributes:
        examples: `Examples` or `StreamedExamples` of encoded images or files. Their labels
            are the images' positions, from 0.
        sizes: int32 ``(n, 2)``: height and width in pixels of each upright image.
        objects: `Objects` of as many images.
        ids: What the source calls each image: COCO's number, or the file's name.
    """

    examples: Examples | StreamedExamples
    sizes: np.ndarray
    objects: Objects
    ids: tuple[str | int, ...]

    def __post_init__(self) -> None:
        lengths = (len(self.sizes), len(self.objects.starts) - 1, len(self.ids))
        if lengths != (self.size,) * 3:
            raise ValueError(
                "There must be one size, one list of objects and one name for each image. "
                f"Received: {self.size} images, and {lengths} of these."
            )

    @property
    def size(self) -> int:
        """Number of images."""
        return self.examples.size

    @property
    def images(self) -> np.ndarray:
        """Encoded images or paths, as of `Examples`; streamed ones have none."""
        return self.examples.images

    def take(self, positions: np.ndarray) -> BoxedExamples:
        """Some of the images, by their positions, in this order, numbered anew."""
        return BoxedExamples(
            Examples(self.images[positions], np.arange(len(positions), dtype=np.int32)),
            self.sizes[positions],
            self.objects.take(positions),
            tuple(self.ids[position] for position in positions),
        )


def boxed(
    images: Sequence[str | bytes],
    sizes: np.ndarray,
    objects: Objects,
    ids: Sequence[str | int],
) -> BoxedExamples:
    """Makes `BoxedExamples` of paths or encoded images."""
    positions = np.arange(len(images), dtype=np.int32)
    array = np.empty(len(images), object)
    array[:] = list(images)
    sizes = np.reshape(np.asarray(sizes, np.int32), (-1, 2))
    return BoxedExamples(Examples(array, positions), sizes, objects, tuple(ids))


@dataclass(frozen=True, eq=False)
class BoxedSplits:
    """A data set of images with boxes, split into training, validation and test images.

    Attributes:
        train: `BoxedExamples`.
        validation: The same, or `None` where none were split off.
        test: The same, or `None` where nobody set images apart for a test.
        class_names: One name per label.
        name, version: Of the data set.
        sha256: Fingerprint of images, boxes, labels, flags and areas.
        category_ids: The number of each class in COCO's form of results: that of the
            COCO JSON or data set, else 1, 2, …
        skipped: The images that were left out, each with the reason.
        problems: What `box_checks` found in the others, in sentences.
        root: The folder that paths are relative to; `None` of a data set by name.
        val_fraction: Share of a folder's training images that was split off for
            validation; `None` where lists, folders or files give these.
    """

    train: BoxedExamples
    validation: BoxedExamples | None
    test: BoxedExamples | None
    class_names: tuple[str, ...]
    name: str
    version: str = ""
    sha256: str = ""
    category_ids: tuple[int, ...] = ()
    skipped: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    root: pathlib.Path | None = None
    val_fraction: float | None = None

    def __post_init__(self) -> None:
        for split, examples in sets_of(self).items():
            labels = examples.objects.labels
            if labels.size and not 0 <= labels.min() <= labels.max() < self.classes:
                raise ValueError(
                    f"Labels must be from 0 to {self.classes - 1}, as there are "
                    f"{self.classes} class names; the background has none. Received: "
                    f"{labels.min()} to {labels.max()} in the {split} images."
                )

    @property
    def classes(self) -> int:
        """Number of classes, without the background."""
        return len(self.class_names)

    @property
    def counts(self) -> str:
        """How many images, objects and classes there are, in one line for people."""
        sets = sets_of(self)
        names = {"train": "to train on", "test": "for the test"}
        shares = ", ".join(
            f"{examples.size:,} {names.get(split, f'for {split}')}"
            for split, examples in sets.items()
        )
        images = counted(sum(examples.size for examples in sets.values()), "image")
        objects = sum(len(examples.objects.labels) for examples in sets.values())
        return (
            f"{images} with {counted(objects, 'object')} of {self.classes:,} classes in "
            f"{self.name}: {shares}"
        )


def sets_of(splits: BoxedSplits) -> dict[str, BoxedExamples]:
    """The splits that there are, by their names."""
    found = {name: getattr(splits, name) for name in ("train", "validation", "test")}
    return {name: examples for name, examples in found.items() if examples is not None}


def with_fingerprint(
    splits: BoxedSplits, of_images: Callable[[BoxedSplits], str] = fingerprint_of_files
) -> BoxedSplits:
    """The same data set with its fingerprint.

    Args:
        splits: A data set.
        of_images: Function to a text that tells its images from others; of files, by
            default, `identity.fingerprint_of_files`.
    """
    digest = hashlib.sha256(of_images(splits).encode())
    digest.update("\n".join(splits.class_names).encode())
    for split, examples in sets_of(splits).items():
        objects = examples.objects
        digest.update(f"{split} {examples.size}".encode())
        for values, kind in (
            (examples.sizes, "<i4"),
            (objects.starts, "<i8"),
            (objects.boxes, "<f4"),
            (objects.labels, "<i4"),
            (objects.difficult, "u1"),
            (objects.crowd, "u1"),
            (objects.areas, "<f4"),
        ):
            digest.update(values.astype(kind).tobytes())
    return replace(splits, sha256=digest.hexdigest())
