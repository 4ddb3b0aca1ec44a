"""Keeps what a long analysis measures while it goes on, to go on from it later.

A point is one measurement of loss and error, such as a point of a loss landscape or the
network without one of its blocks.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import pathlib
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np

from keras_resnet import __version__
from keras_resnet.analysis.walk import Point
from keras_resnet.arrays import read_arrays, write_arrays
from keras_resnet.runs.subjects import Subject

SECONDS = 5  # From one time that points are saved to the next.


class KnownPoints:
    """A file of the loss and error of points, of each network, seed, shape and images.

    It is a NPZ file whose arrays are called by a fingerprint of what they were measured
    with. So points of other networks, with other options or of another version of this
    package are never taken for those that are asked for, and they stay in the file.
    """

    def __init__(self, path: pathlib.Path) -> None:
        self._path = path
        self._kept = True

    @contextlib.contextmanager
    def saved(
        self, subject: Subject, shape: tuple[int, ...], **made_with: Any
    ) -> Iterator[tuple[np.ndarray, Callable[[Point], None]]]:
        """A block in which points are saved every few seconds, and at its end.

        Args:
            subject: A network with its images and options.
            shape: Of all points, such as ``(rows, columns)`` of a landscape.
            **made_with: What else the points depend on, in JSON's types: also constants,
                which the next version may have otherwise.

        Yields:
            Loss and error that are known, ``(2, *shape)``, NaN where they are not;
            and a function that takes each point that is measured.
        """
        name = _fingerprint(subject, shape, made_with)
        known = _read(self._path).get(name, np.full((2, *shape), np.nan))
        before, values = known.copy(), known.copy()
        last = time.monotonic()

        def save(point: Point) -> None:
            nonlocal last
            values[(slice(None), *point.index)] = point.loss, point.error
            if time.monotonic() - last >= SECONDS:
                self._write(name, values)
                last = time.monotonic()

        try:
            yield known, save
        finally:  # Also where it is interrupted.
            if not np.array_equal(values, before, equal_nan=True):
                self._write(name, values)

    def _write(self, name: str, values: np.ndarray) -> None:
        if not self._kept:
            return

        # Read now: another process may have measured other points meanwhile.
        arrays = _read(self._path) | {name: values}
        try:
            write_arrays(self._path, arrays, compressed=True)
        except OSError as error:  # A read-only or a full disk must not lose the result.
            self._kept = False
            warnings.warn(
                f"Points aren't kept in {self._path}: {error}. An interrupted analysis "
                "will begin anew.",
                stacklevel=2,
            )


def _read(path: pathlib.Path) -> dict[str, np.ndarray]:
    try:
        what = "points as `keras-resnet analyze` writes them"
        return read_arrays(path, what, "The analysis begins anew.")
    except FileNotFoundError:
        return {}
    except ValueError as error:
        warnings.warn(str(error), stacklevel=3)
        return {}


def _fingerprint(
    subject: Subject, shape: tuple[int, ...], others: dict[str, Any]
) -> str:
    """SHA-256 of all that the points depend on."""
    weights = hashlib.sha256()
    for weight in subject.model.get_weights():
        weights.update(f"{weight.shape}{weight.dtype}".encode())
        weights.update(np.ascontiguousarray(weight).tobytes())
    made_with = {
        "weights": weights.hexdigest(),
        "layers": [type(layer).__name__ for layer in subject.model.layers],
        "images": subject.fingerprint(),
        "seed": subject.options.seed,
        "range": subject.options.range,
        "shape": shape,
        "backend": keras.backend.backend(),
        "version": __version__,
        **others,
    }
    return hashlib.sha256(json.dumps(made_with).encode()).hexdigest()
