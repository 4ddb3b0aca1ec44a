"""Splits of TensorFlow Datasets that are read from disk in every epoch."""

from __future__ import annotations

import hashlib
import os
import pathlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from keras_resnet.data import records, threads
from keras_resnet.data.bad_examples import (
    bad_records,
    check_share,
    remembered,
    without,
)
from keras_resnet.data.examples import StreamedExamples
from keras_resnet.devices.host import tensorflow


@dataclass(frozen=True, kw_only=True)
class Source:
    """A prepared data set, and what counts as good in it.

    Attributes:
        name: Of the data set, under which bad examples are remembered.
        builder: Its `tfds.core.DatasetBuilder`, whose files are complete.
        classes: Number of classes.
        channels: Of the images, 1 or 3.
        bad_share: Largest share of a split's examples that may be left out.
        sha256: As of `fingerprint`.
    """

    name: str
    builder: Any
    classes: int
    channels: int
    bad_share: float
    sha256: str


def fingerprint(builder: Any, splits: tuple[str, ...], first: str) -> str:
    """Computes the SHA-256 of the names and sizes of a data set's files.

    Args:
        builder: A `tfds.core.DatasetBuilder` whose files are complete.
        splits: The whole splits that are used, in TFDS's words.
        first: What else tells the data, such as the part that is kept for validation.
    """
    tf = tensorflow()
    digest = hashlib.sha256(first.encode())
    for split in splits:
        digest.update(f"{split} {builder.info.splits[split].num_examples}".encode())
        for file in builder.info.splits[split].filepaths:
            size = tf.io.gfile.stat(os.fspath(file)).length
            digest.update(f"{pathlib.Path(file).name} {size}".encode())
    return digest.hexdigest()


def streamed(source: Source, split: str) -> tuple[StreamedExamples, tuple[str, ...]]:
    """Gives a split's examples without the bad ones, which it looks for once.

    Args:
        source: A `Source`.
        split: In TFDS's words, such as ``"train[:100]"``.

    Returns:
        `StreamedExamples`, and what is left out, as `Splits.skipped` has it.

    Raises:
        ValueError: If a file is corrupt or too many examples are bad.
    """
    tf = tensorflow()
    builder = source.builder
    count = builder.info.splits[split].num_examples
    what = f"{split!r} of {builder.info.full_name}"

    def look():
        found = records.in_order(builder, split, counted=False)
        return bad_records(found, count, source.channels, source.classes)

    try:
        key = f"{source.name} {split} {source.sha256}"
        bad = remembered(key, look, count=count, what=what)
    except tf.errors.OpError as error:
        raise records.unreadable(builder, split, error) from error
    names = named(split, bad)
    check_share(names, count, what, source.bad_share)

    def read():
        left = without(records.in_order(builder, split), list(bad))
        return threads.without_autotuning(left)

    at = _among_good(records.indexed(builder, split), count, bad)
    return StreamedExamples(read=read, size=count - len(bad), at=at), names


def named(split: str, bad: Mapping[int, str]) -> tuple[str, ...]:
    """What is left out of a split, as `Splits.skipped` has it."""
    return tuple(f"{split}[{index}] ({bad[index]})" for index in sorted(bad))


def _among_good(at, count, bad):
    """A function like ``at``, by positions among the good examples."""
    if at is None or not bad:
        return at
    tf = tensorflow()
    good = np.setdiff1d(np.arange(count), list(bad))
    return lambda positions: at(tf.gather(good, positions))
