"""Folders of images, with one folder per class, as data sets."""

from __future__ import annotations

import os
import warnings
from collections import Counter, defaultdict

import numpy as np

from keras_resnet.config.datasets import DATASETS
from keras_resnet.config.image_formats import SUFFIXES
from keras_resnet.config.words import counted
from keras_resnet.data.bad_examples import (
    BAD_SHARE,
    check_share,
    decode_all,
    remembered,
    state_of,
)
from keras_resnet.data.class_folders import check_distinct, check_not_splits
from keras_resnet.data.examples import Examples, Splits
from keras_resnet.data.image_files import why_no_image
from keras_resnet.data.layout import find_splits, warn_of_neighbours
from keras_resnet.data.listing import (
    MANY,
    as_text,
    by_reason,
    contents,
    list_images,
    say_left_out,
)
from keras_resnet.data.split_checks import (
    warn_of_copies,
    warn_of_missing_classes,
    warn_of_shared_files,
)
from keras_resnet.data.splitting import PATH, with_validation
from keras_resnet.devices.host import tensorflow
from keras_resnet.files import local_path

LIKE_A_DATA_SET = "_folder"  # Ends the name of a folder that is called like one.
VAL_FRACTION = 0.1  # Of a folder that has no validation images of its own.


def load(
    path: str | os.PathLike[str],
    *,
    val_fraction: float = VAL_FRACTION,
    group: str | None = None,
    split_by: str = PATH,
    bad_share: float = BAD_SHARE,
) -> Splits:
    """Loads a folder that holds one folder of images per class.

    The images of a class are all that `listing.list_images` finds in ``path/CLASS``.
    Where ``path`` has a folder of training images that holds such class folders, and
    perhaps folders of validation and test images beside it (`layout.SPLITS` has their
    names), these are the sets. A warning names what else there is. Test images without
    class folders are left out. Warnings say which classes a set lacks, also one that is
    split off here, how many of their files are training images, too, and how many
    images lie in more than one class. Every image is decoded once, to find the damaged
    ones before the training does (about 1,000 photographs of 500x375 a second on two
    cores); of 10,000 files and more, what was found is kept for as long as none is
    changed.

    Args:
        path: The folder.
        val_fraction: Part of the training images of each class that becomes the
            validation set if there is no folder of that; which ones follows from their
            paths, as of `splitting.hold_out`. 0 leaves all as it was listed, for
            `splitting.with_validation`, without a fingerprint.
        group: Regular expression of the part of the path that images have in common
            which must stay together; see `splitting.groups_of`.
        split_by: ``"path"``, or ``"position"`` for the validation images that earlier
            versions chose.
        bad_share: Largest share of the images of a split that may be left out because
            they can't be decoded; `Splits.skipped` names them.

    Returns:
        `Splits` with the class names in alphabetical order, as `listing.as_text` writes
        them.

    Raises:
        FileNotFoundError: If there is no such folder, or it has no images.
        ValueError: If there are less than two classes, too many images can't be
            decoded, a validation or test folder has a class that the training folder
            lacks, there are two folders for one split, a class has a name of several
            lines, one class folder is a link to another, or all hold nothing but the
            same folders.
    """
    root = local_path(path)
    if not root.is_dir():
        but = " but a file" if root.is_file() else ""
        raise FileNotFoundError(
            "`data` (--data) must be a folder with one folder of images per class, or a "
            f"data set's name. Received: {as_text(root)!r}, which isn't a folder{but}."
        )
    layout = find_splits(root)
    inside = contents(layout.train)
    class_names = tuple(_by_class(inside.folders))
    if len(class_names) < 2:
        merged = len(inside.folders) > len(class_names)
        why = ", which two folders have, their accents written in two ways" * merged
        raise ValueError(
            "A data set must have at least two classes, one folder each. Received: "
            f"{as_text(layout.train)} with the folders {list(class_names)}{why}."
        )
    check_not_splits(layout.train, inside.folders)
    warn_of_neighbours(root, layout, class_names)
    train, skipped = _read_folder(layout.train, inside, class_names, bad_share)
    others = {"validation": None, "test": None}
    for split in others:
        folder = getattr(layout, split)
        if folder is None:
            continue
        inside = contents(folder)
        if split == "test" and not _is_labelled(folder, inside, class_names):
            continue
        others[split], bad = _read_folder(folder, inside, class_names, bad_share)
        skipped += bad
    for split, examples in others.items():
        if examples is not None:
            warn_of_shared_files(split, examples, train)
            warn_of_missing_classes(split, examples, class_names)
            warn_of_copies(split, examples, class_names)
    found = Splits(
        train=train,
        **others,
        class_names=class_names,
        name=name_of(root),
        version="",
        sha256="",
        skipped=skipped,
        root=root,
    )
    if not val_fraction:
        return found
    complete = with_validation(found, val_fraction, group, split_by)
    split_off = complete.validation if found.validation is None else None
    held_out = () if split_off is None else split_off.images
    warn_of_copies("training", train, class_names, held_out)
    return complete


def name_of(path: str | os.PathLike[str]) -> str:
    """The name of a folder's data set: the folder's, made another than any data set's."""
    name = as_text(local_path(path).resolve().name)
    return f"{name}{LIKE_A_DATA_SET}" if name in DATASETS else name


def check_val_fraction(
    path: str | os.PathLike[str],
    val_fraction: float | None,
    group: str | None = None,
) -> None:
    """Checks that a part of a folder's images can be split off for validation.

    Args:
        path: The folder.
        val_fraction: The part, between 0 and 1; `None` for the default.
        group: As of `load`.

    Raises:
        ValueError: If it can't, or the folder has validation images of its own.
    """
    if val_fraction is not None and not 0 < val_fraction < 1:
        raise ValueError(
            "`val_fraction` (--val-fraction) must be between 0 and 1. "
            f"Received: val_fraction={val_fraction}."
        )
    asked = {"val_fraction": val_fraction, "group": group}
    said = ", ".join(f"{k}={v!r}" for k, v in asked.items() if v is not None)
    own = find_splits(local_path(path)).validation if said else None
    if own is not None:
        raise ValueError(
            "`val_fraction` (--val-fraction) and `group` (--group) split training images "
            f"where there is no folder of validation images. Received: {said}, and "
            f"{as_text(own)}. Leave one of them out."
        )


def _by_class(folders):
    """The folders of each class by its name, in the order of the names.

    A name's accents may be written in two ways, by which the same class can have two
    folders.
    """
    found = defaultdict(list)
    for folder in folders:
        name = as_text(folder.name)
        if name.splitlines() != [name]:
            raise ValueError(
                "The name of a class must be one line of text. Received: the folder "
                f"{name!r} in {as_text(folder.parent)}. Rename it."
            )
        found[name].append(folder)
    return dict(sorted(found.items()))


def _is_labelled(path, inside, class_names):
    """Tells whether a folder of test images has classes, and warns if it hasn't."""
    if set(_by_class(inside.folders)) & set(class_names):
        return True
    number = len(list_images(path).files)
    warnings.warn(
        f"{as_text(path)} has no folder of a class, so its "
        f"{counted(number, 'image is', 'images are')} left out: `keras-resnet predict` "
        "names what is there.",
        stacklevel=3,
    )
    return False


def _read_folder(path, inside, class_names, bad_share):
    """Lists and checks the images of one folder of class folders; names bad ones."""
    check_distinct(inside.folders)
    folders = _by_class(inside.folders)
    unknown = set(folders) - set(class_names)
    if unknown:
        raise ValueError(
            f"{as_text(path)} must hold classes of the training set alone. Received: "
            f"the folders {sorted(unknown)}, which are none of {list(class_names)}."
        )
    if not folders:
        raise FileNotFoundError(
            f"{as_text(path)} must hold class folders. Received: none."
        )
    left_out = Counter(inside.left_out)
    if inside.images:
        left_out["image in no class's folder"] += len(inside.images)
    paths, labels = [], []
    for label, name in enumerate(class_names):
        if name not in folders:
            continue  # A small validation or test set may lack a class.
        images, others = _images_of(folders[name])
        if not images:
            raise FileNotFoundError(
                f"The class folder {as_text(path / name)} must hold images "
                f"({', '.join(SUFFIXES)}). Received: {by_reason(others) or 'none'}. Add "
                "some or remove it."
            )
        left_out += others
        paths += images
        labels += [label] * len(images)
    say_left_out(f"In the class folders of {as_text(path)}", left_out)
    return _without_bad(path, paths, labels, class_names, bad_share)


def _images_of(folders):
    """The paths of a class's images, and what is left out in its folders."""
    listings = [list_images(folder) for folder in folders]
    left_out = sum((listing.left_out for listing in listings), Counter())
    return [str(file) for listing in listings for file in listing.files], left_out


def _without_bad(folder, paths, labels, class_names, bad_share):
    paths, labels = np.array(paths, dtype=object), np.array(labels, np.int32)
    bad = _bad(folder, paths)
    names = tuple(f"{as_text(paths[index])} ({bad[index]})" for index in sorted(bad))
    check_share(names, len(paths), as_text(folder), bad_share)
    good = np.setdiff1d(np.arange(len(paths)), list(bad))
    lost = set(labels) - set(labels[good])
    if lost:
        raise ValueError(
            f"Every class of {as_text(folder)} must have an image that can be decoded. "
            f"Received: none of {sorted(class_names[label] for label in lost)}."
        )
    return Examples(paths[good], labels[good]), names


def _bad(folder, paths):
    """The positions of the files that can't be decoded, with the reasons."""
    tf = tensorflow()

    def look():
        reasons = {index: why_no_image(path) for index, path in enumerate(paths)}
        left = [index for index, reason in reasons.items() if reason is None]
        files = [os.fsencode(paths[index]) for index in left]
        bad = {}
        if files:
            bad = decode_all(files, 3, keep=False, load=tf.io.read_file)[1]
        large = {index: reason for index, reason in reasons.items() if reason}
        return large | {left[index]: reason for index, reason in bad.items()}

    if len(paths) < MANY:
        return look()
    what = as_text(folder)
    return remembered(state_of(paths), look, count=len(paths), what=what)
