"""Decodes image files, whole or in part, in TensorFlow."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from keras_resnet.data.orientation import (
    orientation_of,
    stored_window,
    turn_upright,
    upright_size,
)
from keras_resnet.data.other_formats import (
    decode_bmp,
    decode_deep_png,
    decode_png_gif_or_webp,
    is_deep_png,
)
from keras_resnet.devices.host import Tensor, tensorflow


def decode(
    contents: Tensor,
    channels: int,
    *,
    exif_orientation: bool = False,
    bit_depth: int = 16,
) -> Tensor:
    """Decodes a JPEG, PNG, BMP, GIF or WebP file; of an animated GIF, the first frame.

    Transparency is dropped, and of 16-bit images the upper 8 bits are kept.

    Args:
        contents: Scalar string tensor, the bytes of the file.
        channels: 1 for greyscale (luma of ITU-R BT.601, as Pillow computes it), 3
            for RGB.
        exif_orientation: Whether to turn the image as the file's EXIF orientation says.
        bit_depth: How many bits the values of a 16-bit image take, from 8 to 16, of which
            the upper 8 are kept. Larger values become white.

    Returns:
        uint8 tensor ``(height, width, channels)``.

    Raises:
        tf.errors.InvalidArgumentError: If the bytes are no such image, or one that
            `other_formats` refuses.
    """
    tf = tensorflow()

    def jpeg():
        # By default, the fast transform is up to 14 grey levels off Pillow's.
        return tf.io.decode_jpeg(contents, 3, dct_method="INTEGER_ACCURATE")

    # Greyscale is not asked of the decoders: each format's rounds in its own way.
    formats = [
        (_is_jpeg(contents), jpeg),
        (tf.strings.substr(contents, 0, 2) == b"BM", lambda: decode_bmp(contents)),
    ]
    if bit_depth < 16:
        deep = (is_deep_png(contents), lambda: decode_deep_png(contents, bit_depth))
        formats.append(deep)
    image = tf.case(formats, default=lambda: decode_png_gif_or_webp(contents))
    if exif_orientation:
        image = turn_upright(image, orientation_of(contents))
    image = tf.ensure_shape(image, (None, None, 3))
    return image if channels == 3 else _luma(image)


def decode_window(
    contents: Tensor,
    choose: Callable[[Tensor], Tensor],
    channels: int,
    size: Sequence[int | Tensor] = (1 << 16, 1 << 16),
    *,
    exif_orientation: bool = False,
    bit_depth: int = 16,
) -> Tensor:
    """Decodes a part of an image file; of a JPEG, hardly more than that.

    For training: JPEG by libjpeg's fast integer transform, its colours enlarged by
    repetition. Of ImageNet's photographs, resized to 224x224, that moves the values by
    1.0 grey level in the mean against `decode` (99 % of them by less than 4).

    Args:
        contents: Scalar string tensor, the bytes of the file.
        choose: A function from height and width, int32 ``(2,)``, to the window: top,
            left, height and width, int32 ``(4,)``.
        channels: 1 for greyscale, 3 for RGB.
        size: Height and width that the window will be resized to. Of a JPEG with twice,
            four or eight times as many pixels along both sides, libjpeg decodes a half,
            a fourth or an eighth of them, each the mean of those it stands for.
        exif_orientation: Whether to turn the image as the file's EXIF orientation says;
            ``choose`` and ``size`` then are of the image once it is turned.
        bit_depth: As of `decode`.

    Returns:
        uint8 tensor ``(height, width, channels)`` of the window, or as many times fewer.

    Raises:
        tf.errors.InvalidArgumentError: If the bytes are no such image.
    """
    tf = tensorflow()
    orientation = orientation_of(contents) if exif_orientation else None

    def chosen(stored_size):
        if orientation is None:
            return tf.convert_to_tensor(choose(stored_size))
        whole = upright_size(stored_size, orientation)
        return stored_window(tf.convert_to_tensor(choose(whole)), whole, orientation)

    def jpeg():
        window = chosen(tf.io.extract_jpeg_shape(contents)[:2])
        wanted = tf.stack(size)
        if orientation is not None:
            wanted = upright_size(wanted, orientation)
        return _decode_part(contents, window, wanted)

    def other():
        image = decode(contents, 3, bit_depth=bit_depth)
        top, left, height, width = tf.unstack(chosen(tf.shape(image)[:2]))
        return image[top : top + height, left : left + width]

    image = tf.cond(_is_jpeg(contents), jpeg, other)
    if orientation is not None:
        image = turn_upright(image, orientation)
    image = tf.ensure_shape(image, (None, None, 3))
    return image if channels == 3 else _luma(image)


def _decode_part(contents, window, size):
    """A window of a JPEG, shrunken by halves as far as it still has ``size``."""
    tf = tensorflow()

    def shrunken(ratio):
        return tf.io.decode_and_crop_jpeg(
            contents,
            window // ratio,
            channels=3,
            ratio=ratio,
            fancy_upscaling=False,
            dct_method="INTEGER_FAST",
        )

    times = tf.reduce_min(window[2:] // size)
    halvings = tf.reduce_sum(tf.cast(times >= [2, 4, 8], tf.int32))
    return tf.switch_case(halvings, [partial(shrunken, n) for n in (1, 2, 4, 8)])


def _is_jpeg(contents):
    tf = tensorflow()
    return tf.strings.substr(contents, 0, 3) == b"\xff\xd8\xff"


def _luma(image):
    """RGB to greyscale by the integer formula of Pillow's ``convert("L")``."""
    tf = tensorflow()
    weights = tf.constant((19595, 38470, 7471))  # 0.299, 0.587, 0.114, times 2**16.
    total = tf.reduce_sum(tf.cast(image, tf.int32) * weights, axis=-1, keepdims=True)
    return tf.cast((total + 2**15) // 2**16, tf.uint8)
