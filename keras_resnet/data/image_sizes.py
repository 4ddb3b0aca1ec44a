"""Reads the sizes of image files, and finds those that can't be decoded."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import NamedTuple

from keras_resnet.data.bad_examples import (
    reason_of,
    remembered,
    state_of,
    those_that_work,
)
from keras_resnet.data.image_files import why_no_image
from keras_resnet.data.large_images import one_at_a_time
from keras_resnet.data.listing import MANY
from keras_resnet.devices.host import Dataset, tensorflow


class Seen(NamedTuple):
    """What an image file turned out to be.

    Attributes:
        size: Height and width in pixels, as it is stored.
        orientation: EXIF's, from 1 to 8.
    """

    size: tuple[int, int]
    orientation: int

    @property
    def upright(self) -> tuple[int, int]:
        """Height and width once it is turned as its EXIF orientation says."""
        return self.size[::-1] if self.orientation >= 5 else self.size


def of_files(paths: Sequence[str], what: str) -> dict[int, Seen | str]:
    """Decodes image files once, and says how large each is.

    Of 10,000 files and more, what was found is kept for as long as none is changed.

    Args:
        paths: Of the files.
        what: Their name, for people.

    Returns:
        For each file's position what it is, or why it can't be decoded.
    """
    tf = tensorflow()

    def look():
        found = {index: why_no_image(path) for index, path in enumerate(paths)}
        left = [index for index, reason in found.items() if reason is None]
        files = tf.data.Dataset.from_tensor_slices(
            [os.fsencode(paths[index]) for index in left] or [b""]
        )
        seen = of_images(files.map(tf.io.read_file)) if left else {}
        for place, index in enumerate(left):
            if place in seen:
                found[index] = _as_text(seen[place])
            else:
                file = os.fsencode(paths[index])
                found[index] = reason_of(lambda file=file: tf.io.read_file(file), 3)
        return found

    if len(paths) < MANY:
        return _from_texts(look())
    return _remembered(f"sizes\n{state_of(paths)}", look, len(paths), what)


def of_records(
    images: Dataset, count: int, key: str, what: str
) -> dict[int, Seen | str]:
    """As `of_files`, of encoded images that are read from a data set of `tf.data`.

    Args:
        images: `tf.data.Dataset` of encoded images, strings.
        count: How many there are.
        key: Text that tells the data and its version from all others.
        what: Their name, for people.
    """

    def look():
        seen = of_images(images)
        return {
            index: _as_text(seen[index]) if index in seen else "it can't be decoded"
            for index in range(count)
        }

    if count < MANY:
        return _from_texts(look())
    return _remembered(f"sizes\n{key}", look, count, what)


def _remembered(key, look, count, what):
    seek = "damaged images and sizes"
    return _from_texts(remembered(key, look, count=count, what=what, seek=seek))


def of_images(images: Dataset) -> dict[int, Seen]:
    """Decodes images once, and says how large each is.

    Args:
        images: `tf.data.Dataset` of encoded images, strings.

    Returns:
        For each one's position what it is; those that can't be decoded are missing.
    """
    tf = tensorflow()
    from keras_resnet.data.decoding import decode
    from keras_resnet.data.orientation import orientation_of

    @one_at_a_time
    def look(contents):
        size = tf.shape(decode(contents, 3))[:2]
        return tf.concat([size, orientation_of(contents)[tf.newaxis]], axis=0)

    found = {}
    results = those_that_work(images, lambda index, image: (index, look(image)))
    for indices, rows in results:
        for index, (height, width, orientation) in zip(
            indices.tolist(), rows.tolist(), strict=True
        ):
            found[index] = Seen((height, width), orientation)
    return found


def _as_text(seen):
    """As `remembered` keeps it: three numbers, which no reason is."""
    return "{} {} {}".format(*seen.size, seen.orientation)


def _from_texts(texts):
    return {index: _from_text(text) for index, text in texts.items()}


def _from_text(text):
    parts = text.split()
    if len(parts) == 3 and all(part.isdecimal() for part in parts):
        height, width, orientation = map(int, parts)
        return Seen((height, width), orientation)
    return text
