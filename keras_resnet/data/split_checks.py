"""Warns of sets of validation and test images that measure less than they seem to."""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Callable, Hashable, Sequence

import numpy as np

from keras_resnet.data.examples import Examples
from keras_resnet.data.listing import as_text
from keras_resnet.files import sha256_of

END = 4096  # Bytes at the end of a file, which two images seldom have in common.


def warn_of_missing_classes(
    split: str, examples: Examples, class_names: Sequence[str]
) -> None:
    """Warns if there are classes of which a split has no image.

    Args:
        split: Its name, ``"validation"`` or ``"test"``.
        examples: Its images.
        class_names: The classes of the training images.
    """
    missing = np.setdiff1d(np.arange(len(class_names)), examples.labels)
    if missing.size:
        named = ", ".join(repr(class_names[label]) for label in missing[:10])
        warnings.warn(
            f"The {split} images lack {missing.size} of {len(class_names)} classes, "
            f"whose errors are not measured: {named}{', …' * (missing.size > 10)}.",
            stacklevel=3,
        )


def warn_of_shared_files(split: str, examples: Examples, train: Examples) -> None:
    """Warns if files of a split are among the training images, byte for byte.

    Args:
        split: Its name, ``"validation"`` or ``"test"``.
        examples: Its images, as paths.
        train: The training images, as paths.
    """
    shared = shared_files(list(examples.images), list(train.images))
    if shared:
        warnings.warn(
            f"{len(shared):,} of {examples.size:,} {split} images are training images, "
            f"too (the same bytes), such as {as_text(shared[0])}: the {split} error "
            "comes out too low. Remove them from one of the two folders.",
            stacklevel=3,
        )


def shared_files(ones: Sequence[str], others: Sequence[str]) -> list[str]:
    """Finds the files that have the same bytes as one of the others.

    Sizes are compared first, then the last bytes of files of one size, and only where
    these are equal all bytes (by SHA-256).

    Args:
        ones: Paths of files.
        others: Paths of files.

    Returns:
        Those of ``ones``, in their order.
    """
    ones, others = {path: () for path in ones}, {path: () for path in others}
    looks: list[Callable[[str], Hashable]] = [os.path.getsize, _end, sha256_of]
    for look in looks:
        ones = {path: (*known, look(path)) for path, known in ones.items()}
        others = {path: (*known, look(path)) for path, known in others.items()}
        common = set(ones.values()) & set(others.values())
        ones = {path: known for path, known in ones.items() if known in common}
        others = {path: known for path, known in others.items() if known in common}
    return list(ones)


def _end(path: str) -> bytes:
    """A hash of the last bytes of a file."""
    with open(path, "rb") as file:
        file.seek(max(0, os.path.getsize(path) - END))
        return hashlib.sha256(file.read()).digest()
