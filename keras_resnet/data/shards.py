"""Folders of images in few large files, as TensorFlow Datasets writes them.

Millions of small files are slow to list and to read, above all on network storage. TFDS
packs them into shards: TFRecord, which is streamed, or ArrayRecord, which is read in any
order.
"""

from __future__ import annotations

import os
import pathlib
from typing import Any

from keras_resnet.config.datasets import DATASETS
from keras_resnet.data import records, streams
from keras_resnet.data.bad_examples import BAD_SHARE
from keras_resnet.data.download import INFO
from keras_resnet.data.examples import Splits
from keras_resnet.data.folders import LIKE_A_DATA_SET, VAL_FRACTION
from keras_resnet.files import local_path, read_json

FEATURES = "features.json"
VALIDATION = ("validation", "val")  # Names of splits in TFDS's data sets.
CHANNELS = 3  # As of a folder of images.


def is_shards(path: str | os.PathLike[str]) -> bool:
    """Tells whether a folder is one that TFDS wrote, with its description.

    Raises:
        ValueError: If it isn't, but holds one: the folder of a version.
    """
    folder = local_path(path)
    if all((folder / name).is_file() for name in (INFO, FEATURES)):
        return True
    inside = sorted(info.parent for info in folder.glob(f"*/{INFO}"))
    if inside:
        raise ValueError(
            "`data` (--data) must be the folder in which TensorFlow Datasets wrote "
            f"{INFO}. Received: {folder}. Give --data {inside[-1]}."
        )
    return False


def check_options(
    path: str | os.PathLike[str],
    val_fraction: float | None,
    group: str | None,
    bit_depth: int | str | None,
) -> None:
    """Checks that what is asked for can be done with shards.

    Args:
        path: The folder.
        val_fraction: As of `load`; `None` for the default.
        group: What paths have in common; `None` if nothing.
        bit_depth: As of `TrainRequest`.

    Raises:
        ValueError: If it takes paths of images, which shards don't have, or is a validation
            share where the shards have a validation split.
    """
    asked = {"group": group, "bit_depth": bit_depth if bit_depth == "auto" else None}
    for option, value in asked.items():
        if value is not None:
            raise ValueError(
                f"`{option}` (--{option.replace('_', '-')}) looks at the files of a folder "
                f"of images, and {path} holds shards. Leave it out, or name the folder "
                f"that they were made of. Received: {option}={value!r}."
            )
    if val_fraction is not None:
        own = set(VALIDATION) & set(_builder(local_path(path)).info.splits)
        if own:
            raise ValueError(
                "`val_fraction` (--val-fraction) splits training images where there is no "
                f"validation split. Received: val_fraction={val_fraction}, and the split "
                f"{min(own)!r} in {path}. Leave it out."
            )


def name_of(path: str | os.PathLike[str]) -> str:
    """The name of the data set in a folder, made another than that of a known one.

    Raises:
        ValueError: If its description is damaged.
    """
    file = local_path(path) / INFO
    try:
        name = read_json(file)["name"]
    except (ValueError, KeyError, TypeError) as error:
        raise _damaged(file, error) from error
    return f"{name}{LIKE_A_DATA_SET}" if name in DATASETS else name


def load(
    path: str | os.PathLike[str],
    *,
    val_fraction: float = VAL_FRACTION,
    bad_share: float = BAD_SHARE,
) -> Splits:
    """Loads a folder that TensorFlow Datasets wrote.

    Its split ``train`` is trained on; ``test`` and ``validation`` (or ``val``) are what
    they are called. Every image is decoded once, to find the damaged ones; what was found
    is kept for as long as the files have the same names and sizes.

    Args:
        path: The folder, with ``dataset_info.json``, ``features.json`` and the shards.
        val_fraction: Part of the training split that becomes the validation set where
            there is none: its first images, which TFDS wrote in random order. 0 splits
            none off.
        bad_share: Largest share of a split's images that may be left out because they
            can't be decoded or have a label out of range.

    Returns:
        `Splits` of `StreamedExamples`, which have random access if the shards are
        ArrayRecord.

    Raises:
        FileNotFoundError: If a shard is missing.
        ValueError: If the folder has no split ``train``, no features ``image`` and
            ``label`` of a classification, too few classes or images; if a file is damaged,
            too many examples are bad, or there is no validation split and the images are
            not in random order.
    """
    folder = local_path(path)
    builder = _builder(folder)
    class_names = _class_names(builder, folder)
    parts = _parts(builder, folder, val_fraction)
    whole = tuple(dict.fromkeys(part.partition("[")[0] for part in parts.values()))
    for split in whole:
        records.check_files(builder, split)
    name = name_of(folder)
    sha256 = streams.fingerprint(builder, whole, parts.get("validation", ""))
    source = streams.Source(
        name=name,
        builder=builder,
        classes=len(class_names),
        channels=CHANNELS,
        bad_share=bad_share,
        sha256=sha256,
    )
    sets, skipped = dict.fromkeys(("train", "validation", "test")), ()
    for kind, split in parts.items():
        sets[kind], left_out = streams.streamed(source, split)
        skipped += left_out
    return Splits(
        **sets,
        class_names=class_names,
        name=name,
        version=str(builder.version),
        sha256=sha256,
        skipped=skipped,
    )


def _builder(folder: pathlib.Path) -> Any:
    import tensorflow_datasets as tfds

    try:
        return tfds.builder_from_directory(folder)
    except Exception as error:  # Each damage has its own kind.
        raise _damaged(folder, error) from error


def _damaged(place: pathlib.Path, error: Exception) -> ValueError:
    reason = (str(error).strip() or type(error).__name__).splitlines()[0]
    return ValueError(
        f"{place} must be as TensorFlow Datasets wrote it ({type(error).__name__}: "
        f"{reason}). Copy it or make it again."
    )


def _class_names(builder: Any, folder: pathlib.Path) -> tuple[str, ...]:
    """The names of the classes, of which there must be two."""
    import tensorflow_datasets as tfds

    features = builder.info.features
    wanted = {"image": tfds.features.Image, "label": tfds.features.ClassLabel}
    found = dict(features) if isinstance(features, tfds.features.FeaturesDict) else {}
    if any(not isinstance(found.get(name), kind) for name, kind in wanted.items()):
        raise ValueError(
            f"{folder} must have the features `image`, an Image, and `label`, a "
            f"ClassLabel. Received: {features}."
        )
    names = tuple(features["label"].names)
    if len(names) < 2:
        raise ValueError(
            "A data set must have at least two classes. Received: "
            f"{folder} with the classes {list(names)}."
        )
    return names


def _parts(builder: Any, folder: pathlib.Path, val_fraction: float) -> dict[str, str]:
    """What is trained on, validated and tested on, each in TFDS's words."""
    splits = builder.info.splits
    if "train" not in splits:
        raise ValueError(
            f"{folder} must have the split 'train'. Received: {sorted(splits)}."
        )
    test = {"test": "test"} if "test" in splits else {}
    for name in VALIDATION:
        if name in splits:
            return {"train": "train", "validation": name, **test}
    if not val_fraction:
        return {"train": "train", **test}
    if builder.info.disable_shuffling:
        raise ValueError(
            f"{folder} must have the split 'validation', as its images are not in random "
            f"order (disable_shuffling). Received: {sorted(splits)}. Make it again with "
            "one."
        )
    count = splits["train"].num_examples
    size = round(val_fraction * count)
    if not 0 < size < count:
        raise ValueError(
            "The validation set must take at least one example and leave some. "
            f"Received: {size} of {count} examples. Add images, or train with another "
            "`val_fraction` (--val-fraction)."
        )
    return {"train": f"train[{size}:]", "validation": f"train[:{size}]", **test}
