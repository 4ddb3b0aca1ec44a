"""Loads a trained or converted network from its folder."""

from __future__ import annotations

import itertools
import os
import pathlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from keras_resnet.config.architectures import network_of
from keras_resnet.config.preprocessing import Preprocessing
from keras_resnet.data.images import normalize
from keras_resnet.export.pixels import as_uint8
from keras_resnet.files import local_path, read_json
from keras_resnet.models.resnet import allow_depth
from keras_resnet.runs.inputs import each_prepared
from keras_resnet.runs.record import read_record

BATCH = 32  # Images that are predicted at once.
EXPORTED = ("form.json", "saved_model.pb")  # What a folder that export wrote has.


@dataclass(frozen=True)
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

    def scores(self, images: np.ndarray) -> np.ndarray:
        """Computes the probabilities of all classes, for a batch that fits into memory.

        Args:
            images: Of the model's size, shape ``(n, height, width, channels)``, with
                values as `pixels.as_uint8` takes them.

        Returns:
            float32 ``(n, classes)``.

        Raises:
            ValueError: If the images have other values or channels.
        """
        images = as_uint8(images)
        # XLA compiles each size of a batch anew, so JAX gets only powers of two.
        count = len(images)
        if keras.backend.backend() == "jax":
            more = 2 ** max(0, count - 1).bit_length() - count
            images = np.pad(images, [(0, more), (0, 0), (0, 0), (0, 0)])
        normalized = normalize(images, self.preprocessing)
        logits = self.model.predict_on_batch(np.asarray(normalized))
        return keras.ops.convert_to_numpy(keras.ops.softmax(logits))[:count]


def check_top(top: int) -> None:
    """Checks that ``top`` is a number of classes to name.

    Raises:
        ValueError: If it is not a positive integer.
    """
    if not isinstance(top, int) or top < 1:
        raise ValueError(
            "`top` (--top) must be a positive integer, the number of classes to name. "
            f"Received: top={top!r}."
        )


def ranked(
    scores: np.ndarray, classes: Sequence[str], top: int
) -> list[tuple[str, float]]:
    """Names the likeliest classes of an image.

    Args:
        scores: Probabilities ``(classes,)``.
        classes: Their names.
        top: How many classes to name at most.

    Returns:
        Pairs of name and probability, best first.
    """
    return [(classes[i], float(scores[i])) for i in np.argsort(-scores)[:top]]


def load(folder: str | os.PathLike[str]) -> Run:
    """Loads a trained run, or what `keras-resnet convert` wrote.

    Args:
        folder: The run's, e.g. ``"runs/quickstart_seed0"``.

    Returns:
        A `Run`.

    Raises:
        FileNotFoundError: If there is no finished run.
        ValueError: If its files can't be read.
    """
    folder = local_path(folder)
    if (folder / "source.json").is_file():
        record = _read_source(folder / "source.json")
    elif (folder / "record.json").is_file():
        record = read_record(folder / "record.json")
    else:
        state = "training has not finished" if folder.is_dir() else "there is no folder"
        advice = "Make one with `keras-resnet train`."
        if any((folder / name).is_file() for name in EXPORTED):
            state, advice = "it is an export", "Name the run that it was made of."
        raise FileNotFoundError(
            f"{folder} must hold a finished run with a record.json: {state}. {advice}"
        )
    if (spec := network_of(record)) is not None:
        allow_depth(spec.depth)
    try:
        model = keras.saving.load_model(folder / "model.keras", compile=False)
    except (OSError, ValueError) as error:
        raise ValueError(
            f"{folder / 'model.keras'} can't be read: {error} See that you may read it and "
            "that Keras is as new as in record.json. If it is damaged, put a copy back, "
            "or train (or convert) again in another folder."
        ) from error
    model.preprocessing = Preprocessing.from_json(record["preprocessing"])
    if keras.backend.backend() == "tensorflow":
        # On a GPU Keras would compile each size of a batch anew.
        model.jit_compile = False
    return Run(
        model=model,
        classes=tuple(record["classes"]),
        preprocessing=model.preprocessing,
        record=record,
        folder=folder,
    )


def _read_source(path):
    """What `keras-resnet convert` wrote of a network."""
    try:
        source = read_json(path)
        Preprocessing.from_json(source["preprocessing"])
        tuple(source["classes"]), str(source["network"])
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{path} must be as `keras-resnet convert` wrote it; it is damaged "
            f"({type(error).__name__}: {error}). Convert again."
        ) from error
    return source
