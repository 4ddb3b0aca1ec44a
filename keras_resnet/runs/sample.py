"""Images of a run's data for an export: to compare on and, for 8 bits, to calibrate on."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace

import numpy as np

from keras_resnet.config.datasets import DATASETS
from keras_resnet.config.preprocessing import Preprocessing
from keras_resnet.data import folders, pipelines, sources
from keras_resnet.data.examples import (
    Examples,
    Splits,
    StreamedExamples,
    split_off_validation,
)
from keras_resnet.runs.examples import examples_of, own_data, places_of
from keras_resnet.runs.load import BATCH, Run

CALIBRATION = 300  # Images: NNCF's default, and about what the others advise.
COMPARED = 1000  # Images at most: a figure of a tenth of a percent, in minutes.


@dataclass(frozen=True, eq=False)
class Sample:
    """Images for an export.

    Attributes:
        images: To compare on, uint8 ``(n, H, W, C)`` of the model's size.
        labels: Theirs, integers ``(n,)``; `None` where the run doesn't know the classes.
        data: Name of the data and its split; `None` for noise.
        calibration: For int8: other images, like ``images``.
    """

    images: np.ndarray
    labels: np.ndarray | None = None
    data: str | None = None
    calibration: np.ndarray | None = None


def sample_of(
    run: Run,
    data: str | os.PathLike[str] | None,
    data_dir: str | os.PathLike[str] | None,
    *,
    calibrate: bool,
) -> Sample:
    """Reads images of a run's data, or of other data; of none, it makes noise.

    Args:
        run: The run.
        data: Folder of images or name of a data set, if not the run's own.
        data_dir: Where TensorFlow Datasets keeps its data.
        calibrate: Whether images to calibrate on are needed, too.

    Raises:
        FileNotFoundError, ImportError, ValueError: If the named data can't be read or
            has no such images, nor those in the named ``data_dir``, or the run's own
            can't and they are needed.
    """
    try:
        splits, split, examples = _examples(run, data, data_dir)
    except (ValueError, FileNotFoundError, ImportError) as error:
        if data is not None or data_dir is not None:
            raise
        if calibrate:
            raise ValueError(
                "int8 needs real images to measure the activations' ranges on: name a "
                f"folder of them with `data` (--data). The run's own can't be used: {error}"
            ) from error
        return Sample(_noise(run.preprocessing))
    calibration = None
    if calibrate:
        calibrating = splits.train
        if split == "all":  # A folder: some of it calibrate, others compare.
            split, examples, calibrating = "validation", *_in_two(splits)
        calibration, _ = prepared(calibrating, run.preprocessing, CALIBRATION)
    images, labels = prepared(examples, run.preprocessing, COMPARED)
    places = places_of(run, splits)
    return Sample(
        images,
        None if places is None else places[labels],
        f"{splits.name} {split}",
        calibration,
    )


def _examples(run, data, data_dir):
    """Splits of the data; name and examples of the one to compare on, if it has one."""
    trained = "dataset" in run.record
    if data is None and not _own_data_is_here(run, data_dir):
        raise FileNotFoundError(
            "The data set that the run was trained on must be here, and it isn't. "
            f"Received: data_dir={data_dir!r}. Name its folder with `data_dir` "
            "(--data-dir), or other images with `data` (--data)."
        )
    wanted = "validation" if trained and data is None else None
    splits, split, examples = examples_of(run, data, data_dir, wanted)
    if examples is None and splits.validation is not None:
        split, examples = "validation", splits.validation
    if examples is None:
        raise ValueError(
            f"{splits.name} has no {split} split: name a folder of images with "
            "`data` (--data), or leave it out."
        )
    return splits, split, examples


def _in_two(splits: Splits) -> tuple[Examples, Examples]:
    """Examples of a folder to compare on, and others to calibrate on."""
    if splits.validation is not None:
        return splits.validation, splits.train
    size = round(folders.VAL_FRACTION * splits.train.size)
    return split_off_validation(splits.train, size)[::-1]


def _noise(preprocessing):
    shape = (BATCH, *preprocessing.size, preprocessing.channels)
    return np.random.default_rng(0).integers(0, 256, shape, "uint8")


def _own_data_is_here(run: Run, data_dir) -> bool:
    """Whether a run's data can be read without a download, as far as it has any."""
    name = own_data(run)
    return name not in DATASETS or sources.is_here(name, data_dir)


def prepared(
    examples: Examples | StreamedExamples, preprocessing: Preprocessing, count: int
) -> tuple[np.ndarray, np.ndarray]:
    """Gives images as exported networks take them, and their labels.

    Args:
        examples: A split's.
        preprocessing: What the network's images go through.
        count: How many at most.

    Returns:
        uint8 ``(n, H, W, C)`` of the model's size, and integers ``(n,)``.
    """
    if isinstance(examples, Examples) and examples.size > count:
        # From everywhere: a folder's images lie class by class.
        chosen = np.linspace(0, examples.size - 1, count).astype(int)
        examples = Examples(examples.images[chosen], examples.labels[chosen])
    # A normalization that changes nothing.
    bare = replace(
        preprocessing,
        mean=(0.0,) * preprocessing.channels,
        std=(1.0,) * preprocessing.channels,
        channel_order="rgb",
    )
    batches = pipelines.evaluation_batches(examples, bare, batch_size=BATCH)
    pairs = list(batches.take(-(-count // BATCH)).as_numpy_iterator())
    images = np.concatenate([images for images, _ in pairs])[:count]
    labels = np.concatenate([labels for _, labels in pairs])[:count]
    return images.astype("uint8"), labels
