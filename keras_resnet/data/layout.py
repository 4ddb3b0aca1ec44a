"""Finds the folders of training, validation and test images by their names."""

from __future__ import annotations

import pathlib
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from keras_resnet.data.listing import as_text, beside, contents

# The names of folders of splits, in any capitals.
SPLITS: Mapping[str, tuple[str, ...]] = {
    "train": ("train", "training", "training_set", "train_set", "seg_train"),
    "validation": ("val", "valid", "validation", "dev", "validation_set", "val_set"),
    "test": ("test", "testing", "test_set", "testing_set", "seg_test"),
}
NAMES: frozenset[str] = frozenset(name for names in SPLITS.values() for name in names)


@dataclass(frozen=True)
class Layout:
    """The folders of a data set's splits.

    Attributes:
        train: The folder of the training images' class folders.
        validation: That of the validation images; `None` if there is none.
        test: That of the test images; `None` if there is none.
    """

    train: pathlib.Path
    validation: pathlib.Path | None = None
    test: pathlib.Path | None = None


def find_splits(root: pathlib.Path) -> Layout:
    """Finds the folders of splits in a folder, by their names.

    A folder of training images that holds nothing but one of the same name, as unpacked
    archives of Kaggle do, is that one, and so are those of the other images then.

    Args:
        root: The folder. If it has no folder of training images with class folders
            inside, its own folders are the classes.

    Raises:
        ValueError: If there are two folders for one split, or folders of validation or
            test images with classes inside but none of training images.
    """
    folders = contents(root).folders
    found = {
        split: [folder for folder in folders if folder.name.lower() in names]
        for split, names in SPLITS.items()
    }
    found["train"] = [folder for folder in found["train"] if contents(folder).folders]
    if not found["train"]:
        _check_no_split_is_a_class(root, found["validation"] + found["test"])
        return Layout(root)
    for split, ones in found.items():
        if len(ones) > 1:
            raise ValueError(
                f"{as_text(root)} must hold one folder of {split} images. Received: "
                f"{' and '.join(folder.name for folder in ones)}. Remove one, or put "
                "them together."
            )
    layout = {split: ones[0] for split, ones in found.items() if ones}
    if _doubled(layout["train"]) != layout["train"]:
        layout = {split: _doubled(folder) for split, folder in layout.items()}
    return Layout(**layout)


def _doubled(folder):
    """The folder of the same name that is all that a folder holds, or else the folder."""
    inside = contents(folder)
    alone = len(inside.folders) == 1 and not inside.images
    same = alone and inside.folders[0].name.lower() == folder.name.lower()
    return inside.folders[0] if same else folder


def _check_no_split_is_a_class(root, folders):
    """Raises where folders of splits would be taken for the classes."""
    for folder in folders:
        inside = contents(folder)
        if inside.folders and not inside.images:
            raise ValueError(
                f"{as_text(root)} must hold a folder `train` of class folders beside "
                f"{folder.name}. Received: none. Add it, or name {as_text(folder)} "
                "itself to measure on its images."
            )


def warn_of_neighbours(
    root: pathlib.Path, layout: Layout, classes: Iterable[str]
) -> None:
    """Warns of what lies beside the folders of splits, or looks like one and isn't.

    Args:
        root: The folder.
        layout: Its `Layout`.
        classes: The names of the classes.
    """
    if layout.train == root:
        taken = [name for name in classes if name.lower() in NAMES]
        if taken:
            warnings.warn(
                f"In {as_text(root)} the folders {taken} are taken for classes: there is "
                "no folder `train` that holds class folders.",
                stacklevel=3,
            )
        return
    folders = [folder for folder in vars(layout).values() if folder is not None]
    known = {root / folder.relative_to(root).parts[0] for folder in folders}
    others = list(beside(root, known))
    if others:
        warnings.warn(
            f"Beside {as_text(layout.train)} there are other things than folders of "
            f"validation images ({', '.join(SPLITS['validation'])}) and of test images "
            f"({', '.join(SPLITS['test'])}). They are left out: "
            f"{', '.join(others[:10])}{', …' if len(others) > 10 else ''}.",
            stacklevel=3,
        )
