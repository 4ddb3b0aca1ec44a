"""The examples that a run is measured, calibrated or compared on, and whether they fit."""

from __future__ import annotations

import os
import pathlib
import re
import warnings
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from keras_resnet.config.class_names import (
    imagenet_numbers,
    places_in_imagenet,
    told_apart,
)
from keras_resnet.config.datasets import DATASETS
from keras_resnet.data import folders, shards, sources
from keras_resnet.data.examples import Examples, Splits, StreamedExamples, join
from keras_resnet.data.listing import as_text
from keras_resnet.data.splitting import PATH, with_validation
from keras_resnet.devices.host import tensorflow
from keras_resnet.runs.images import as_trained, changes_since, count_trained_on
from keras_resnet.runs.load import Run
from keras_resnet.runs.places import where


def places_of(run: Run, splits: Splits) -> np.ndarray | None:
    """Finds where the classes of data are among a run's.

    They are the run's own or, where those are ImageNet's, some of them that are called by
    their WordNet numbers.

    Returns:
        The run's class of each label, int32 ``(classes of the data,)``; `None` where the
        data has other classes.
    """
    # The same data has the same classes, also where they got their names later.
    same = splits.sha256 == run.record.get("dataset", {}).get("sha256")
    if same or has_classes(run, splits.class_names):
        return np.arange(len(run.classes), dtype="int32")
    places = places_in_imagenet(splits.class_names)
    if places is None or not has_classes(run, imagenet_numbers()):
        return None
    return np.array(places, "int32")


def with_labels_of(
    run: Run, splits: Splits, examples: Examples | StreamedExamples | None
) -> Examples | StreamedExamples | None:
    """Gives the same examples with labels that are those of a run's classes.

    Where the data has only a part of the classes, a warning says that the network chooses
    among all of them.

    Raises:
        ValueError: If the data has other classes.
    """
    places = places_of(run, splits)
    if places is None:
        raise ValueError(
            f"The data must have the run's classes {run.classes[:5]}…. "
            f"Received: {splits.class_names[:5]}… in {splits.name}.{_unnamed(run)}"
        )
    if np.array_equal(places, np.arange(len(run.classes))):
        return examples
    warnings.warn(
        f"{splits.name} has {len(set(places))} of the network's {len(run.classes):,} "
        "classes, known by their WordNet numbers: the network chooses among all of them.",
        stacklevel=4,
    )
    if isinstance(examples, Examples):
        return Examples(examples.images, places[examples.labels])
    return None if examples is None else _relabelled(examples, places)


def _relabelled(examples: StreamedExamples, places: np.ndarray) -> StreamedExamples:
    tf = tensorflow()

    def read():
        return examples.read().map(
            lambda image, label: (image, tf.gather(places, label))
        )

    return replace(examples, read=read, at=None)


def _unnamed(run):
    """What to do about a converted network whose classes have only numbers."""
    if run.classes != tuple(map(str, range(len(run.classes)))):
        return ""
    return (
        " The network's classes have no names: if they are those of the data, convert it "
        "again with `classes` (--classes), such as --classes imagenet."
    )


def has_classes(run: Run, names: Sequence[str]) -> bool:
    """Tells whether these names are a run's classes, in their order."""
    # Runs of earlier versions may have names whose accents lie apart from the letters.
    ours, theirs = (map(as_text, told_apart(one)) for one in (run.classes, names))
    if list(ours) == list(theirs):
        return True
    # ImageNet's folders have WordNet numbers. Sorted, these are the classes of all
    # published weights but darknet's files, which have an order of their own.
    numbers = list(names) == sorted(names) and all(
        re.fullmatch(r"n\d{8}", name) for name in names
    )
    standard = not str(run.record.get("source", ".weights")).endswith(".weights")
    return standard and numbers and len(names) == len(run.classes) == 1000


def own_data(run: Run) -> str | None:
    """The data that a run was trained on: a data set's name, or a folder's full path.

    `None` of a converted network.
    """
    if "dataset" not in run.record:
        return None
    # A folder may be called like a data set: its path tells it.
    return run.record["overrides"].get("data", run.record["dataset"]["name"])


def examples_of(
    run: Run,
    data: str | os.PathLike[str] | None,
    data_dir: str | os.PathLike[str] | None,
    split: str | None,
) -> tuple[Splits, str, Examples | StreamedExamples | None]:
    """Finds the examples to measure a run on.

    Args:
        run: The run.
        data: Folder of images or name of a data set, if not the run's own.
        data_dir: Where TensorFlow Datasets keeps its data.
        split: ``"test"`` (the default), ``"validation"`` or ``"train"``; not with another
            folder.

    Returns:
        The splits of the data; name and examples of the one to measure on, `None` where
        the data has no such split.

    Raises:
        ValueError: If the run has no data of its own and none is named, the split goes
            with no other folder, or a folder has changed since the training.
        FileNotFoundError: If the folder isn't there.
    """
    trained_on = own_data(run)
    if data is None and trained_on is None:
        raise ValueError(
            f"{run.folder} was converted, not trained here: name the images or the data "
            "set to measure on with `data` (--data)."
        )
    data = trained_on if data is None else where(data)
    if data in DATASETS:
        splits = sources.load(data, data_dir=data_dir)
        return splits, split or "test", getattr(splits, split or "test")
    if os.path.isdir(data) and shards.is_shards(data):
        return examples_of_shards(run, data, split)
    if data == trained_on:
        _check_own_folder(run, data)
    splits = folders.load(data, val_fraction=0)
    # The same sides, or images of the training set would be measured on.
    own = as_trained(run, splits)
    if own is not None:
        return own, split or "test", getattr(own, split or "test")
    if data == trained_on:
        changes = changes_since(run, splits) or (
            "or an earlier version listed them by other rules"
        )
        raise ValueError(
            f"{data} must hold the images that the run was trained on, and it has "
            f"changed since: {changes}. Which of them are validation images is no longer "
            "known. Name a copy of the folder as it was, or other images, with --data."
        )
    if split is not None:
        raise ValueError(
            "`split` (--split) goes with the images that the run was trained on, or a "
            "data set; of another folder all images are measured on, or those of its "
            f"folder 'test'. Leave it out, or name the folder of the split. Received: "
            f"split={split!r}, data={data!r}."
        )
    splits = with_validation(splits, 0, None, PATH)
    if splits.test is not None:
        return splits, "test", splits.test
    if splits.validation is None:
        return splits, "all", splits.train
    return splits, "all", join(splits.train, splits.validation)


def examples_of_shards(
    run: Run, data: str, split: str | None
) -> tuple[Splits, str, Examples | StreamedExamples | None]:
    """Finds the examples to measure a run on in a folder that TFDS wrote.

    Args:
        run: The run.
        data: The folder's full path.
        split: As of `examples_of`.

    Returns:
        As of `examples_of`. By default, of other data than the run's own it is the test
        split, else the validation split, else all.

    Raises:
        ValueError: If the folder has changed since the run was trained on it, or can't be
            read.
    """
    fraction = run.record.get("overrides", {}).get("val_fraction", 0)
    splits = shards.load(data, val_fraction=fraction)
    if splits.sha256 == run.record.get("dataset", {}).get("sha256"):
        return splits, split or "test", getattr(splits, split or "test")
    if data == own_data(run):
        raise ValueError(
            f"{data} must hold the shards that the run was trained on, and their names or "
            "sizes have changed since. Name others with `data` (--data)."
        )
    splits = shards.load(data, val_fraction=0)
    if split is None:
        names = ("test", "validation", "train")
        split = next(name for name in names if getattr(splits, name) is not None)
    return splits, split, getattr(splits, split)


def _check_own_folder(run: Run, data: str) -> None:
    """Raises an error if the folder that a run was trained on can't be split again."""
    if not pathlib.Path(data).is_dir():
        raise FileNotFoundError(
            f"{data} must hold the images that the run was trained on, and it isn't "
            "there. Name the folder where they lie now with `data` (--data): it is known "
            "by what it holds."
        )
    fraction = run.record["overrides"].get("val_fraction")
    if not isinstance(fraction, float) or not 0 < fraction < 1:
        raise ValueError(
            f"{run.folder / 'record.json'} must have the share of the images that "
            "was kept for validation, between 0 and 1, as `overrides.val_fraction`. "
            f"Received: val_fraction={fraction!r}."
        )


def count_of_training(run: Run, splits: Splits, examples: Any) -> int | None:
    """How many images of another folder the run was trained on, of which it warns."""
    other = splits.root is not None and (
        splits.sha256 != run.record.get("dataset", {}).get("sha256")
    )
    count = count_trained_on(run, examples) if other else None
    if count:
        warnings.warn(
            f"{count:,} of these {examples.size:,} images were trained on: on others the "
            "error is higher.",
            stacklevel=3,
        )
    return count
