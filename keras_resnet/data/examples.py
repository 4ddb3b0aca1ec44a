"""Data sets: their splits, in memory or on disk, and their fingerprint."""

from __future__ import annotations

import hashlib
import os
import pathlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from keras_resnet.config.words import counted


@dataclass(frozen=True, eq=False)
class Examples:
    """A split that is held in memory.

    Attributes:
        images: uint8 ``(n, height, width, channels)``, or an object array ``(n,)`` of
            encoded images (bytes) or of file paths (str).
        labels: int32 ``(n,)``, from 0.
    """

    images: np.ndarray
    labels: np.ndarray

    def __post_init__(self) -> None:
        if len(self.images) != len(self.labels) or len(self.labels) == 0:
            raise ValueError(
                "`images` and `labels` must hold equally many examples, at least one. "
                f"Received: {len(self.images)} images, {len(self.labels)} labels."
            )

    @property
    def size(self) -> int:
        """Number of examples."""
        return len(self.labels)

    @property
    def kind(self) -> str:
        """``"pixels"``, ``"encoded"`` or ``"files"``: what `images` holds."""
        if self.images.ndim == 4:
            return "pixels"
        return "encoded" if isinstance(self.images[0], bytes) else "files"

    @property
    def for_tensorflow(self) -> np.ndarray:
        """`images`, with paths as bytes: names of files need not be UTF-8."""
        if self.kind != "files":
            return self.images
        return np.array([os.fsencode(path) for path in self.images], dtype=object)

    def __repr__(self) -> str:
        return f"Examples(kind={self.kind!r}, size={self.size})"


@dataclass(frozen=True, eq=False)
class StreamedExamples:
    """A split that is read from disk in every epoch.

    Attributes:
        read: Returns a `tf.data.Dataset` of (encoded image, label), scalars of types
            string and integer, that is finite and always in the same order.
        size: Number of examples of that data set.
        shuffle_buffer: Examples that are held to draw the next one from. 8,192 JPEG
            files of ImageNet's 110 kB take 0.9 GB.
        at: Where the files can be read in any order, a function, for graphs of this
            process, from positions in that data set, int64 ``(n,)``, to encoded images,
            string ``(n,)``, and labels, int64 ``(n,)``. Then nothing is held, and every
            epoch is a permutation of all examples.
    """

    read: Callable[[], Any]
    size: int
    shuffle_buffer: int = 8_192
    at: Callable[[Any], tuple[Any, Any]] | None = None


@dataclass(frozen=True, eq=False)
class Splits:
    """A data set, split into training, validation and test examples.

    Attributes:
        train: `Examples` or `StreamedExamples`.
        validation: The same, or `None` where `folders.load` was told to split none off.
        test: The same, or `None` where nobody set examples apart for a test.
        class_names: One name per label.
        name, version: Of the data set.
        sha256: Fingerprint of the three splits. It covers the labels and, in their
            order, the pixels or encoded images; of files, what
            `identity.fingerprint_of_files` says (of a split by position, as of earlier
            versions, path and size alone); of streamed examples, the names and sizes of
            their files and the number of examples. Empty where `folders.load`
            was told to split none off.
        skipped: What was left out, an undecodable image or a label out of range: path
            or split and position, and why.
        root: The folder that paths are relative to; `None` of a data set by name and of
            `shards`.
        split_by: How a folder's validation images were chosen, ``"path"`` or, as of
            earlier versions, ``"position"``; `None` of a data set by name.
    """

    train: Examples | StreamedExamples
    validation: Examples | StreamedExamples | None
    test: Examples | StreamedExamples | None
    class_names: tuple[str, ...]
    name: str
    version: str
    sha256: str
    skipped: tuple[str, ...] = ()
    root: pathlib.Path | None = None
    split_by: str | None = None

    @property
    def counts(self) -> str:
        """How many images and classes there are, in one line for people."""
        sizes = {
            "to train on": self.train,
            "for validation": self.validation,
            "for the test": self.test,
        }
        sizes = {name: split.size for name, split in sizes.items() if split is not None}
        shares = ", ".join(f"{size:,} {name}" for name, size in sizes.items())
        number = sum(sizes.values())
        return (
            f"{counted(number, 'image')} of {len(self.class_names):,} classes in "
            f"{self.name}: {shares}"
        )


def join(first: Examples, second: Examples) -> Examples:
    """Joins two splits that are held in memory, one after the other."""
    return Examples(
        np.concatenate([first.images, second.images]),
        np.concatenate([first.labels, second.labels]),
    )


def split_off_validation(examples: Examples, size: int) -> tuple[Examples, Examples]:
    """Splits ``size`` examples off, balanced over the classes, the same in every run.

    They are chosen by their positions: one example more changes most of them. A folder of
    images is split by `splitting.hold_out`.

    Returns:
        Training and validation `Examples`, each in the original order.

    Raises:
        ValueError: If a class would have no example left to train on.
    """
    if not 0 < size < examples.size:
        raise ValueError(
            "The validation set must take at least one example and leave some. "
            f"Received: {size} of {examples.size} examples. Add images, or train with "
            "another `val_fraction` (--val-fraction)."
        )
    counts = np.bincount(examples.labels)
    # Each class gives its share, rounded down; the largest remainders fill up.
    quotas, remainders = np.divmod(size * counts, examples.size)
    by_remainder = np.argsort(-remainders, kind="stable")
    quotas[by_remainder[: size - quotas.sum()]] += 1
    if np.any((quotas >= counts) & (counts > 0)):
        raise ValueError(
            "Every class must keep an example to train on. "
            f"Received: {counts.tolist()} examples per class, of which the validation "
            f"set takes {quotas.tolist()}. Add images, or train with another "
            "`val_fraction` (--val-fraction)."
        )
    order = np.random.default_rng(0).permutation(examples.size)
    chosen = np.zeros(examples.size, bool)
    for label, quota in enumerate(quotas):
        chosen[order[examples.labels[order] == label][:quota]] = True
    return (
        Examples(examples.images[~chosen], examples.labels[~chosen]),
        Examples(examples.images[chosen], examples.labels[chosen]),
    )


def fingerprint(
    splits: Iterable[Examples | None], root: pathlib.Path | None = None
) -> str:
    """Computes the SHA-256 of examples in memory, or of files by path and size.

    Args:
        splits: In their order; `None` is passed over.
        root: Folder that paths are relative to, for examples that are files.
    """
    digest = hashlib.sha256()
    for examples in splits:
        if examples is None:
            continue
        digest.update(f"{examples.kind} {examples.images.shape}".encode())
        digest.update(examples.labels.astype("<i4").tobytes())
        if examples.kind == "pixels":
            digest.update(np.ascontiguousarray(examples.images))
            continue
        for image in examples.images:
            if examples.kind == "files":
                path = pathlib.Path(image)
                size = path.stat().st_size
                image = os.fsencode(f"{path.relative_to(root).as_posix()} {size}")
            digest.update(len(image).to_bytes(8, "little") + image)
    return digest.hexdigest()
