"""Decodes BMP, GIF, WebP and 16-bit PNG files: what TensorFlow leaves to its caller."""

from __future__ import annotations

from keras_resnet.config.image_formats import (
    ANIMATED_WEBP,
    GIF,
    PNG,
    PNG_DEPTH_AT,
    WEBP,
    WEBP_ANIMATES,
)
from keras_resnet.devices.host import Tensor, tensorflow, traced_once

# Red, green and blue of a BMP's 32 bits, as TensorFlow's decoder takes them.
MASKS = (0x00FF0000, 0x0000FF00, 0x000000FF)
UNCOMPRESSED, BY_MASKS = 0, 3


@traced_once
def decode_bmp(contents: Tensor) -> Tensor:
    """Decodes a BMP file of 8, 24 or 32 bits per pixel that isn't compressed.

    TensorFlow's decoder leaves palettes and alpha to its caller, doesn't look at
    compression, and takes the older header of OS/2 for another.

    Args:
        contents: Scalar string tensor, the bytes of the file.

    Returns:
        uint8 tensor ``(height, width, 3)``.

    Raises:
        tf.errors.InvalidArgumentError: If it is another BMP, or damaged.
    """
    tf = tensorflow()
    # Zeros follow, so that a header that is cut off can be read.
    header = tf.strings.join([tf.strings.substr(contents, 0, 66), b"\0" * 66])

    def number(offset):
        four_bytes = tf.strings.substr(header, offset, 4)
        return tf.io.decode_raw(four_bytes, tf.int32, little_endian=True)[0]

    length, bits, compression = number(14), number(28) % 2**16, number(30)
    masks = tf.reduce_all(tf.stack([number(54), number(58), number(62)]) == MASKS)
    plain = (bits == 8) | (bits == 24) | (bits == 32)
    plain &= compression == UNCOMPRESSED
    plain |= (compression == BY_MASKS) & (bits == 32) & masks

    def look_up():
        start = 14 + length  # After the file header and the image header.
        entries = tf.strings.substr(contents, start, number(10) - start)
        palette = tf.reshape(tf.io.decode_raw(entries, tf.uint8), (-1, 4))
        return tf.gather(palette[:, 2::-1], tf.cast(image[..., 0], tf.int32))

    checks = _require(
        (length >= 40) & plain,
        "A BMP must have 8, 24 or 32 bits per pixel, red, green and blue in the usual "
        "order, and no compression. Received: {} bits, compression {}, a header of {} "
        "bytes. Save the image as PNG.",
        (bits, compression, length),
    )
    with tf.control_dependencies(checks):
        image = tf.io.decode_bmp(tf.identity(contents))
    return tf.cond(tf.shape(image)[-1] == 1, look_up, lambda: image[..., :3])


def is_deep_png(contents: Tensor) -> Tensor:
    """Tells whether a file is a PNG of 16 bits per channel, in TensorFlow."""
    tf = tensorflow()
    # Zeros follow, so that a header that is cut off can be read.
    head = tf.strings.join([tf.strings.substr(contents, 0, 25), b"\0" * 25])
    is_png = tf.strings.substr(head, 0, len(PNG.magic)) == PNG.magic
    return is_png & (tf.strings.substr(head, PNG_DEPTH_AT, 1) == b"\x10")


def decode_deep_png(contents: Tensor, bit_depth: int) -> Tensor:
    """Decodes a PNG of 16 bits per channel.

    Args:
        contents: Scalar string tensor, the bytes of the file.
        bit_depth: How many bits the values take, from 8 to 16; larger ones become 255.

    Returns:
        uint8 tensor ``(height, width, 3)``, the upper 8 of these bits.

    Raises:
        tf.errors.InvalidArgumentError: If it is damaged.
    """
    tf = tensorflow()
    values = tf.cast(tf.io.decode_png(contents, 3, dtype=tf.uint16), tf.int32)
    return tf.cast(tf.minimum(values // 2 ** (bit_depth - 8), 255), tf.uint8)


@traced_once
def decode_png_gif_or_webp(contents: Tensor) -> Tensor:
    """Decodes a PNG, GIF or WebP file; of an animated GIF, the first frame.

    Args:
        contents: Scalar string tensor, the bytes of the file.

    Returns:
        uint8 tensor ``(height, width, 3)``.

    Raises:
        tf.errors.InvalidArgumentError: If it is none of these, is damaged, an animated
            WebP, or a GIF whose frames don't fill the picture.
    """
    tf = tensorflow()
    # Zeros follow, so that a header that is cut off can be read.
    head = tf.strings.join([tf.strings.substr(contents, 0, 12), b"\0" * 12])
    is_gif = tf.strings.substr(head, 0, 4) == GIF.magic
    is_webp = tf.strings.substr(head, 0, 4) == WEBP.magic
    is_webp &= tf.strings.substr(head, 8, 4) == b"WEBP"
    return tf.case(
        [
            (is_gif, lambda: _decode_gif(contents, head)),
            (is_webp, lambda: _decode_webp(contents)),
        ],
        default=lambda: tf.io.decode_image(contents, 3, expand_animations=False),
    )


def _decode_gif(contents, head):
    """TensorFlow gives a picture as large as the largest frame, wherever that lies."""
    tf = tensorflow()
    image = tf.io.decode_image(contents, 3, expand_animations=False)
    sides = tf.io.decode_raw(tf.strings.substr(head, 6, 4), tf.uint16)
    picture, found = tf.cast(sides[::-1], tf.int32), tf.shape(image)[:2]
    checks = _require(
        tf.reduce_all(found >= picture),
        "The frames of a GIF must fill its picture. Received: a picture of height and "
        "width {}, and frames of at most {}. Save the image as PNG.",
        (picture, found),
    )
    with tf.control_dependencies(checks):
        return tf.identity(image)


def _decode_webp(contents):
    """In the file's own channels: TensorFlow gives no others. It drops no alpha, either."""
    tf = tensorflow()
    header = tf.strings.join([tf.strings.substr(contents, 12, 9), b"\0" * 9])
    flags = tf.io.decode_raw(tf.strings.substr(header, 8, 1), tf.uint8)[0]
    extended = tf.strings.substr(header, 0, 4) == b"VP8X"
    # TensorFlow 2.21 writes beyond its memory when it decodes one without alpha.
    checks = _require(
        ~(extended & (tf.bitwise.bitwise_and(flags, WEBP_ANIMATES) != 0)),
        ANIMATED_WEBP,
        (),
    )
    with tf.control_dependencies(checks):
        image = tf.io.decode_image(tf.identity(contents), 0, expand_animations=False)
    return image[..., :3]


def _require(condition, message, values):
    """What must hold before the rest is computed: an error at once, or in the graph."""
    tf = tensorflow()
    text = tf.strings.format(message, values) if values else tf.constant(message)
    if not tf.executing_eagerly():
        return [tf.debugging.Assert(condition, [text])]
    if not condition:
        raise tf.errors.InvalidArgumentError(None, None, text.numpy().decode())
    return []
