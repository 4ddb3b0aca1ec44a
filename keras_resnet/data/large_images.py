"""Decodes large images one after the other, so that memory bounds what is decoded at once.

`tf.data` decodes as many images at a time as there are cores. Of photographs these take
little; of scans and satellite images of 12,000 pixels a side each takes 432 MB.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from keras_resnet.config.image_formats import BMP, GIF, JPEG, PNG
from keras_resnet.devices import limits
from keras_resnet.devices.host import Tensor, tensorflow, traced_once

# What the images that are decoded at a time may take together, of the memory there is,
# but for one that is larger than the share of a core. To turn an image upright, or to
# decode a progressive JPEG, takes up to three times as much for a moment.
SHARE = 1 / 4
_MUTEX = "keras_resnet_large_images"  # One for all pipelines of a process.


def one_at_a_time(function: Callable[..., Any]) -> Callable[..., Any]:
    """Has a function that `tf.data` maps over images take large ones in turn.

    Args:
        function: Function in TensorFlow operations. Its first argument is a scalar string
            tensor, the bytes of an image file, or an image's pixels, which are never
            waited for. It returns tensors.

    Returns:
        The function, which waits while another call of such a function has an image
        larger than a core's part of `SHARE`, if its own is that large, too.
    """
    tf = tensorflow()
    most = SHARE * (limits.memory() or math.inf) / limits.cores()
    with tf.device("CPU:0"):
        mutex = tf.raw_ops.MutexV2(shared_name=_MUTEX)

    def in_turn(contents, *others):
        if contents.dtype != tf.string:
            return function(contents, *others)
        is_large = 3.0 * tf.cast(pixels_of(contents), tf.float32) > most
        lock = tf.cond(
            is_large,
            lambda: tf.raw_ops.MutexLock(mutex=mutex),
            lambda: tf.raw_ops.EmptyTensorMap(),  # Any other variant.
        )
        with tf.control_dependencies([lock]):
            results = function(tf.identity(contents), *others)

        def unlocked():
            with tf.control_dependencies(
                [tf.raw_ops.ConsumeMutexLock(mutex_lock=lock)]
            ):
                return tf.constant(True)

        # A call that fails frees the lock as well, and leaves the turn to another.
        with tf.control_dependencies(tf.nest.flatten(results)):
            tf.cond(is_large, unlocked, lambda: tf.constant(True))
        return results

    return in_turn


def pixels_of(contents: Tensor) -> Tensor:
    """Reads from the header of an image file how many pixels it will be decoded to.

    Args:
        contents: Scalar string tensor, the bytes of the file.

    Returns:
        int64 scalar, those of all frames of a GIF; any number where the header is damaged.
    """
    tf = tensorflow()
    return tf.cond(
        tf.strings.substr(contents, 0, 3) == JPEG.magic,
        lambda: _area(tf.io.extract_jpeg_shape(contents)[:2]),
        lambda: _of_other_formats(contents),
    )


@traced_once
def _of_other_formats(contents):
    """The pixels of any file but a JPEG."""
    tf = tensorflow()
    # Zeros follow, so that a header that is cut off can be read.
    header = tf.strings.join([tf.strings.substr(contents, 0, 30), b"\0" * 30])
    values = tf.cast(tf.io.decode_raw(header, tf.uint8), tf.int64)

    def number(start, count):
        return sum(values[start + n] * 256**n for n in range(count))

    def sides(start, *, little_endian):
        two = tf.strings.substr(header, start, 8)
        return tf.io.decode_raw(two, tf.int32, little_endian=little_endian)

    def begins(format):
        return tf.strings.substr(header, 0, len(format.magic)) == format.magic

    def gif():
        # Before each frame of an animation comes a graphic control extension.
        frames = tf.size(tf.strings.split(contents, b"\x21\xf9\x04")) - 1
        return number(6, 2) * number(8, 2) * tf.cast(tf.maximum(frames, 1), tf.int64)

    return tf.case(
        [
            (begins(PNG), lambda: _area(sides(16, little_endian=False))),
            (begins(BMP), lambda: _area(sides(18, little_endian=True))),
            (begins(GIF), gif),
        ],
        default=lambda: _of_webp(header, number),
    )


def _area(sides):
    """The product of two int32 sides, of which a BMP's may be negative."""
    tf = tensorflow()
    return tf.reduce_prod(tf.abs(tf.cast(sides, tf.int64)))


def _of_webp(header, number):
    """The pixels of a WebP, in whichever of its three forms (RFC 9649)."""
    tf = tensorflow()
    kind = tf.strings.substr(header, 12, 4)
    extended = (1 + number(24, 3)) * (1 + number(27, 3))
    bits = number(21, 4)
    lossless = (1 + bits % 2**14) * (1 + bits // 2**14 % 2**14)
    lossy = (number(26, 2) % 2**14) * (number(28, 2) % 2**14)
    rest = tf.where(kind == b"VP8L", lossless, lossy)
    return tf.where(kind == b"VP8X", extended, rest)
