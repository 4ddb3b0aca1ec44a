"""Names of classes in the order of the logits, by data set or from a user's file."""

import os
import pathlib
from collections import Counter
from collections.abc import Sequence
from functools import cache

from keras_resnet.config.datasets import DATASETS


@cache
def imagenet_classes() -> tuple[str, ...]:
    """The 1000 names that torchvision (BSD-3-Clause) gives to ImageNet's classes.

    In the order of their WordNet numbers, as published weights have it. (Darknet's files
    have another.)
    """
    path = pathlib.Path(__file__).with_name("imagenet_classes.txt")
    return tuple(path.read_text(encoding="utf-8").splitlines())


def check_class_names(names: Sequence[str]) -> None:
    """Raises `ValueError` unless these are names of classes, each once."""
    strange = [name for name in names if not isinstance(name, str)]
    if strange or not names:
        raise ValueError(f"`classes` must be names. Received: {strange or 'none'}.")
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise ValueError(
            f"`classes` must have each name once. Received more than once: {twice}."
        )


def named_classes(names: str | os.PathLike[str]) -> tuple[str, ...]:
    """Returns the classes of a data set, or those that a file lists.

    Args:
        names: ``"imagenet"``, ``"cifar10"`` or another data set that has names here; or
            a text file in UTF-8 with one name a line, in the order of the logits.

    Raises:
        FileNotFoundError: If it is neither.
        ValueError: If the file isn't UTF-8, or has an empty line or a name twice.
    """
    known = {name: row.class_names for name, row in DATASETS.items() if row.class_names}
    if names == "imagenet":
        return imagenet_classes()
    if isinstance(names, str) and names in known:
        return known[names]
    path = pathlib.Path(names).expanduser()
    if not path.is_file():
        raise FileNotFoundError(
            f"`classes` (--classes) must be imagenet, {', '.join(known)}, or a text file "
            f"with one name a line. No file at {path}."
        )
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path} must be a text file in UTF-8 with the name of one class a line. "
            f"Received: {error}."
        ) from error
    found = [line.strip() for line in lines]
    twice = sorted(n for n, count in Counter(found).items() if count > 1 or not n)
    if twice or not found:
        raise ValueError(
            f"{path} must have the name of one class on each line, each once. Received: "
            + (f"{twice[0]!r} twice or empty." if twice else "an empty file.")
        )
    return tuple(found)
