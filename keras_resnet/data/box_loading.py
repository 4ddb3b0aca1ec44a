"""Loads images with boxes: a folder, a JSON file, or a data set by its name."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from keras_resnet.config.box_datasets import BOX_DATASETS
from keras_resnet.config.datasets import DATA_SET
from keras_resnet.data import box_folders, box_sources
from keras_resnet.data.bad_examples import BAD_SHARE
from keras_resnet.data.boxes import BoxedSplits
from keras_resnet.data.folders import VAL_FRACTION


def load_boxes(
    path: str | os.PathLike[str],
    *,
    class_names: Sequence[str] | None = None,
    val_fraction: float = VAL_FRACTION,
    group: str | None = None,
    zero_based: bool = False,
    bad_share: float = BAD_SHARE,
    data_dir: str | os.PathLike[str] | None = None,
) -> BoxedSplits:
    """Loads images with boxes: a folder in VOC's layout or with COCO's JSON, or by name.

    Each image is decoded once, and each box is checked; one warning names what was found
    (`BoxedSplits.problems` keeps it). Objects of classes that aren't trained on are left
    out in all splits.

    Args:
        path: The folder, a JSON file whose images are all to train on, or ``"tfds:"`` and
            the name of a data set of TensorFlow Datasets: ``"tfds:voc2007"``,
            ``"tfds:voc0712"``, ``"tfds:voc07test12"`` or ``"tfds:coco2017"``.
        class_names: The classes to train on, in the order of their labels. Defaults to all
            of the training images' objects in alphabetical order (VOC), or to the training
            file's categories in the order of their numbers (COCO).
        val_fraction: Part of the training images that becomes the validation set if there
            is none; which ones follows from a hash of their paths. 0 leaves it out.
        group: What images must have in common to stay together: an expression with one
            group that is found in their paths.
        zero_based: Whether VOC's corners are coordinates that begin at 0; its own are
            numbers of pixels from 1.
        bad_share: Largest share of the images of a split that may be left out, since the
            file can't be decoded, or its annotation can't be read or states another size.
        data_dir: Folder of TensorFlow Datasets, for a name alone. A name's classes and
            splits are its own: the options above but ``bad_share`` are for folders.

    Returns:
        `BoxedSplits`.

    Raises:
        FileNotFoundError: If there is nothing in one of these forms.
        ValueError: If too many images can't be used, no image has an object, a file isn't
            what it must be, the name is unknown, or an option doesn't go with the data.
    """
    options = {
        "class_names": (class_names, None),
        "val_fraction": (val_fraction, VAL_FRACTION),
        "group": (group, None),
        "zero_based": (zero_based, False),
    }
    name = os.fspath(path) if isinstance(path, str | os.PathLike) else path
    given = {key: value for key, (value, other) in options.items() if value != other}
    if isinstance(name, str) and name.startswith(DATA_SET):
        _refuse(given, f"a folder, not with {name!r}")
        return box_sources.load(
            name.removeprefix(DATA_SET), data_dir=data_dir, bad_share=bad_share
        )
    if isinstance(name, str) and name in BOX_DATASETS and not os.path.exists(name):
        raise FileNotFoundError(
            f"There is no folder {name!r}. The data set of this name is "
            f"{DATA_SET + name!r}."
        )
    if data_dir is not None:
        _refuse({"data_dir": data_dir}, "a name after 'tfds:'")
    return box_folders.load(path, bad_share=bad_share, **given)


def _refuse(given: dict[str, Any], what: str) -> None:
    """Raises where options are given that go with other data."""
    if given:
        said = ", ".join(f"{name}={value!r}" for name, value in given.items())
        raise ValueError(
            f"{', '.join(f'`{name}`' for name in given)} must be left out: it goes with "
            f"{what}. Received: {said}."
        )
