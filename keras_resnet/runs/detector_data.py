"""The images with boxes that a detector's run is measured on, and whether they fit."""

from __future__ import annotations

import os
import pathlib
import warnings
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from keras_resnet.config.box_batches import BoxBatches
from keras_resnet.config.box_datasets import BOX_DATASETS
from keras_resnet.config.datasets import DATA_SET
from keras_resnet.config.words import counted
from keras_resnet.data import box_folders, box_sources
from keras_resnet.data.boxes import (
    BoxedExamples,
    BoxedSplits,
    boxed,
    of_images,
    with_fingerprint,
)
from keras_resnet.detection import FasterRCNN
from keras_resnet.files import local_path
from keras_resnet.runs.detector_run import DetectorRun


class Detector(NamedTuple):
    """A detector's run as what answers for images.

    Attributes:
        model: A `FasterRCNN`.
        classes: Their names.
        settings: How images are resized, a `BoxBatches`.
        category_ids: The number of each class in COCO's form of results: that of the
            data it was trained on.
    """

    model: FasterRCNN
    classes: tuple[str, ...]
    settings: BoxBatches
    category_ids: tuple[int, ...]


def as_predictor(run: DetectorRun) -> Detector:
    """A detector's run as what answers for images."""
    return Detector(run.model, run.classes, run.batches, _numbers(run))


def _numbers(run):
    """The number of each class in the data that a run was trained on; else 1, 2, …"""
    data = run.record.get("dataset", {})
    return tuple(data.get("category_ids") or range(1, 1 + len(run.classes)))


def examples_of(
    run: DetectorRun,
    data: str | os.PathLike[str] | None,
    data_dir: str | os.PathLike[str] | None,
    split: str | None,
) -> tuple[BoxedSplits, str, BoxedExamples]:
    """Finds the images to measure a detector on, with labels that are those of its classes.

    Args:
        run: Of a detector.
        data: Folder of images with boxes, a COCO JSON file or name of a data set, if not
            the run's own. A folder that holds what the run was trained on is the run's own,
            wherever it lies now.
        data_dir: Where TensorFlow Datasets keeps its data.
        split: ``"test"`` (the default) or ``"validation"``; not with another folder.

    Returns:
        The splits of the data; name and examples of the one to measure on: of another
        folder its test images or, if it has none, all.

    Raises:
        ValueError: If there is no such split, the split goes with no other folder, the
            folder has changed since the training, or has none of the run's classes.
        FileNotFoundError: If the folder isn't there.
    """
    described = run.record["dataset"]
    own = run.record.get("overrides", {}).get("data", described["name"])
    # The run's own folder is recorded by its full path, a data set by its name.
    by_name = data is None
    data = own if by_name else str(local_path(data, "`data` (--data)"))
    name = data.removeprefix(DATA_SET)
    by_name |= data != name or not os.path.exists(data)
    if name in BOX_DATASETS and by_name:
        splits = box_sources.load(name, data_dir=data_dir)
        return splits, split or "test", _fitting(run, splits, split or "test")
    splits = _as_trained(run, local_path(data))
    if splits.sha256 == described["sha256"]:
        return splits, split or "test", _fitting(run, splits, split or "test")
    if data == own:
        raise ValueError(
            f"{data} must hold the images and boxes that the run was trained on, and it "
            "has changed since: which of them are validation images is no longer known. "
            "Name a copy of the folder as it was, or other images, with `data` (--data)."
        )
    if split is not None:
        raise ValueError(
            "`split` (--split) goes with the images that the run was trained on, or a "
            "data set; of another folder the test images are measured on, or all. Leave "
            f"it out. Received: split={split!r}, data={data!r}."
        )
    if splits.test is not None:
        return splits, "test", _fitting(run, splits, "test")
    parts = [part for part in (splits.train, splits.validation) if part is not None]
    splits = replace(splits, train=_joined(parts), validation=None)
    return splits, "all", _fitting(run, splits, "train")


def _as_trained(run, path: pathlib.Path) -> BoxedSplits:
    """A folder, split as the run's own was."""
    asked = run.record.get("overrides", {})
    splits = box_folders.load(path, val_fraction=0)
    fraction = asked.get("val_fraction")
    if splits.validation is not None or not fraction:
        return splits
    train, held = box_folders.split_off(
        splits.train, splits.root, fraction, asked.get("group")
    )
    return with_fingerprint(replace(splits, train=train, validation=held))


def _joined(parts: Sequence[BoxedExamples]) -> BoxedExamples:
    """The images of several splits, one after the other."""
    return boxed(
        [image for part in parts for image in part.images],
        np.concatenate([part.sizes for part in parts]),
        of_images(
            [part.objects.of(i) for part in parts for i in range(part.size)],
        ),
        [name for part in parts for name in part.ids],
    )


def _fitting(run, splits: BoxedSplits, split: str) -> BoxedExamples:
    """A split with the labels of the run's classes; objects of others are left out."""
    examples = getattr(splits, split)
    if examples is None:
        raise ValueError(f"{splits.name} has no {split} split: use --split validation.")
    places = {name: label for label, name in enumerate(run.classes)}
    new = np.array([places.get(name, -1) for name in splits.class_names], np.int32)
    if (new < 0).all():
        raise ValueError(
            f"The data must have a class of the run's, such as {run.classes[:5]}. "
            f"Received: {splits.class_names[:5]} in {splits.name}."
        )
    objects = examples.objects
    known = new[objects.labels] >= 0
    if not known.all():
        others = [name for name in splits.class_names if name not in places]
        warnings.warn(
            f"In {splits.name} {counted(int((~known).sum()), 'object is', 'objects are')} "
            f"left out: the detector doesn't have the classes {', '.join(others[:5])}.",
            stacklevel=3,
        )
    kept = objects.keep(known)
    return replace(examples, objects=replace(kept, labels=new[kept.labels]))
