"""Data sets by name, split into training, validation and test set.

`load` knows those of `config/datasets.py`. Whatever is not the test set comes from the
training set; the test set never lends an example to the validation set.
"""

from __future__ import annotations

import functools
import os
import pathlib

import numpy as np

from keras_resnet.config.datasets import DATASETS
from keras_resnet.config.lookup import find
from keras_resnet.data import records, streams, threads
from keras_resnet.data.bad_examples import BAD_SHARE, check_share, decode_all
from keras_resnet.data.download import is_prepared, prepared_builder
from keras_resnet.data.examples import (
    Examples,
    Splits,
    fingerprint,
    split_off_validation,
)
from keras_resnet.devices.host import tensorflow

BUNDLED = pathlib.Path(__file__).parent / "bundled" / "fashion_mini.npz"


def load(
    name: str,
    *,
    data_dir: str | os.PathLike[str] | None = None,
    bad_share: float = BAD_SHARE,
) -> Splits:
    """Loads one of the data sets of `config/datasets.py`.

    Args:
        name: Key of `DATASETS`.
        data_dir: Folder of TensorFlow Datasets, in which the data set is looked for and
            to which it is downloaded. Defaults to TFDS's own,
            ``~/tensorflow_datasets``. Not used for the bundled set.
        bad_share: Largest share of a split's examples that may be left out because they
            can't be decoded or have a label out of range.

    Returns:
        `Splits`. The validation set is drawn from the training set, balanced over the
        classes, by a fixed permutation; of a streamed set, it is the first part of the
        TFDS training split (which TFDS wrote in random order). The arrays of the bundled
        set can't be written to.

    Raises:
        ValueError: If the name is unknown, a file is corrupt or too many examples are
            bad.
        FileNotFoundError: If the data set isn't there and can't be downloaded.
    """
    spec = find(DATASETS, name, kind="data set")
    if spec.tfds is None:
        return _load_bundled(name, spec)
    builder = prepared_builder(spec.tfds, _expanded(data_dir))
    for split in (spec.train, spec.test):
        records.check_files(builder, split)
    if spec.storage == "stream":
        return _load_streamed(name, spec, builder, bad_share)
    return _load_into_memory(name, spec, builder, bad_share)


def is_here(name: str, data_dir: str | os.PathLike[str] | None = None) -> bool:
    """Tells whether `load` would find a data set without downloading it.

    Raises:
        FileNotFoundError: If ``data_dir`` is a wrong folder; see
            `download.prepared_builder`.
    """
    spec = find(DATASETS, name, kind="data set")
    return spec.tfds is None or is_prepared(spec.tfds, _expanded(data_dir))


def _expanded(data_dir):
    """The folder with ``~`` expanded; TFDS also reads remote ones (``gs://…``)."""
    return None if data_dir is None else os.path.expanduser(data_dir)


def _load_bundled(name, spec):
    if not BUNDLED.is_file():
        raise FileNotFoundError(
            f"The bundled data set must be at {BUNDLED}. Install the package again."
        )
    return _read_bundled(BUNDLED, name, spec)


@functools.lru_cache(maxsize=1)  # To decompress it takes half a second.
def _read_bundled(path, name, spec):
    # zipfile, LZMA and NumPy have their own words for a damaged file.
    try:
        with np.load(path) as archive:
            train, test = (
                Examples(
                    archive[f"{split}_images"][..., np.newaxis],
                    archive[f"{split}_labels"].astype(np.int32),
                )
                for split in ("train", "test")
            )
    except Exception as error:
        raise ValueError(
            f"The bundled data set {path} is corrupt ({error}). Install the package again."
        ) from error
    train, validation = split_off_validation(train, spec.validation)
    for examples in (train, validation, test):  # Who asks again gets the same arrays.
        examples.images.setflags(write=False)
        examples.labels.setflags(write=False)
    return Splits(
        train=train,
        validation=validation,
        test=test,
        class_names=spec.class_names,
        name=name,
        version="1",
        sha256=fingerprint((train, validation, test)),
    )


def _load_into_memory(name, spec, builder, bad_share):
    (train, bad_train), (test, bad_test) = (
        _read_split(builder, split, spec, bad_share)
        for split in (spec.train, spec.test)
    )
    train, validation = split_off_validation(train, spec.validation)
    return Splits(
        train=train,
        validation=validation,
        test=test,
        class_names=_class_names(builder, spec),
        name=name,
        version=str(builder.version),
        sha256=fingerprint((train, validation, test)),
        skipped=bad_train + bad_test,
    )


def _load_streamed(name, spec, builder, bad_share):
    source = streams.Source(
        name=name,
        builder=builder,
        classes=spec.classes,
        channels=spec.preprocessing.channels,
        bad_share=bad_share,
        sha256=streams.fingerprint(
            builder, (spec.train, spec.test), f"{spec.validation}"
        ),
    )
    parts = {
        # Drawing it balanced would take a pass over all of the files.
        "train": f"{spec.train}[{spec.validation}:]",
        "validation": f"{spec.train}[:{spec.validation}]",
        "test": spec.test,
    }
    sets, skipped = {}, ()
    for kind, split in parts.items():
        sets[kind], left_out = streams.streamed(source, split)
        skipped += left_out
    return Splits(
        **sets,
        class_names=_class_names(builder, spec),
        name=name,
        version=str(builder.version),
        sha256=source.sha256,
        skipped=skipped,
    )


def _class_names(builder, spec):
    """The copy's names of its classes, or ours where it has none."""
    names = tuple(builder.info.features["label"].names)
    # TFDS counts the classes of a copy without names.
    nameless = names == tuple(map(str, range(len(names))))
    return spec.class_names if nameless and spec.class_names else names


def _read_split(builder, split, spec, bad_share):
    """Reads a whole TFDS split into memory, without what is bad, which it names."""
    tf = tensorflow()
    # TFDS itself compares the number of records with dataset_info.json.
    try:
        contents, labels = _gather(records.in_order(builder, split))
    except tf.errors.OpError as error:
        raise records.unreadable(builder, split, error) from error
    labels = labels.astype(np.int32)
    channels = spec.preprocessing.channels
    images, bad = decode_all(contents, channels, keep=spec.storage == "pixels")
    for index in np.flatnonzero((labels < 0) | (labels >= spec.classes)):
        bad[int(index)] = f"label {labels[index]}, must be 0 to {spec.classes - 1}"
    good = np.setdiff1d(np.arange(len(labels)), list(bad))
    names = streams.named(split, bad)
    check_share(names, len(labels), f"{split!r} of {builder.info.full_name}", bad_share)
    examples = contents if images is None else images
    if bad:
        examples, labels = examples[good], labels[good]
    return Examples(examples, labels), names


def _gather(pairs):
    """Images and labels of a data set, each in one array."""
    images, labels = [], []
    batches = threads.without_autotuning(pairs.batch(1_000))
    for image_batch, label_batch in batches.as_numpy_iterator():
        images.append(image_batch)
        labels.append(label_batch)
    return np.concatenate(images), np.concatenate(labels)
