"""A run's network and the images that a report is on, and how long they take."""

from __future__ import annotations

import itertools
import os
import pathlib
import time
from dataclasses import dataclass

import keras
import numpy as np

from keras_resnet.config.datasets import DATASETS
from keras_resnet.data import pipelines, sources
from keras_resnet.data.examples import Examples, Splits, StreamedExamples
from keras_resnet.runs.batch_sizes import images_at_once
from keras_resnet.runs.examples import examples_of, own_data, with_labels_of
from keras_resnet.runs.load import Run
from keras_resnet.runs.load import load_classifier as load
from keras_resnet.runs.places import where
from keras_resnet.runs.predictions import Predictions, names_of

TIMED = 3  # Batches; a graph is traced for the first.
BATCH = 32
# Of lesions: draws of several blocks, and seconds until the network is prepared.
DRAWS, PREPARING = 40, 10.0


@dataclass(frozen=True, kw_only=True, eq=False)
class Opened:
    """A run's network with the images that are reported on.

    Attributes:
        run: The run.
        splits: Of the data.
        split: Name of the split, ``"all"`` of another folder.
        examples: Of the split.
        each: Seconds for an image: to read it and to predict it.
        until: When there is no time to compute more, by `time.perf_counter`.
    """

    run: Run
    splits: Splits
    split: str
    examples: Examples | StreamedExamples
    each: float
    until: float

    @property
    def sizes(self) -> dict[str, int]:
        """Number of images by the name of the split."""
        validation = self.splits.validation
        sizes = {} if validation is None else {"validation": validation.size}
        return sizes | {self.split: self.examples.size}

    def allows(self, images: float, seconds: float = 0.0) -> bool:
        """Whether there is time for as many images, and for some seconds more."""
        return time.perf_counter() + images * self.each + seconds < self.until

    def allows_lesions(self, images: int) -> bool:
        """Whether there is time for the analysis of lesions on as many images."""
        blocks = sum(isinstance(one, keras.layers.Add) for one in self.run.model.layers)
        images = min(images, self.examples.size)
        return self.allows((1 + blocks + DRAWS) * images, PREPARING)

    def minutes(self, images: int) -> str:
        """How long as many images take, in words."""
        return f"{max(1, round(images * self.each / 60)):,} min"

    def positions_of(self, predictions: Predictions) -> np.ndarray | None:
        """Where the images that were predicted lie in the split.

        Returns:
            Integers of shape ``(n,)``; `None` if some aren't there.
        """
        if predictions.sha256 != self.splits.sha256:
            return None
        names = names_of(self.splits, self.examples)
        if np.array_equal(names, predictions.names):
            return np.arange(len(names))
        place = {name: i for i, name in enumerate(names)}
        found = [place.get(name, -1) for name in predictions.names]
        return None if -1 in found else np.array(found)


def opened(
    folder: pathlib.Path,
    data: str | os.PathLike[str] | None,
    data_dir: str | os.PathLike[str] | None,
    split: str | None,
    *,
    seconds: float,
) -> Opened:
    """Loads a run and finds the images to report on.

    Args:
        folder: The run's.
        data: Folder of images or name of a data set, if not the run's own.
        data_dir: Where TensorFlow Datasets keeps its data.
        split: Name of the split; by default ``"test"``, or ``"validation"`` where there is
            none.
        seconds: That may be spent on computing; with 0 nothing is timed.

    Raises:
        FileNotFoundError, ValueError: If the network or the images can't be had.
    """
    run = load(folder)
    _check_here(run, data, data_dir)
    splits, found, examples = examples_of(run, data, data_dir, split)
    if examples is None and split is None:
        found, examples = "validation", splits.validation
    examples = with_labels_of(run, splits, examples)
    if examples is None:
        raise ValueError(f"{splits.name} has no {found} split.")
    until = time.perf_counter() + seconds
    return Opened(
        run=run,
        splits=splits,
        split=found,
        examples=examples,
        each=_seconds_each(run, examples) if seconds > 0 else 0.0,
        until=until,
    )


def _check_here(
    run: Run,
    data: str | os.PathLike[str] | None,
    data_dir: str | os.PathLike[str] | None,
) -> None:
    """Raises an error if the data would have to be downloaded, which may take hours."""
    name = own_data(run) if data is None else where(data)
    if name in DATASETS and not sources.is_here(name, data_dir):
        raise FileNotFoundError(
            f"A report downloads nothing, and {name} isn't here. Name the folder where it "
            "lies with `data_dir` (--data-dir), or fetch it with `keras-resnet evaluate "
            f"{run.folder}`."
        )


def _seconds_each(run: Run, examples: Examples | StreamedExamples) -> float:
    """Seconds for an image: to read it and to predict it, in a batch."""
    batch = images_at_once(run.model, min(BATCH, examples.size))
    batches = pipelines.evaluation_batches(
        examples, run.preprocessing, batch_size=batch
    )
    times = []
    for images, _ in itertools.islice(batches.as_numpy_iterator(), TIMED):
        run.model.predict_on_batch(np.asarray(images))
        times.append(time.perf_counter())
    return 0.0 if len(times) < 2 else float(min(np.diff(times))) / batch
