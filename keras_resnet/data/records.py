"""The records of a data set that TensorFlow Datasets prepared: in order, or any of them.

TFRecord files, and other forms that TFDS streams, are read from their beginning on;
ArrayRecord files also at any position.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np

from keras_resnet.data import threads
from keras_resnet.devices.host import Dataset, Tensor, plain_message, tensorflow

RANDOM_ACCESS = "array_record"  # The file format, in TFDS's words.
AT_A_TIME = 64  # Records of an ArrayRecord file: photographs of 110 kB take 7 MB.


def in_order(builder: Any, split: str, *, counted: bool = True) -> Dataset:
    """The records of a split, always in the same order.

    Args:
        builder: A `tfds.core.DatasetBuilder` whose files are complete.
        split: In TFDS's words, such as ``"train[:100]"``.
        counted: Whether missing records are an error at the end. It comes again each time
            that the next record is asked for, so ``ignore_errors`` would never end.

    Returns:
        `tf.data.Dataset` of (encoded image, label), scalars of types string and int64.
    """
    import tensorflow_datasets as tfds

    at = indexed(builder, split)
    if at is not None:
        tf = tensorflow()
        positions = tf.data.Dataset.range(builder.info.splits[split].num_examples)
        return read_at(positions.batch(AT_A_TIME), at)
    records = builder.as_dataset(
        split=split,
        shuffle_files=False,
        # Copies exist whose records hold JPEG where features.json says PNG.
        decoders={"image": tfds.decode.SkipDecoding()},
        read_config=tfds.ReadConfig(try_autocache=False, assert_cardinality=counted),
    )
    return records.map(lambda record: (record["image"], record["label"]))


def read_at(positions: Dataset, at: Callable[[Tensor], tuple[Tensor, Tensor]]) -> Any:
    """The records at some positions, one by one.

    Args:
        positions: `tf.data.Dataset` of int64 vectors.
        at: As of `indexed`.

    Returns:
        `tf.data.Dataset` of (encoded image, label).
    """
    return positions.map(at, num_parallel_calls=threads.images_at_a_time()).unbatch()


def indexed(
    builder: Any, split: str
) -> Callable[[Tensor], tuple[Tensor, Tensor]] | None:
    """A function that reads a split's records at any positions.

    Args:
        builder: A `tfds.core.DatasetBuilder` whose files are complete.
        split: In TFDS's words.

    Returns:
        A function, for graphs of this process, from positions, int64 ``(n,)``, to encoded
        images, string ``(n,)``, and labels, int64 ``(n,)``; `None` where the files have
        no random access.
    """
    if not has_random_access(builder):
        return None
    import tensorflow_datasets as tfds

    tf = tensorflow()
    raw = tfds.decode.DeserializeMethod.RAW_BYTES
    source = builder.as_data_source(split, deserialize_method=raw)
    features = {
        "image": tf.io.FixedLenFeature([], tf.string),
        "label": tf.io.FixedLenFeature([], tf.int64),
    }

    def read(positions):
        return np.array(source.__getitems__(positions.tolist()), dtype=object)

    def at(positions):
        contents = tf.numpy_function(read, [positions], tf.string, stateful=False)
        found = tf.io.parse_example(tf.ensure_shape(contents, [None]), features)
        return found["image"], found["label"]

    return at


def has_random_access(builder: Any) -> bool:
    """Tells whether a data set's files can be read at any position."""
    file_format = builder.info.file_format
    return getattr(file_format, "value", file_format) == RANDOM_ACCESS


def check_files(builder: Any, split: str) -> None:
    """Checks that a split's files are there.

    Raises:
        FileNotFoundError: If one is missing.
    """
    for file in builder.info.splits[split].filepaths:
        if not tensorflow().io.gfile.exists(os.fspath(file)):
            raise FileNotFoundError(
                f"The split {split!r} of {builder.info.full_name} must have the file "
                f"{file}. Copy or download it again."
            )


def unreadable(builder: Any, split: str, error: Exception) -> ValueError:
    """The error of a split that can't be read, which names the damaged file."""
    return ValueError(
        f"The split {split!r} in {builder.data_path} can't be read "
        f"({plain_message(error)}). "
        f"{_name_corrupt_file(builder, split.split('[')[0])} Copy or download it again."
    )


def _name_corrupt_file(builder, split) -> str:
    """Says which file is damaged, or which ones could be."""
    files = [str(file) for file in builder.info.splits[split].filepaths]
    reads = _reads_array_record if has_random_access(builder) else _reads_tfrecord
    for file in files:
        if not reads(file):
            return f"The file {file} is corrupt."
    return f"Its files: {', '.join(files)}."


def _reads_tfrecord(file):
    tf = tensorflow()
    try:
        records = tf.data.TFRecordDataset(file).batch(1_000)
        for _ in threads.without_autotuning(records):
            pass
    except tf.errors.OpError:
        return False
    return True


def _reads_array_record(file):
    from array_record.python.array_record_data_source import ArrayRecordDataSource

    try:
        with ArrayRecordDataSource(file) as records:
            for start in range(0, len(records), 1_000):
                end = min(start + 1_000, len(records))
                records.__getitems__(range(start, end))
    except Exception:  # Its C++ raises several kinds.
        return False
    return True
