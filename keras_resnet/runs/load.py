"""Loads a trained or converted network from its folder."""

from __future__ import annotations

import functools
import itertools
import os
import pathlib
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from keras_resnet.config.class_names import told_apart
from keras_resnet.config.preprocessing import Preprocessing
from keras_resnet.config.protocols import Protocol
from keras_resnet.data.images import normalize
from keras_resnet.devices.precision import computing_in
from keras_resnet.files import damage_of, local_path
from keras_resnet.models.resnet import allow_depth
from keras_resnet.pixels import as_uint8
from keras_resnet.runs.batch_sizes import images_at_once
from keras_resnet.runs.detector_run import DetectorRun
from keras_resnet.runs.from_record import (
    check_is_classifiers,
    detector_in,
    facts_in,
    record_in,
    record_of,
)
from keras_resnet.runs.inputs import each_prepared
from keras_resnet.runs.ranking import check_top, ranked
from keras_resnet.runs.record import is_detectors

BATCH = 32  # Images that are read, then predicted, at a time.


@dataclass(frozen=True, repr=False)
class Run:
    """A trained network with all that is needed to use it.

    Attributes:
        model: Gives logits ``(batch, classes)`` for normalized images.
        classes: Names of the classes, in the order of the logits.
        preprocessing: What the model's images go through.
        record: The contents of ``record.json``; of a converted network, those of
            ``source.json``.
        folder: Where the run lies.
    """

    model: keras.Model
    classes: tuple[str, ...]
    preprocessing: Preprocessing
    record: dict[str, Any]
    folder: pathlib.Path

    def __repr__(self) -> str:
        shape = "×".join(str(side) for side in self.model.input_shape[1:])
        return (
            f"Run({str(self.folder)!r}: {self.record['network']}, "
            f"{len(self.classes)} classes, images {shape})"
        )

    def predict(self, images: Any, *, top: int = 5) -> list[list[tuple[str, float]]]:
        """Names what is on images, of which it reads and holds a few at a time.

        Args:
            images: One image or many: paths, the bytes of image files, Pillow images, or
                arrays of any size, RGB or grey, with values from 0 to 255 of any integer or
                float type (fractions are rounded); `inputs.each_prepared` says more.
            top: How many classes to name at most.

        Returns:
            For each image, also of one alone, a list of ``(class name, probability)``,
            likeliest first.

        Raises:
            FileNotFoundError, ValueError: If an image is missing or can't be read,
                there is none, or ``top`` is not a positive integer.
        """
        check_top(top)
        prepared, answers = each_prepared(images, self.preprocessing), []
        while batch := list(itertools.islice(prepared, BATCH)):
            answers += [
                ranked(row, self.classes, top) for row in self.scores(np.stack(batch))
            ]
        if not answers:
            raise ValueError("`images` must hold at least one image. Received: none.")
        return answers

    def evaluate(
        self,
        data: str | os.PathLike[str] | None = None,
        *,
        data_dir: str | os.PathLike[str] | None = None,
        split: str | None = None,
        protocol: str | Protocol = "single_crop",
        batch_size: int = 256,
    ) -> dict[str, Any]:
        """Measures the run, and keeps the result in ``evaluation.json``.

        Args, result and errors are those of `runs.evaluate.evaluate`.
        """
        from keras_resnet.runs.evaluate import evaluate

        return evaluate(
            self,
            data=data,
            data_dir=data_dir,
            split=split,
            protocol=protocol,
            batch_size=batch_size,
        )

    def analyze(self, name: str, **options: Any) -> dict[str, Any]:
        """Analyses the run, and keeps numbers and pictures in its folder ``analysis``.

        Args:
            name: Of the analysis, e.g. ``"lesions"``.
            **options: Those of `runs.subjects.AnalysisOptions`, e.g. ``images=200``.

        Result and errors are those of `runs.analyze.analyze`.
        """
        from keras_resnet.runs.analyze import analyze
        from keras_resnet.runs.subjects import AnalysisOptions

        return analyze(self, name, AnalysisOptions(**options))

    def snapshots(self) -> Iterator[tuple[int, list[np.ndarray]]]:
        """Yields numbers of updates, and the weights that `train` has kept after them."""
        from keras_resnet.training.snapshots import read_snapshots

        return read_snapshots(self.folder)

    def export(
        self,
        format: str = "saved_model",
        *,
        precision: str = "float32",
        data: str | os.PathLike[str] | None = None,
        data_dir: str | os.PathLike[str] | None = None,
        output: str | os.PathLike[str] | None = None,
        version: int = 1,
        overwrite: bool = False,
    ) -> tuple[pathlib.Path, dict[str, Any]]:
        """Writes the run in a form that serves, and compares it with the run.

        Args, result and errors are those of `runs.export.export`.
        """
        from keras_resnet.runs.export import export

        return export(
            self,
            format=format,
            precision=precision,
            data=data,
            data_dir=data_dir,
            output=output,
            version=version,
            overwrite=overwrite,
        )

    @functools.cached_property
    def _at_once(self) -> int:
        """As many images as the memory holds while they are computed."""
        return images_at_once(self.model, sys.maxsize)

    @computing_in("float32")
    def scores(self, images: np.ndarray) -> np.ndarray:
        """Computes the probabilities of all classes, of as many images at a time as fit.

        Args:
            images: Of the model's size, shape ``(n, height, width, channels)``, with
                values as `pixels.as_uint8` takes them.

        Returns:
            float32 ``(n, classes)``.

        Raises:
            ValueError: If the images have other values or channels.
        """
        images = as_uint8(images)
        if not len(images):  # oneDNN's convolutions fail on empty batches.
            return np.zeros((0, len(self.classes)), "float32")
        starts = range(0, len(images), self._at_once)
        parts = [self._scores(images[one : one + self._at_once]) for one in starts]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def _scores(self, images: np.ndarray) -> np.ndarray:
        """The probabilities of all classes, of uint8 images in one batch."""
        # XLA compiles each size of a batch anew, so JAX gets only powers of two.
        count = len(images)
        if keras.backend.backend() == "jax":
            more = 2 ** max(0, count - 1).bit_length() - count
            images = np.pad(images, [(0, more), (0, 0), (0, 0), (0, 0)])
        normalized = normalize(images, self.preprocessing)
        logits = self.model.predict_on_batch(np.asarray(normalized))
        return keras.ops.convert_to_numpy(keras.ops.softmax(logits))[:count]


@computing_in("float32")
def load(folder: str | os.PathLike[str]) -> Run | DetectorRun:
    """Loads a trained run, or what `keras-resnet convert` wrote.

    Args:
        folder: The run's, e.g. ``"runs/quickstart_seed0"``.

    Returns:
        A `Run`, or of a detector a `DetectorRun`.

    Raises:
        FileNotFoundError: If there is no finished run.
        ValueError: If its files can't be read.
    """
    folder = local_path(folder)
    record = record_of(folder)
    loaded = _detector if is_detectors(record) else _classifier
    return loaded(record, folder)


@computing_in("float32")
def load_classifier(folder: str | os.PathLike[str]) -> Run:
    """As `load`, for what detectors don't have yet.

    Raises:
        ValueError: If the run is a detector's, too.
    """
    folder = local_path(folder)
    record = record_of(folder)
    check_is_classifiers(record, folder)
    return _classifier(record, folder)


def _detector(record, folder):
    """The run of a detector."""
    _, batches = detector_in(record, folder)
    model = _network_in(folder)
    _check_classes(record, folder, model.num_classes, "class")
    if keras.backend.backend() == "tensorflow":
        model.jit_compile = False  # As below.
    return DetectorRun(
        model=model,
        classes=tuple(record["classes"]),
        batches=batches,
        record=record,
        folder=folder,
    )


def _classifier(record, folder):
    """The run of a classifier."""
    spec, preprocessing = facts_in(record, folder)
    if spec is not None:
        allow_depth(spec.depth)
    model = _network_in(folder)
    _check_classes(record, folder, model.output_shape[-1], "logit")
    model.preprocessing = preprocessing
    if keras.backend.backend() == "tensorflow":
        # On a GPU Keras would compile each size of a batch anew.
        model.jit_compile = False
    return Run(
        model=model,
        classes=told_apart(record["classes"]),
        preprocessing=preprocessing,
        record=record,
        folder=folder,
    )


def _check_classes(record, folder, count, what):
    if len(record["classes"]) != count:
        raise ValueError(
            f"{record_in(folder)} was damaged or changed after it was written: `classes` "
            f"must hold {count} names, one for each {what} of {folder / 'model.keras'}. "
            f"Received: {len(record['classes'])} names. Put a copy of it back, or undo the "
            "change."
        )


def _network_in(folder):
    """The network in ``model.keras``, not compiled."""
    path = folder / "model.keras"
    again = "train" if (folder / "record.json").is_file() else "convert"
    if found := damage_of(path):
        raise ValueError(
            f"{path} can't be used: {found}. The `keras-resnet {again}` command that made "
            "the folder makes it again; or put a copy back."
        )
    try:
        return keras.saving.load_model(path, compile=False)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise ValueError(
            f"{path} can't be read: {error} See that you may read it, and that Keras is "
            "as new as the folder's .json file says."
        ) from error
