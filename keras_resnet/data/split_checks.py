"""Warns of images that lie in two places, and of sets that measure less than they seem."""

from __future__ import annotations

import hashlib
import os
import warnings
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Hashable, Sequence

import numpy as np

from keras_resnet.config.words import counted
from keras_resnet.data.bad_examples import remembered, state_of
from keras_resnet.data.examples import Examples
from keras_resnet.data.listing import MANY, as_text
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


def warn_of_copies(
    split: str,
    examples: Examples,
    class_names: Sequence[str],
    held_out: Collection[str] = (),
) -> None:
    """Warns if files of a split that are equal, byte for byte, are in two places.

    These are two classes, or the images to train on and those split off for validation.

    Args:
        split: Its name, ``"training"``, ``"validation"`` or ``"test"``.
        examples: Its images, as paths.
        class_names: The classes.
        held_out: The paths of those that are split off for validation.
    """
    paths, held = examples.images.tolist(), set(held_out)
    several, apart = [], []
    for copies in _groups(copies_among(paths, f"the {split} images")):
        if len(set(examples.labels[copies])) > 1:
            several.append(copies)
        validation = [paths[index] for index in copies if paths[index] in held]
        if len(validation) < len(copies):
            apart += validation
    if several:
        of_class = {examples.labels[index]: index for index in reversed(several[0])}
        ones = sorted(of_class.values())
        where = " and ".join(as_text(paths[index]) for index in ones[:2])
        number = f"{split} image lies", f"{split} images lie"
        warnings.warn(
            f"{counted(len(several), *number)} in more than one of the "
            f"{len(class_names)} classes (the same bytes), such as {where}. Remove each "
            "from the classes that it doesn't belong to.",
            stacklevel=3,
        )
    if apart:
        warnings.warn(
            f"{len(apart):,} of {len(held):,} images split off for validation have "
            f"copies that are trained on (the same bytes), such as {as_text(apart[0])}: "
            "the validation error comes out too low. Remove the copies.",
            stacklevel=3,
        )


def _groups(copies):
    """Lists of the positions of files that are equal, from what `copies_among` gives."""
    groups = defaultdict(list)
    for index, first in copies.items():
        groups[first].append(index)
    return [[first, *others] for first, others in sorted(groups.items())]


def copies_among(paths: Sequence[str], what: str) -> dict[int, int]:
    """Finds the files that have the same bytes as an earlier one.

    They are compared as by `shared_files`. What was found among 10,000 files and more is
    kept for as long as none is changed.

    Args:
        paths: Of files.
        what: What they are called where looking takes long.

    Returns:
        A dictionary from the positions of such files to that of the first which is equal.
    """

    def look():
        left = dict.fromkeys(range(len(paths)), ())
        for kind in LOOKS:
            left = {
                index: (*known, kind(paths[index])) for index, known in left.items()
            }
            count = Counter(left.values())
            left = {index: known for index, known in left.items() if count[known] > 1}
        first = {}
        found = {index: first.setdefault(known, index) for index, known in left.items()}
        return {index: str(one) for index, one in found.items() if index != one}

    if len(paths) < MANY:
        found = look()
    else:
        key = f"copies {state_of(paths)}"
        found = remembered(key, look, count=len(paths), what=what, seek="copies")
    return {index: int(one) for index, one in sorted(found.items())}


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
    for look in LOOKS:
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


# How files are compared, the cheapest first.
LOOKS: Sequence[Callable[[str], Hashable]] = (os.path.getsize, _end, sha256_of)
