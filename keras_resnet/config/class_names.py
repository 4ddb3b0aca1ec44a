"""Names of classes in the order of the logits, by data set or from a user's file."""

import os
import pathlib
import re
from collections import Counter
from collections.abc import Sequence
from functools import cache

from keras_resnet.config.datasets import DATA_SET, DATASETS

# ImageNet's classes that share a name with another one in WordNet, so in the lists of
# keras.applications and timm: the index of each among the 1000, and its WordNet number.
HOMONYMS: dict[str, dict[int, str]] = {
    "crane": {134: "n02012849", 517: "n03126707"},  # The bird, the machine.
    "maillot": {638: "n03710637", 639: "n03710721"},  # Tights, a tank suit.
}


@cache
def imagenet_classes() -> tuple[str, ...]:
    """The 1000 names that torchvision (BSD-3-Clause) gives to ImageNet's classes.

    In the order of their WordNet numbers, as published weights have it. (Darknet's files
    have another.)
    """
    path = pathlib.Path(__file__).with_name("imagenet_classes.txt")
    return tuple(path.read_text(encoding="utf-8").splitlines())


@cache
def imagenet_numbers() -> tuple[str, ...]:
    """The WordNet numbers of ImageNet's 1000 classes, in the order of `imagenet_classes`.

    Folders of ImageNet and of parts of it are called so, such as "n01440764" of tenches.
    """
    path = pathlib.Path(__file__).with_name("imagenet_numbers.txt")
    return tuple(path.read_text(encoding="utf-8").splitlines())


def places_in_imagenet(names: Sequence[str]) -> list[int] | None:
    """Finds where classes that are called by WordNet numbers are among ImageNet's.

    Args:
        names: Each a number, alone or with a name behind it, as in "n02085620-Chihuahua".

    Returns:
        The index of each among the 1000; `None` if one is called otherwise.
    """
    known = {number: index for index, number in enumerate(imagenet_numbers())}
    numbers = [re.split("[-_ ]", name, maxsplit=1)[0] for name in names]
    if not all(number in known for number in numbers):
        return None
    return [known[number] for number in numbers]


def told_apart(names: Sequence[str]) -> tuple[str, ...]:
    """Returns names of classes, with WordNet numbers where two of ImageNet's are equal.

    Args:
        names: In the order of the logits. Unless they are 1000, and these two are where
            ImageNet has them, nothing is changed.

    Returns:
        For example ``"crane (n02012849)"`` and ``"crane (n03126707)"`` for the classes
        134 and 517 of a list that calls both ``"crane"``; all other names as they are.
    """
    if len(names) != 1000:
        return tuple(names)
    apart = list(names)
    for name, numbers in HOMONYMS.items():
        if [index for index, one in enumerate(names) if one == name] == [*numbers]:
            for index, number in numbers.items():
                apart[index] = f"{name} ({number})"
    return tuple(apart)


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
            a text file in UTF-8 with one name a line, in the order of the logits. Where a
            file has the name of one, ``"./cifar10"`` is the file, and ``"tfds:cifar10"``
            the data set.

    Raises:
        FileNotFoundError: If it is neither.
        ValueError: If it is both, or the file isn't UTF-8, or has an empty line or a name
            twice. The two cranes and maillots of ImageNet are told apart.
    """
    known = {name: row.class_names for name, row in DATASETS.items() if row.class_names}
    path = pathlib.Path(os.path.expanduser(names))
    if isinstance(names, str):
        name = names.removeprefix(DATA_SET)
        if name in (*known, "imagenet"):
            if name == names and path.is_file():
                raise ValueError(
                    "`classes` (--classes) must name one thing. Received: "
                    f"{name!r}, which is a data set, and also the file {path.absolute()}. "
                    f"Give {DATA_SET}{name} for the data set, or ./{name} for the file."
                )
            return imagenet_classes() if name == "imagenet" else known[name]
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
    found = told_apart([line.strip() for line in lines])
    twice = sorted(n for n, count in Counter(found).items() if count > 1 or not n)
    if twice or not found:
        raise ValueError(
            f"{path} must have the name of one class on each line, each once. Received: "
            + (f"{twice[0]!r} twice or empty." if twice else "an empty file.")
        )
    return found
