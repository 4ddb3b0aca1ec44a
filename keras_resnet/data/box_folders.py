"""Folders of images with boxes, in VOC's layout or with COCO's JSON, as data sets."""

from __future__ import annotations

import os
import pathlib
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from keras_resnet.data import box_checks, coco, image_sizes, voc
from keras_resnet.data.bad_examples import BAD_SHARE
from keras_resnet.data.boxes import (
    BoxedExamples,
    BoxedSplits,
    sets_of,
    with_fingerprint,
)
from keras_resnet.data.examples import Examples
from keras_resnet.data.folders import VAL_FRACTION, name_of
from keras_resnet.data.listing import as_text
from keras_resnet.data.split_checks import warn_of_shared_files
from keras_resnet.data.splitting import hold_out
from keras_resnet.files import local_path


def form_of(path: str | os.PathLike[str]) -> str | None:
    """Tells in which form a folder, or a JSON file, has boxes.

    Returns:
        ``"voc"``, ``"coco"``, or `None` where there are no boxes in a form that is known.
    """
    root = local_path(path)
    if root.is_dir() and voc.find(root) is not None:
        return "voc"
    return "coco" if root.exists() and coco.find(root) else None


def check_no_boxes(path: str | os.PathLike[str]) -> None:
    """Raises `ValueError` for a folder in VOC's layout, which isn't one of classes."""
    root = local_path(path)
    if (root / voc.ANNOTATIONS).is_dir() and form_of(root) == "voc":
        raise ValueError(
            f"{as_text(root)} has boxes in VOC's layout: name a detector to train on it, "
            "such as `network` (--network) 'fasterrcnn_resnet18_fpn'. A classifier needs a "
            "folder with a folder of images per class."
        )


def load(
    path: str | os.PathLike[str],
    *,
    class_names: Sequence[str] | None = None,
    val_fraction: float | None = None,
    group: str | None = None,
    zero_based: bool = False,
    bad_share: float = BAD_SHARE,
) -> BoxedSplits:
    """Loads a folder of images with boxes in VOC's layout, or with COCO's JSON.

    Each image is decoded once, and each box is checked; one warning names what was found
    (`box_checks.KINDS` says what is done about it), and `BoxedSplits.problems` keeps it.
    Objects of classes that aren't trained on are left out in all splits.

    Args:
        path: The folder, or a JSON file whose images are all to train on.
        class_names: The classes to train on, in the order of their labels. Defaults to all
            of the training images' objects in alphabetical order (VOC), or to the training
            file's categories in the order of their numbers (COCO).
        val_fraction: Part of the training images that becomes the validation set where
            there is none, a tenth by default; which ones follows from a hash of their
            paths. 0 leaves it out.
        group: As of `folders.load`: what images must have in common to stay together.
        zero_based: As of `voc.read`; of VOC's form alone.
        bad_share: Largest share of the images of a split that may be left out, since the
            file can't be decoded, or its annotation can't be read or states another size.

    Returns:
        `BoxedSplits`.

    Raises:
        FileNotFoundError: If there is nothing in one of these forms.
        ValueError: If too many images can't be used, no image has an object, a file
            isn't what it must be, or there is nothing to split off.
    """
    root, form = found_at(path)
    if form == "voc":
        root = voc.find(root)
        reads = voc.read(root, zero_based=zero_based)
        names = tuple(class_names or voc.class_names(reads))
        numbers = tuple(range(1, len(names) + 1))
    else:
        _check_from_one(zero_based, root)
        reads, known = read_coco(coco.find(root))
        root = root if root.is_dir() else root.parent
        names = tuple(class_names or known)
        numbers = numbers_of(names, known)
    _check_names(names, reads["train"].broken)
    what = as_text(root)
    splits, skipped, problems = {}, (), []
    for split, found in reads.items():
        splits[split], bad, new = examples_of(found, names, split, what, bad_share)
        skipped += bad
        problems += new
    sentences = box_checks.in_sentences(problems)
    box_checks.warn(what, sentences)
    found = BoxedSplits(
        **{split: splits.get(split) for split in ("train", "validation", "test")},
        class_names=names,
        category_ids=numbers,
        name=name_of(root),
        skipped=skipped,
        problems=sentences,
        root=root_of(root, splits),
    )
    if found.validation is not None:
        _check_no_share(val_fraction, group, what)
    elif val_fraction != 0:
        share = VAL_FRACTION if val_fraction is None else val_fraction
        train, held = split_off(found.train, found.root, share, group)
        found = replace(found, train=train, validation=held, val_fraction=share)
    _check_objects(found)
    return with_fingerprint(found)


def found_at(path: str | os.PathLike[str]) -> tuple[pathlib.Path, str]:
    """A folder or a JSON file with boxes, and their form."""
    root = local_path(path).absolute()
    form = form_of(root)
    if form is None:
        raise FileNotFoundError(
            "`data` (--data) must have boxes in VOC's layout (Annotations, JPEGImages, "
            "perhaps ImageSets/Main) or COCO's JSON (annotations/instances_train.json and "
            f"the images beside them). Received: {as_text(root)!r}, which has neither."
        )
    return root, form


def _check_from_one(zero_based, root):
    """Raises where boxes of COCO's form are said to begin at 0: they always do."""
    if zero_based:
        raise ValueError(
            "`zero_based` (--zero-based) is of VOC's layout: boxes of COCO's JSON always "
            f"begin at 0. Leave it out. Received: {as_text(root)!r}."
        )


def _check_no_share(val_fraction, group, what):
    """Raises where images are to be split off, and those for validation are given."""
    for name, value in (("val_fraction", val_fraction), ("group", group)):
        if value:
            raise ValueError(
                f"`{name}` (--{name.replace('_', '-')}) must be left out where a list, a "
                f"folder or a file gives the images for validation, as in {what}. "
                f"Received: {name}={value!r}."
            )


def read_coco(
    files: Mapping[str, pathlib.Path], to_train: bool = True
) -> tuple[dict[str, voc.Read], dict[str, Any]]:
    """The annotations of COCO's files, and the first file's categories by name."""
    if to_train and "train" not in files:
        raise FileNotFoundError(
            "There must be a JSON file of images to train on, such as "
            f"instances_train.json. Received: {[as_text(f.name) for f in files.values()]}."
        )
    reads, known = {}, {}
    for split, file in files.items():
        values = coco.read(file)
        known[split] = coco.categories_of(values, file)
        reads[split] = voc.Read(coco.annotations(values, file))
    return reads, known.get("train", next(iter(known.values())))


def numbers_of(names: Sequence[str], known: Mapping[str, Any]) -> tuple[int, ...]:
    """COCO's numbers of classes; 1, 2, … where the file numbers by text."""
    strangers = [name for name in names if name not in known]
    if strangers:
        raise ValueError(
            f"`class_names` must be categories of the JSON file, {list(known)}. "
            f"Received: {strangers}."
        )
    numbers = tuple(known[name] for name in names)
    if all(isinstance(number, int) for number in numbers):
        return numbers
    return tuple(range(1, 1 + len(names)))


def examples_of(
    read: voc.Read, names: Sequence[str], split: str, what: str, bad_share: float
) -> tuple[BoxedExamples, tuple[str, ...], list[box_checks.Problem]]:
    """Examples of the annotations of a split, the images left out, and the problems."""
    annotations = read.annotations
    of_split = f"the {split} images of {what}"
    seen = image_sizes.of_files([each.image for each in annotations], of_split)
    labels = {name: label for label, name in enumerate(names)}
    examples, skipped, problems = box_checks.checked(annotations, seen, labels)
    skipped = (*read.broken, *skipped)
    count = len(annotations) + len(read.broken)
    box_checks.check_skipped(skipped, count, of_split, bad_share)
    if examples is None:
        raise ValueError(
            f"There must be images that can be used. Received: {of_split}, where none can."
        )
    return examples, skipped, read.problems + problems


def split_off(
    examples: BoxedExamples,
    root: pathlib.Path,
    fraction: float,
    group: str | None = None,
) -> tuple[BoxedExamples, BoxedExamples]:
    """Splits a share of images off for validation, by a hash of their paths.

    Args:
        examples: Of files.
        root: The folder that paths are relative to.
        fraction: The share, between 0 and 1.
        group: As of `splitting.hold_out`.

    Returns:
        Training and validation examples, each in the original order.
    """
    places = {path: place for place, path in enumerate(examples.images)}
    alike = Examples(examples.images, np.zeros(examples.size, np.int32))
    left, held = (
        examples.take(np.array([places[path] for path in part.images]))
        for part in hold_out(alike, root, fraction, group)
    )
    return left, held


def root_of(root: pathlib.Path, splits: Mapping[str, BoxedExamples]) -> pathlib.Path:
    """The folder that all images lie in: COCO's may lie beside the one of the files."""
    folders = {
        os.path.dirname(path)
        for examples in splits.values()
        for path in examples.images
    }
    return pathlib.Path(os.path.commonpath([root, *folders]))


def _check_names(names, broken):
    if not names:
        said = ", ".join(broken[:3]) + ", …" * (len(broken) > 3)
        raise ValueError(
            "There must be a class to train on. Received: no object in any training image"
            + f"; these can't be used: {said}" * bool(broken)
            + "."
        )
    bad = [name for name in names if name.splitlines() != [name]]
    twice = sorted({name for name in names if names.count(name) > 1})
    if bad or twice:
        raise ValueError(
            "The name of a class must be one line of text, each name once. Received: "
            f"{bad + twice}."
        )


def _check_objects(splits):
    """Raises where there is nothing to learn; warns of classes that a split lacks."""
    for split, examples in sets_of(splits).items():
        used = ~examples.objects.crowd
        present = set(examples.objects.labels[used].tolist())
        if not present:
            raise ValueError(
                f"The {split} images must have an object. Received: {examples.size} images "
                f"of {splits.name} without any of the classes {list(splits.class_names)}."
            )
        lacking = [
            name
            for label, name in enumerate(splits.class_names)
            if label not in present
        ]
        if lacking:
            named = ", ".join(map(repr, lacking[:10])) + ", …" * (len(lacking) > 10)
            warnings.warn(
                f"The {split} images of {splits.name} lack {len(lacking)} of "
                f"{splits.classes} classes: {named}.",
                stacklevel=3,
            )
        if split != "train":
            warn_of_shared_files(split, examples, splits.train)
