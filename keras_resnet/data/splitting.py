"""Splits validation images off a folder, so that later images leave the others there.

The side of an image follows from a hash of its path in the folder: the images of each
class are put in the order of their hashes, and the first ones are for validation. So one
image more or less moves at most one other image of its class to the other side.
"""

from __future__ import annotations

import hashlib
import pathlib
import re
import warnings
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from keras_resnet.data.examples import (
    Examples,
    Splits,
    fingerprint,
    split_off_validation,
)
from keras_resnet.data.identity import fingerprint_of_files, sets_of
from keras_resnet.data.layout import find_splits
from keras_resnet.data.listing import relative_paths
from keras_resnet.data.split_checks import warn_of_missing_classes

# The ways to choose the validation images of a folder, as records name them. Runs of
# earlier versions, whose records name none, took a permutation of the images' positions.
PATH, POSITION = "path", "position"


def with_validation(
    splits: Splits, val_fraction: float, group: str | None, split_by: str
) -> Splits:
    """The splits of a folder, with validation images and their fingerprint.

    Args:
        splits: As `folders.load` returns them with a ``val_fraction`` of 0.
        val_fraction: As of `folders.load`.
        group: As of `folders.load`.
        split_by: As of `folders.load`.
    """
    if split_by == POSITION:
        return _by_position(splits, val_fraction)
    sets = {
        name: None if examples is None else _by_paths(examples, splits.root)
        for name, examples in sets_of(splits).items()
    }
    if sets["validation"] is None and val_fraction:
        folder = find_splits(splits.root).train
        held = hold_out(sets["train"], folder, val_fraction, group)
        sets["train"], sets["validation"] = held
        warn_of_missing_classes("validation", held[1], splits.class_names)
    new = replace(splits, **sets, split_by=split_by)
    return replace(new, sha256=fingerprint_of_files(new))


def _by_position(splits: Splits, val_fraction: float) -> Splits:
    """The splits as earlier versions made them."""
    sets = {
        name: None if examples is None else _as_listed(examples)
        for name, examples in sets_of(splits).items()
    }
    if sets["validation"] is None and val_fraction:
        size = round(val_fraction * splits.train.size)
        held = split_off_validation(sets["train"], size)
        sets["train"], sets["validation"] = held
        warn_of_missing_classes("validation", held[1], splits.class_names)
    known = fingerprint(sets.values(), splits.root)
    return replace(splits, **sets, split_by=POSITION, sha256=known)


def _by_paths(examples: Examples, folder: pathlib.Path) -> Examples:
    """Examples in the order of their paths, however a file system writes accents."""
    paths = [path.split("/") for path in relative_paths(examples.images, folder)]
    return _in_order(examples, paths)


def _as_listed(examples: Examples) -> Examples:
    """Examples class by class, in the order of their paths as the file system has them."""
    parts = [pathlib.Path(path).parts for path in examples.images]
    return _in_order(examples, list(zip(examples.labels.tolist(), parts, strict=True)))


def _in_order(examples: Examples, keys: Sequence[Any]) -> Examples:
    order = sorted(range(examples.size), key=keys.__getitem__)
    return Examples(examples.images[order], examples.labels[order])


def hold_out(
    examples: Examples,
    folder: pathlib.Path,
    fraction: float,
    group: str | None = None,
) -> tuple[Examples, Examples]:
    """Splits a share of each class off, by a hash of the images' paths.

    Of a class with two images and more, at least one is for validation and one to train
    on.

    Args:
        examples: Paths of images.
        folder: The folder that holds the class folders, to which paths are relative.
        fraction: The share, between 0 and 1.
        group: Regular expression of the part of the path that images have in common
            which must stay on one side, such as frames of one video; see `groups_of`.
            The share is then one of the groups of a class.

    Returns:
        Training and validation `Examples`, each in the original order.

    Raises:
        ValueError: If no image could be split off, or a class would have none left to
            train on, or the regular expression doesn't fit the paths.
    """
    names = relative_paths(examples.images, folder)
    if group is not None:
        names = groups_of(names, group)
    of_class = defaultdict(set)
    for name, label in zip(names, examples.labels.tolist(), strict=True):
        of_class[label].add(name)
    chosen = set()
    for inside in of_class.values():
        count = max(1, round(fraction * len(inside)))
        chosen.update(sorted(inside, key=_hash)[: min(count, len(inside) - 1)])
    held = np.array([name in chosen for name in names])
    lost = set(of_class) - set(examples.labels[~held].tolist())
    if not chosen or lost:
        what = "images" if group is None else f"groups by --group {group!r}"
        received = {len(inside) for inside in of_class.values()}
        raise ValueError(
            "The validation images must be at least one, and leave some of every class "
            f"to train on. Received: classes of {min(received)} to {max(received)} "
            f"{what}. Add images, make a folder of validation images yourself, or give "
            "another `val_fraction` (--val-fraction) or `group` (--group)."
        )
    return (
        Examples(examples.images[~held], examples.labels[~held]),
        Examples(examples.images[held], examples.labels[held]),
    )


def _hash(name: str) -> tuple[bytes, str]:
    """The place of a path or group among others, the same on every machine."""
    return hashlib.sha256(name.encode()).digest(), name


def groups_of(paths: list[str], group: str) -> list[str]:
    """The group of each path: the part that a regular expression finds in it.

    Args:
        paths: From the class's folder on, such as ``"cat/video07_frame012.jpg"``.
        group: The regular expression, looked for anywhere in the path. If it has
            parentheses, what is in these is the group.

    Raises:
        ValueError: If it finds nothing in some path.

    Warns:
        UserWarning: If every image is a group of its own.
    """
    pattern, found = re.compile(group), []
    for path in paths:
        match = pattern.search(path)
        found.append(match and "/".join(part or "" for part in _parts(match)))
    without = [path for path, part in zip(paths, found, strict=True) if not part]
    if without:
        raise ValueError(
            "`group` (--group) must find a part of every image's path. Received: "
            f"group={group!r}, which finds none in {len(without):,} of {len(paths):,}, "
            f"such as {without[0]!r}."
        )
    if len(set(found)) == len(found):
        warnings.warn(
            f"`group` (--group) keeps nothing together: by {group!r} each of the "
            f"{len(found):,} images is a group of its own, such as {found[0]!r}.",
            stacklevel=4,
        )
    return found


def _parts(match: re.Match[str]) -> tuple[str | None, ...]:
    return match.groups() or (match[0],)
