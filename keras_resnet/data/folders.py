"""Folders of images, with one folder per class, as data sets."""

from __future__ import annotations

import collections
import os
import pathlib
import warnings

import numpy as np

from keras_resnet.data.bad_examples import (
    BAD_SHARE,
    check_share,
    decode_all,
    remembered,
)
from keras_resnet.data.examples import (
    Examples,
    Splits,
    fingerprint,
    split_off_validation,
)
from keras_resnet.devices.host import tensorflow

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".gif")
VALIDATION_FOLDERS = ("val", "validation")
VAL_FRACTION = 0.1  # Of a folder that has no validation images of its own.
REMEMBERED = 10_000  # Images from which on decoding all of them once is enough.


def load(
    path: str | os.PathLike[str],
    *,
    val_fraction: float = VAL_FRACTION,
    bad_share: float = BAD_SHARE,
) -> Splits:
    """Loads a folder that holds one folder of images per class.

    The images are ``path/CLASS/*.{jpg,jpeg,png,bmp,gif}``. Where ``path/train`` holds
    such class folders, it is the training set, ``path/val`` or ``path/validation`` the
    validation set, and ``path/test`` the test set, as far as they exist. Every image is
    decoded once, to find the damaged ones before the training does (about 1,000
    photographs of 500x375 a second on two cores); of 10,000 files and more, what was
    found is kept for as long as none is changed.

    Args:
        path: The folder.
        val_fraction: Part of the training images that becomes the validation set if
            there is no folder of that, balanced over the classes and the same in every
            run; 0 leaves them together, and `Splits.validation` is `None`.
        bad_share: Largest share of the images of a split that may be left out because
            they can't be decoded; `Splits.skipped` names them.

    Returns:
        `Splits` with the class names in alphabetical order.

    Raises:
        FileNotFoundError: If there is no such folder, or it has no images.
        ValueError: If there are less than two classes, too many images can't be
            decoded, a validation or test folder has a class that the training folder
            lacks, or there are both ``val`` and ``validation``.
    """
    root = pathlib.Path(path)
    if not root.is_dir():
        raise FileNotFoundError(
            "`data` (--data) must be a folder with one folder of images per class. "
            f"Received: {str(path)!r}, which isn't a folder."
        )
    held_out = _held_out(root)
    train_folder = root / "train" if _folders(root / "train") else root
    class_names = tuple(folder.name for folder in _folders(train_folder))
    if len(class_names) < 2:
        raise ValueError(
            "A data set must have at least two classes, one folder each. "
            f"Received: {train_folder} with the folders {list(class_names)}."
        )
    train, skipped = _read_folder(train_folder, class_names, bad_share)
    others = {}
    for name, folder in held_out.items():
        others[name], bad = _read_folder(folder, class_names, bad_share)
        skipped += bad
    validation = next((others[n] for n in VALIDATION_FOLDERS if n in others), None)
    test = others.get("test")
    if validation is None and val_fraction:
        size = round(val_fraction * train.size)
        train, validation = split_off_validation(train, size)
    return Splits(
        train=train,
        validation=validation,
        test=test,
        class_names=class_names,
        name=root.resolve().name,
        version="",
        sha256=fingerprint((train, validation, test), root),
        skipped=skipped,
    )


def check_val_fraction(path: str | os.PathLike[str], val_fraction: float) -> None:
    """Checks that a part of a folder's images can be split off for validation.

    Args:
        path: The folder.
        val_fraction: The part, between 0 and 1.

    Raises:
        ValueError: If it can't, or the folder has validation images of its own.
    """
    if not 0 < val_fraction < 1:
        raise ValueError(
            "`val_fraction` (--val-fraction) must be between 0 and 1. "
            f"Received: val_fraction={val_fraction}."
        )
    own = [name for name in _held_out(pathlib.Path(path)) if name != "test"]
    if own:
        raise ValueError(
            "`val_fraction` (--val-fraction) splits training images where there is no "
            f"folder of validation images. Received: val_fraction={val_fraction}, and "
            f"{pathlib.Path(path) / own[0]}. Leave one of them out."
        )


def _held_out(root):
    """Folders of validation and test images by name, beside a folder ``train``."""
    if not _folders(root / "train"):
        return {}
    names = (*VALIDATION_FOLDERS, "test")
    found = {name: root / name for name in names if (root / name).is_dir()}
    if all(name in found for name in VALIDATION_FOLDERS):
        raise ValueError(
            f"{root} must hold one folder of validation images. Received: "
            f"{' and '.join(VALIDATION_FOLDERS)}. Remove one, or put them together."
        )
    return found


def _folders(path):
    """Sub-folders in alphabetical order, without hidden ones; none of no folder."""
    if not path.is_dir():
        return []
    return sorted(f for f in path.iterdir() if f.is_dir() and f.name[0] != ".")


def _read_folder(path, class_names, bad_share):
    """Lists and checks the images of one folder of class folders; names bad ones."""
    unknown = {folder.name for folder in _folders(path)} - set(class_names)
    if unknown:
        raise ValueError(
            f"{path} must hold classes of the training set alone. Received: the "
            f"folders {sorted(unknown)}, which are none of {list(class_names)}."
        )
    paths, labels, others = [], [], collections.Counter()
    for label, name in enumerate(class_names):
        if not (path / name).is_dir():
            continue  # A small validation or test set may lack a class.
        files = [file for file in (path / name).iterdir() if file.name[0] != "."]
        images = sorted(str(file) for file in files if file.suffix.lower() in SUFFIXES)
        others.update(
            "folder" if file.is_dir() else file.suffix or file.name
            for file in files
            if file.suffix.lower() not in SUFFIXES
        )
        if not images:
            raise FileNotFoundError(
                f"The class folder {path / name} must hold images "
                f"({', '.join(SUFFIXES)}). Received: none. Add some or remove it."
            )
        paths += images
        labels += [label] * len(images)
    if not paths:
        raise FileNotFoundError(f"{path} must hold class folders. Received: none.")
    if others:
        found = ", ".join(f"{count} × {kind}" for kind, count in others.most_common(5))
        warnings.warn(
            f"In the class folders of {path} there is more than images "
            f"({', '.join(SUFFIXES)}), which is left out: {found}.",
            stacklevel=3,
        )
    return _without_bad(path, paths, labels, class_names, bad_share)


def _without_bad(folder, paths, labels, class_names, bad_share):
    paths, labels = np.array(paths, dtype=object), np.array(labels, np.int32)
    bad = _bad(folder, paths)
    names = tuple(f"{paths[index]} ({bad[index]})" for index in sorted(bad))
    check_share(names, len(paths), str(folder), bad_share)
    good = np.setdiff1d(np.arange(len(paths)), list(bad))
    lost = set(labels) - set(labels[good])
    if lost:
        raise ValueError(
            f"Every class of {folder} must have an image that can be decoded. Received: "
            f"none of {sorted(class_names[label] for label in lost)}."
        )
    return Examples(paths[good], labels[good]), names


def _bad(folder, paths):
    """The positions of the files that can't be decoded, with the reasons."""
    tf = tensorflow()

    def look():
        return decode_all(paths, 3, keep=False, load=tf.io.read_file)[1]

    if len(paths) < REMEMBERED:
        return look()
    stats = ((path, pathlib.Path(path).stat()) for path in paths)
    files = [f"{path} {stat.st_size} {stat.st_mtime_ns}" for path, stat in stats]
    return remembered("\n".join(files), look, count=len(paths), what=str(folder))
