"""Finds and names examples that can't be trained on; a small share may be left out."""

from __future__ import annotations

import contextlib
import hashlib
import os
import pathlib
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from keras_resnet.config.image_formats import NAMES
from keras_resnet.data import threads
from keras_resnet.data.large_images import one_at_a_time
from keras_resnet.devices.host import Dataset, Tensor, plain_message, say, tensorflow
from keras_resnet.files import keras_home, read_json, write_json

BAD_SHARE = 0.01  # Of a split's examples, up to which bad ones are left out.
UNREADABLE = "can't be read"  # Begins the reason of a file that isn't there to decode.
# Of the rules by which images are good: raise it when `decode` takes others.
RULES = 2
# Images, up to which one after the other is faster than a pipeline if they are photographs
# on a local disk.
FEW = 32
ANNOUNCED = 100_000  # Examples from which on looking through them takes minutes.


def decode_all(
    contents: Sequence[bytes] | np.ndarray,
    channels: int,
    *,
    keep: bool,
    load: Callable[[Tensor], Tensor] = lambda image: image,
) -> tuple[np.ndarray | None, dict[int, str]]:
    """Decodes images, and finds those that can't be decoded.

    Args:
        contents: Bytes of image files, or what ``load`` makes them from.
        channels: 1 or 3.
        keep: Whether the images, which then must be of one size, are returned.
        load: A function from an element, a string tensor, to the bytes of the file.

    Returns:
        uint8 array ``(n, height, width, channels)`` with black in place of the bad
        ones, or `None`; and a dictionary from the positions of the bad to the reason.
    """
    tf = tensorflow()
    from keras_resnet.data.decoding import decode

    def look(contents):
        image = decode(contents, channels)
        return image if keep else tf.shape(image)

    if len(contents) <= FEW:
        found = _one_by_one(contents, lambda element: look(load(element)))
    else:
        in_turn = one_at_a_time(look)
        found = those_that_work(
            tf.data.Dataset.from_tensor_slices(contents),
            lambda index, element: (index, in_turn(load(element))),
        )
    images, bad = None, dict.fromkeys(range(len(contents)))
    for indices, batch in found:
        for index in indices.tolist():
            del bad[index]
        if keep:
            if images is None:
                images = np.zeros((len(contents), *batch.shape[1:]), np.uint8)
            images[indices] = batch
    for index in bad:
        element = tf.constant(contents[index])
        bad[index] = reason_of(lambda element=element: load(element), channels)
    return images, bad


def _one_by_one(elements, function):
    """As `those_that_work`, without a pipeline, which takes half a second to begin."""
    tf = tensorflow()
    for index, element in enumerate(elements):
        with contextlib.suppress(tf.errors.OpError):
            yield np.array([index]), function(tf.constant(element)).numpy()[None]


def bad_records(
    records: Dataset, count: int, channels: int, classes: int
) -> dict[int, str]:
    """Finds the records of a streamed split that can't be trained on.

    Args:
        records: `tf.data.Dataset` of (encoded image, label) that ends, whatever can't be
            read of it.
        count: How many there must be.
        channels: 1 or 3.
        classes: Number of classes.

    Returns:
        A dictionary from the positions of the bad to the reason.

    Raises:
        tf.errors.OpError: If a file is damaged or lacks records.
    """
    tf = tensorflow()
    from keras_resnet.data.decoding import decode

    @one_at_a_time
    def shape_of(contents):
        return tf.shape(decode(contents, channels))

    def looked_at(index, record):
        image, label = record
        return index, label, shape_of(image)

    good = np.zeros(count, bool)
    for indices, labels, _ in those_that_work(records, looked_at):
        good[indices] = (labels >= 0) & (labels < classes)
    positions = np.flatnonzero(~good)
    if not len(positions):
        return {}
    # What is wrong with the files themselves is an error here.
    whole = records.apply(tf.data.experimental.assert_cardinality(count))
    suspects = threads.without_autotuning(
        whole.enumerate().filter(
            lambda index, record: tf.reduce_any(index == positions)
        )
    )
    return {
        int(index): f"label {label}, must be 0 to {classes - 1}"
        if not 0 <= label < classes
        else reason_of(lambda image=image: image, channels)
        for index, (image, label) in suspects.as_numpy_iterator()
    }


def those_that_work(elements: Dataset, function: Callable[..., Any]) -> Any:
    """Iterates over batches of what ``function(index, element)`` gives where it can.

    Args:
        elements: `tf.data.Dataset`.
        function: In TensorFlow operations; what it raises an error for is left out.
    """
    results = elements.enumerate().map(
        function, num_parallel_calls=threads.images_at_a_time()
    )
    batches = results.ignore_errors().batch(1_000)
    return threads.without_autotuning(batches).as_numpy_iterator()


def reason_of(load: Callable[[], Tensor], channels: int) -> str:
    """Says why an image can't be decoded.

    Args:
        load: Function without arguments to the bytes of the file.
        channels: 1 or 3.
    """
    tf = tensorflow()
    from keras_resnet.data.decoding import decode

    try:
        contents = load()
    except tf.errors.OpError as error:
        return f"{UNREADABLE} ({plain_message(error).splitlines()[0]})"
    try:
        decode(contents, channels)
    except tf.errors.OpError as error:
        return plain_message(error).splitlines()[0]
    return "decoded at the second try only"


def without(records: Dataset, positions: Sequence[int]) -> Dataset:
    """Leaves the elements of a data set at some positions out."""
    tf = tensorflow()
    if not positions:
        return records
    left = records.enumerate().filter(
        lambda index, record: tf.reduce_all(
            index != tf.constant(positions, index.dtype)
        )
    )
    return left.map(lambda index, record: record)


def check_share(names: Sequence[str], count: int, what: str, bad_share: float) -> None:
    """Raises `ValueError` if too many examples of a split are bad, and names them."""
    if len(names) > bad_share * count:
        shown = "; ".join(names[:10]) + ("; ..." if len(names) > 10 else "")
        raise ValueError(
            f"Every image must be a {NAMES} file that can be decoded, and "
            f"every label a class; at most {bad_share:.1%} of a split may be left out. "
            f"Received: {what}, where {len(names)} of {count} are bad: {shown}. Repair "
            "or remove them."
        )


def state_of(paths: Iterable[str]) -> str:
    """The names, sizes and times of files: a key under which to keep what they hold."""
    stats = ((path, pathlib.Path(path).stat()) for path in paths)
    # The time of the status, too: rights may change, or a file of the same time come.
    return "\n".join(
        f"{path} {stat.st_size} {stat.st_mtime_ns} {stat.st_ctime_ns}"
        for path, stat in stats
    )


def remembered(
    key: str,
    look: Callable[[], dict[int, str]],
    *,
    count: int,
    what: str,
    seek: str = "damaged images",
) -> dict[int, str]:
    """Gives what ``look()`` found before under the same key, or calls it now.

    Looking through ImageNet takes minutes, so what was found is kept beside Keras's
    own files (``~/.keras``, or ``KERAS_HOME``).

    Args:
        key: Text that tells the data and its version from all others.
        look: Function without arguments, to a dictionary from positions to reasons.
        count: Number of examples that it looks through.
        what: Their name, for the user.
        seek: What is looked for, for the user.

    Returns:
        The dictionary.
    """
    digest = hashlib.sha256(os.fsencode(f"{RULES} {key}")).hexdigest()
    path = keras_home() / "keras_resnet" / "bad_examples" / f"{digest}.json"
    try:
        return {int(index): reason for index, reason in read_json(path).items()}
    except (OSError, ValueError):  # Not looked for yet, or the disk lost it.
        pass
    if count >= ANNOUNCED:
        say(f"Looking once for {seek} among the {count:,} of {what} ...")
    started = time.perf_counter()
    found = look()
    if count >= ANNOUNCED:
        say(f"... {len(found)} in {time.perf_counter() - started:.0f} s.")
    if any(reason.startswith(UNREADABLE) for reason in found.values()):
        return found  # Next time they may be readable.
    try:
        write_json(path, found)
    except OSError as error:
        say(
            f"It will be looked for again: {path} can't be written ({error}). KERAS_HOME "
            "can name another folder."
        )
    return found
