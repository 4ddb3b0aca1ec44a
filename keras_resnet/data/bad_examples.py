"""Finds and names examples that can't be trained on; a small share may be left out."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Sequence

import numpy as np

from keras_resnet.config.image_formats import NAMES
from keras_resnet.data import threads
from keras_resnet.devices.host import Dataset, Tensor, plain_message, say, tensorflow
from keras_resnet.files import local_path, read_json, write_json

BAD_SHARE = 0.01  # Of a split's examples, up to which bad ones are left out.
UNREADABLE = "can't be read"  # Begins the reason of a file that isn't there to decode.
# Of the rules by which images are good: raise it when `decode` takes others.
RULES = 2
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

    def decoded(index, element):
        image = decode(load(element), channels)
        return index, image if keep else tf.shape(image)

    elements = tf.data.Dataset.from_tensor_slices(contents)
    images, bad = None, dict.fromkeys(range(len(contents)))
    for indices, batch in _those_that_work(elements, decoded):
        for index in indices.tolist():
            del bad[index]
        if keep:
            if images is None:
                images = np.zeros((len(contents), *batch.shape[1:]), np.uint8)
            images[indices] = batch
    for index in bad:
        element = tf.constant(contents[index])
        bad[index] = _reason(lambda element=element: load(element), channels)
    return images, bad


def bad_records(
    records: Dataset, count: int, channels: int, classes: int
) -> dict[int, str]:
    """Finds the records of a streamed split that can't be trained on.

    Args:
        records: `tf.data.Dataset` of (encoded image, label).
        count: How many there are.
        channels: 1 or 3.
        classes: Number of classes.

    Returns:
        A dictionary from the positions of the bad to the reason.
    """
    tf = tensorflow()
    from keras_resnet.data.decoding import decode

    def looked_at(index, record):
        image, label = record
        return index, label, tf.shape(decode(image, channels))

    good = np.zeros(count, bool)
    for indices, labels, _ in _those_that_work(records, looked_at):
        good[indices] = (labels >= 0) & (labels < classes)
    positions = np.flatnonzero(~good)
    if not len(positions):
        return {}
    suspects = threads.without_autotuning(
        records.enumerate().filter(
            lambda index, record: tf.reduce_any(index == positions)
        )
    )
    return {
        int(index): f"label {label}, must be 0 to {classes - 1}"
        if not 0 <= label < classes
        else _reason(lambda image=image: image, channels)
        for index, (image, label) in suspects.as_numpy_iterator()
    }


def _those_that_work(elements, function):
    """Batches of what ``function(index, element)`` gives where it raises nothing."""
    results = elements.enumerate().map(
        function, num_parallel_calls=threads.images_at_a_time()
    )
    batches = results.ignore_errors().batch(1_000)
    return threads.without_autotuning(batches).as_numpy_iterator()


def _reason(load, channels):
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


def remembered(
    key: str, look: Callable[[], dict[int, str]], *, count: int, what: str
) -> dict[int, str]:
    """Gives what ``look()`` found before under the same key, or calls it now.

    Looking through ImageNet takes minutes, so what was found is kept beside Keras's
    own files (``~/.keras``, or ``KERAS_HOME``).

    Args:
        key: Text that tells the data and its version from all others.
        look: Function without arguments, to a dictionary from positions to reasons.
        count: Number of examples that it looks through.
        what: Their name, for the user.

    Returns:
        The dictionary.
    """
    home = local_path(os.environ.get("KERAS_HOME") or "~/.keras", "$KERAS_HOME")
    digest = hashlib.sha256(os.fsencode(f"{RULES} {key}")).hexdigest()
    path = home / "keras_resnet" / "bad_examples" / f"{digest}.json"
    try:
        return {int(index): reason for index, reason in read_json(path).items()}
    except (OSError, ValueError):  # Not looked for yet, or the disk lost it.
        pass
    if count >= ANNOUNCED:
        say(f"Looking once for damaged images among the {count:,} of {what} ...")
    started = time.perf_counter()
    found = look()
    if count >= ANNOUNCED:
        say(f"... {len(found)} in {time.perf_counter() - started:.0f} s.")
    if any(reason.startswith(UNREADABLE) for reason in found.values()):
        return found  # Next time they may be readable.
    try:
        write_json(path, found)
    except OSError as error:
        say(f"It will be looked for again: {path} can't be written ({error}).")
    return found
