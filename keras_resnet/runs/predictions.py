"""What a run predicted of each image of a split, kept in its folder."""

from __future__ import annotations

import hashlib
import pathlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from keras_resnet.arrays import read_arrays, write_arrays
from keras_resnet.data.examples import Splits
from keras_resnet.data.listing import relative_paths
from keras_resnet.evaluation.metrics import are_probabilities

DIGITS = 8  # Of a fingerprint, in the name of a file.


@dataclass(frozen=True, kw_only=True, eq=False)
class Predictions:
    """A split's images, what they are, and what a run predicts.

    Attributes:
        names: Of the images, shape ``(n,)``: paths in the folder of images, or of a data
            set that has none, positions in the split.
        labels: int64 ``(n,)``, the true classes.
        probabilities: float32 ``(n, classes)``.
        sha256: Fingerprint of the data set.
    """

    names: np.ndarray
    labels: np.ndarray
    probabilities: np.ndarray
    sha256: str

    @property
    def correct(self) -> np.ndarray:
        """Whether each image is predicted rightly, Booleans of shape ``(n,)``."""
        return self.probabilities.argmax(axis=1) == self.labels

    def digest(self) -> str:
        """SHA-256 of all of it, by which a result knows its predictions again."""
        found = hashlib.sha256(self.sha256.encode())
        for values in (
            self.names,
            self.labels.astype("<i8"),
            self.probabilities.astype("<f4"),
        ):
            found.update(f"{values.dtype.str}{values.shape}".encode())
            found.update(np.ascontiguousarray(values).tobytes())
        return found.hexdigest()


def names_of(splits: Splits, examples: Any) -> np.ndarray:
    """Names the images of a split: see `Predictions`."""
    if getattr(examples, "kind", "streamed") == "files" and splits.root is not None:
        return np.array(relative_paths(examples.images, splits.root))
    return np.arange(examples.size).astype(str)


def path_of(folder: pathlib.Path, result: Mapping[str, Any]) -> pathlib.Path:
    """Where the predictions lie that a result in ``evaluation.json`` was made of.

    The name has `DIGITS` of the data's fingerprint: two folders may have one name.
    """
    known = result["sha256"][:DIGITS]
    parts = (result["data"], known, result["split"], result["protocol"])
    name = "_".join(re.sub(r"[^\w.-]+", "_", part) for part in parts)
    return folder / "predictions" / f"{name}.npz"


def write_predictions(path: pathlib.Path, predictions: Predictions) -> None:
    """Writes predictions, as a compressed ``.npz`` file that appears when complete."""
    write_arrays(path, vars(predictions), compressed=True)


def read_predictions(path: pathlib.Path) -> Predictions:
    """Reads what `write_predictions` wrote.

    Raises:
        FileNotFoundError: If there is no file.
        ValueError: If it is damaged.
    """
    what = "predictions as `keras-resnet evaluate` writes them"
    advice = "Remove it, and measure again."
    values = read_arrays(path, what, advice)
    if missing := Predictions.__annotations__.keys() - values.keys():
        raise ValueError(
            f"{path} must hold {what}. Received: a file without {', '.join(missing)}. "
            f"{advice}"
        )
    known = {name: values[name] for name in Predictions.__annotations__}
    return Predictions(**(known | {"sha256": str(known["sha256"])}))


def kept_predictions(
    folder: pathlib.Path, result: Mapping[str, Any], classes: int
) -> Predictions:
    """Reads the predictions that a result was made of.

    Args:
        folder: The run's.
        result: One of ``evaluation.json``. Those of earlier versions don't tell which
            predictions are theirs, and take what lies there.
        classes: Number of the run's classes.

    Raises:
        FileNotFoundError: If none were kept.
        ValueError: If the file is damaged, or holds those of another measurement, as where
            a full disk took the result and not the predictions.
    """
    path = path_of(folder, result)
    found = read_predictions(path)
    n, labels = result["n"], found.labels
    of = (len(found.names), labels.shape, found.probabilities.shape)
    inside = labels.size and 0 <= labels.min() <= labels.max() < classes
    fits = of == (n, (n,), (n, classes)) and found.sha256 == result["sha256"] and inside
    if not fits or not are_probabilities(found.probabilities):
        raise ValueError(
            f"{path} must hold probabilities of {classes} classes for the "
            f"{n:,} images of the result in {folder / 'evaluation.json'}, and it doesn't. "
            "Remove it, and measure again."
        )
    if result.get("predictions_sha256") not in (None, found.digest()):
        raise ValueError(
            f"{path} must hold what the result in {folder / 'evaluation.json'} was made "
            "of, and it is of another measurement: one of the two couldn't be written. "
            "Measure again."
        )
    return found
