"""Loads a trained or converted network from its folder."""

from __future__ import annotations

import itertools
import os
import pathlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from keras_resnet.config.architectures import network_of
from keras_resnet.config.checks import is_integer
from keras_resnet.config.class_names import check_class_names
from keras_resnet.config.preprocessing import Preprocessing
from keras_resnet.config.spec import ResNetSpec
from keras_resnet.data.images import normalize
from keras_resnet.files import damage_of, local_path, read_json
from keras_resnet.models.resnet import allow_depth
from keras_resnet.pixels import as_uint8
from keras_resnet.runs.inputs import each_prepared
from keras_resnet.runs.record import Record, read_record

BATCH = 32  # Images that are predicted at once.
EXPORTED = ("form.json", "saved_model.pb")  # What a folder that export wrote has.


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
        batch_size: int = 256,
    ) -> dict[str, Any]:
        """Measures the run, and keeps the result in ``evaluation.json``.

        Args, result and errors are those of `runs.evaluate.evaluate`.
        """
        from keras_resnet.runs.evaluate import evaluate

        return evaluate(
            self, data=data, data_dir=data_dir, split=split, batch_size=batch_size
        )

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
    if not is_integer(top, 1):
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
    spec, preprocessing = facts_in(record, folder)
    if spec is not None:
        allow_depth(spec.depth)
    model = _network_in(folder)
    count = model.output_shape[-1]
    if len(record["classes"]) != count:
        raise ValueError(
            f"{_record_in(folder)} was damaged or changed after it was written: `classes` "
            f"must hold {count} names, one for each logit of {folder / 'model.keras'}. "
            f"Received: {len(record['classes'])} names. Put a copy of it back, or undo the "
            "change."
        )
    model.preprocessing = preprocessing
    if keras.backend.backend() == "tensorflow":
        # On a GPU Keras would compile each size of a batch anew.
        model.jit_compile = False
    return Run(
        model=model,
        classes=tuple(record["classes"]),
        preprocessing=preprocessing,
        record=record,
        folder=folder,
    )


def _read_source(path):
    """What `keras-resnet convert` wrote of a network."""
    try:
        source = read_json(path)
        for key, kind in {
            "preprocessing": dict,
            "classes": list,
            "network": str,
        }.items():
            if not isinstance(source, dict) or not isinstance(source.get(key), kind):
                raise ValueError(f"`{key}` must be given, a {kind.__name__}.")
    except ValueError as error:
        raise ValueError(
            f"{path} must be as `keras-resnet convert` wrote it; it is damaged: {error} "
            "Convert again."
        ) from error
    return Record(source)


def facts_in(
    record: Mapping[str, Any], folder: pathlib.Path
) -> tuple[ResNetSpec | None, Preprocessing]:
    """The network, if it is known, and the preprocessing that a record tells of.

    Args:
        record: The contents of ``record.json`` or ``source.json``.
        folder: Where that lies.

    Raises:
        ValueError: If they, or the names of the classes, were damaged or edited; it
            names the file and the key.
    """
    try:
        spec = network_of(record)
        preprocessing = Preprocessing.from_json(record["preprocessing"])
        check_class_names(record["classes"])
    except ValueError as error:
        raise ValueError(
            f"{_record_in(folder)} was damaged or changed after it was written: {error} "
            "Put a copy of it back, or undo the change."
        ) from error
    return spec, preprocessing


def _record_in(folder):
    """The file that tells what lies in a folder."""
    source = folder / "source.json"
    return source if source.is_file() else folder / "record.json"


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
