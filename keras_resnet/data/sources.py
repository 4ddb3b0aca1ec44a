"""Data sets by name, split into training, validation and test set.

`load` knows those of `config/datasets.py`. Whatever is not the test set comes from the
training set; the test set never lends an example to the validation set.
"""

from __future__ import annotations

import hashlib
import os
import pathlib

import numpy as np

from keras_resnet.config.datasets import DATASETS
from keras_resnet.config.lookup import find
from keras_resnet.data import threads
from keras_resnet.data.bad_examples import (
    BAD_SHARE,
    bad_records,
    check_share,
    decode_all,
    remembered,
    without,
)
from keras_resnet.data.download import is_prepared, prepared_builder
from keras_resnet.data.examples import (
    Examples,
    Splits,
    StreamedExamples,
    fingerprint,
    split_off_validation,
)
from keras_resnet.devices.host import plain_message, tensorflow

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
        TFDS training split (which TFDS wrote in random order).

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
        _check_files_exist(builder, split)
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
    # zipfile, LZMA and NumPy have their own words for a damaged file.
    try:
        with np.load(BUNDLED) as archive:
            train, test = (
                Examples(
                    archive[f"{split}_images"][..., np.newaxis],
                    archive[f"{split}_labels"].astype(np.int32),
                )
                for split in ("train", "test")
            )
    except Exception as error:
        raise ValueError(
            f"The bundled data set {BUNDLED} is corrupt ({error}). "
            "Install the package again."
        ) from error
    train, validation = split_off_validation(train, spec.validation)
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
    tf = tensorflow()
    digest = hashlib.sha256(f"{spec.validation}".encode())
    for split in (spec.train, spec.test):
        digest.update(f"{split} {builder.info.splits[split].num_examples}".encode())
        for file in builder.info.splits[split].filepaths:
            size = tf.io.gfile.stat(os.fspath(file)).length
            digest.update(f"{pathlib.Path(file).name} {size}".encode())
    skipped = []

    def streamed(split):
        records = _records(builder, split)
        count = builder.info.splits[split].num_examples
        what = f"{split!r} of {builder.info.full_name}"
        try:
            bad = remembered(
                f"{name} {split} {digest.hexdigest()}",
                lambda: bad_records(
                    records, count, spec.preprocessing.channels, spec.classes
                ),
                count=count,
                what=what,
            )
        except tf.errors.OpError as error:
            raise _unreadable(builder, split, error) from error
        names = _named(split, bad)
        check_share(names, count, what, bad_share)
        skipped.extend(names)
        return StreamedExamples(
            read=lambda: threads.without_autotuning(
                without(_records(builder, split), list(bad))
            ),
            size=count - len(bad),
        )

    splits = {
        # Drawing it balanced would take a pass over all of the files.
        "train": streamed(f"{spec.train}[{spec.validation}:]"),
        "validation": streamed(f"{spec.train}[:{spec.validation}]"),
        "test": streamed(spec.test),
    }
    return Splits(
        **splits,
        class_names=_class_names(builder, spec),
        name=name,
        version=str(builder.version),
        sha256=digest.hexdigest(),
        skipped=tuple(skipped),
    )


def _named(split, bad):
    """What is left out, as `Splits.skipped` has it."""
    return tuple(f"{split}[{index}] ({bad[index]})" for index in sorted(bad))


def _class_names(builder, spec):
    """The copy's names of its classes, or ours where it has none."""
    names = tuple(builder.info.features["label"].names)
    # TFDS counts the classes of a copy without names.
    nameless = names == tuple(map(str, range(len(names))))
    return spec.class_names if nameless and spec.class_names else names


def _records(builder, split):
    """The (encoded image, label) pairs of a TFDS split, always in the same order."""
    import tensorflow_datasets as tfds

    records = builder.as_dataset(
        split=split,
        shuffle_files=False,
        # Copies exist whose records hold JPEG where features.json says PNG.
        decoders={"image": tfds.decode.SkipDecoding()},
        read_config=tfds.ReadConfig(try_autocache=False),
    )
    return records.map(lambda record: (record["image"], record["label"]))


def _read_split(builder, split, spec, bad_share):
    """Reads a whole TFDS split into memory, without what is bad, which it names."""
    tf = tensorflow()
    # TFDS itself compares the number of records with dataset_info.json.
    try:
        contents, labels = _gather(_records(builder, split))
    except tf.errors.OpError as error:
        raise _unreadable(builder, split, error) from error
    labels = labels.astype(np.int32)
    channels = spec.preprocessing.channels
    images, bad = decode_all(contents, channels, keep=spec.storage == "pixels")
    for index in np.flatnonzero((labels < 0) | (labels >= spec.classes)):
        bad[int(index)] = f"label {labels[index]}, must be 0 to {spec.classes - 1}"
    good = np.setdiff1d(np.arange(len(labels)), list(bad))
    names = _named(split, bad)
    check_share(names, len(labels), f"{split!r} of {builder.info.full_name}", bad_share)
    examples = contents if images is None else images
    if bad:
        examples, labels = examples[good], labels[good]
    return Examples(examples, labels), names


def _gather(records):
    """Images and labels of a data set, each in one array."""
    images, labels = [], []
    batches = threads.without_autotuning(records.batch(1_000))
    for image_batch, label_batch in batches.as_numpy_iterator():
        images.append(image_batch)
        labels.append(label_batch)
    return np.concatenate(images), np.concatenate(labels)


def _check_files_exist(builder, split):
    for file in builder.info.splits[split].filepaths:
        if not tensorflow().io.gfile.exists(os.fspath(file)):
            raise FileNotFoundError(
                f"The split {split!r} of {builder.info.full_name} must have the file "
                f"{file}. Copy or download it again."
            )


def _unreadable(builder, split, error):
    return ValueError(
        f"The split {split!r} in {builder.data_path} can't be read "
        f"({plain_message(error)}). "
        f"{_name_corrupt_file(builder, split.split('[')[0])} Copy or download it again."
    )


def _name_corrupt_file(builder, split) -> str:
    """Says which TFRecord file is damaged, or which ones could be."""
    tf = tensorflow()
    files = [str(file) for file in builder.info.splits[split].filepaths]
    for file in files:
        try:
            records = tf.data.TFRecordDataset(file).batch(1_000)
            for _ in threads.without_autotuning(records):
                pass
        except tf.errors.OpError:
            return f"The file {file} is corrupt."
    return f"Its files: {', '.join(files)}."
