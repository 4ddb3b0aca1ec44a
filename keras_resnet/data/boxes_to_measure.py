"""Folders of images with boxes to measure a detector on that wasn't trained there."""

from __future__ import annotations

import os
from collections.abc import Sequence

from keras_resnet.data import box_checks, box_folders, coco, voc
from keras_resnet.data.bad_examples import BAD_SHARE
from keras_resnet.data.boxes import BoxedSplits, with_fingerprint
from keras_resnet.data.folders import name_of
from keras_resnet.data.listing import as_text


def load_to_measure(
    path: str | os.PathLike[str],
    class_names: Sequence[str],
    *,
    zero_based: bool = False,
    bad_share: float = BAD_SHARE,
) -> tuple[BoxedSplits, str]:
    """Loads the images of a folder that a detector is measured on, and wasn't trained on.

    Args:
        path: As of `load`; there needn't be images to train on.
        class_names: Those of the detector. Other ones in VOC's files come after them;
            COCO's are those of the file.
        zero_based: As of `voc.read`; COCO's boxes always begin at 0.
        bad_share: As of `load`.

    Returns:
        The images, all in ``train``, and what they are: ``"test"``, those for the test,
        or ``"all"``, where none are.

    Raises:
        FileNotFoundError, ValueError: As of `load`.
    """
    root, form = box_folders.found_at(path)
    if form == "voc":
        root = voc.find(root)
        reads = voc.read(root, zero_based=zero_based, to_train=False)
        split, chosen = _to_measure(reads)
        others = {name for one in chosen.annotations for name in one.names}
        names = (*class_names, *sorted(others - {*class_names}))
        numbers = tuple(range(1, len(names) + 1))
    else:
        files = coco.find(root)
        files = {"test": files["test"]} if "test" in files else files
        reads, known = box_folders.read_coco(files, to_train=False)
        split, chosen = _to_measure(reads)
        root = root if root.is_dir() else root.parent
        names = tuple(known)
        numbers = box_folders.numbers_of(names, known)
    what = as_text(root)
    examples, skipped, problems = box_folders.examples_of(
        chosen, names, split, what, bad_share
    )
    sentences = box_checks.in_sentences(problems)
    box_checks.warn(what, sentences)
    found = BoxedSplits(
        train=examples,
        validation=None,
        test=None,
        class_names=names,
        category_ids=numbers,
        name=name_of(root),
        skipped=tuple(skipped),
        problems=sentences,
        root=box_folders.root_of(root, {split: examples}),
    )
    return with_fingerprint(found), split


def _to_measure(reads):
    """The test images among what was read, or all."""
    if "test" in reads:
        return "test", reads["test"]
    read = voc.Read()
    for one in reads.values():
        read.annotations += one.annotations
        read.broken += one.broken
        read.problems += one.problems
    return "all", read
