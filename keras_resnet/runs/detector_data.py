"""The images with boxes that a detector's run is measured on, and whether they fit."""

from __future__ import annotations

import os
import pathlib
import warnings
from dataclasses import replace

import numpy as np

from keras_resnet.config.box_datasets import BOX_DATASETS
from keras_resnet.config.datasets import DATA_SET
from keras_resnet.config.words import counted
from keras_resnet.data import box_folders, box_sources
from keras_resnet.data.boxes import (
    BoxedExamples,
    BoxedSplits,
    with_fingerprint,
)
from keras_resnet.data.boxes_to_measure import load_to_measure
from keras_resnet.files import local_path
from keras_resnet.runs.detector_run import DetectorRun


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
            wherever it lies now. A converted detector has none.
        data_dir: Where TensorFlow Datasets keeps its data.
        split: ``"test"`` (the default) or ``"validation"``; not with another folder.

    Returns:
        The splits of the data; name and examples of the one to measure on: of another
        folder its test images or, if it has none, all.

    Raises:
        ValueError: If there is no such split, the split goes with no other folder, the
            folder has changed since the training, or has no object of the run's classes; or
            if a converted detector is given no data.
        FileNotFoundError: If the folder isn't there.
    """
    described = run.record.get("dataset")
    if described is None and data is None:
        raise ValueError(
            "`data` (--data) must be given: a converted detector doesn't tell what it was "
            "trained on. Received: none."
        )
    own = described and run.record["overrides"].get("data", described["name"])
    # The run's own folder is recorded by its full path, a data set by its name.
    by_name = data is None
    data = own if by_name else str(local_path(data, "`data` (--data)"))
    name = data.removeprefix(DATA_SET)
    by_name |= data != name or not os.path.exists(data)
    if name in BOX_DATASETS and by_name:
        splits = box_sources.load(name, data_dir=data_dir)
        return splits, split or "test", _fitting(run, splits, split or "test")
    path, _ = box_folders.found_at(data)
    splits = _as_trained(run, path) if described else None
    if splits is not None:
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
    from_zero = bool(described) and run.record["overrides"].get("zero_based", False)
    splits, split = load_to_measure(path, run.classes, zero_based=from_zero)
    return splits, split, _fitting(run, splits, "train")


def _as_trained(run, path: pathlib.Path) -> BoxedSplits | None:
    """A folder, split as the run's own was; `None` if it isn't the run's own."""
    asked, fraction = (
        run.record["overrides"],
        run.record["overrides"].get("val_fraction"),
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # What is to be said was said in training.
        try:
            splits = box_folders.load(
                path, val_fraction=0, zero_based=asked.get("zero_based", False)
            )
            if splits.validation is None and fraction:
                train, held = box_folders.split_off(
                    splits.train, splits.root, fraction, asked.get("group")
                )
                splits = replace(splits, train=train, validation=held)
        except (FileNotFoundError, ValueError):
            return None  # `load_to_measure` says what is wrong.
    splits = with_fingerprint(splits)
    return splits if splits.sha256 == run.record["dataset"]["sha256"] else None


def _fitting(run, splits: BoxedSplits, split: str) -> BoxedExamples:
    """A split with the labels of the run's classes; objects of others are left out."""
    examples = getattr(splits, split)
    if examples is None:
        raise ValueError(f"{splits.name} has no {split} split: use --split validation.")
    places = {name: label for label, name in enumerate(run.classes)}
    new = np.array([places.get(name, -1) for name in splits.class_names], np.int32)
    objects = examples.objects
    known = new[objects.labels] >= 0
    if not known.any():
        there = {splits.class_names[label] for label in objects.labels}
        raise ValueError(
            "The images must have an object of the run's classes, such as "
            f"{run.classes[:5]}. Received: {examples.size} images of {splits.name}, with "
            f"objects of {sorted(there)[:5] or 'no class'}."
        )
    if not known.all():
        others = [name for name in splits.class_names if name not in places]
        warnings.warn(
            f"In {splits.name} {counted(int((~known).sum()), 'object is', 'objects are')} "
            f"left out: the detector doesn't have the classes {', '.join(others[:5])}.",
            stacklevel=3,
        )
    kept = objects.keep(known)
    return replace(examples, objects=replace(kept, labels=new[kept.labels]))
