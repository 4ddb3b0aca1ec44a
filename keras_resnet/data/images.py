"""Deterministic preprocessing of images, in TensorFlow.

Every function works on eager tensors, in `tf.data`, and in a `tf.function` that is
exported, with heights and widths that are unknown when it is traced.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from keras_resnet.config.preprocessing import Preprocessing
from keras_resnet.data.decoding import decode
from keras_resnet.data.examples import Examples, StreamedExamples
from keras_resnet.devices.host import Tensor, tensorflow

KERNELS = {"bilinear": "triangle", "bicubic": "keyscubic"}  # TensorFlow's names.


def resize_and_crop(images: Tensor, preprocessing: Preprocessing) -> Tensor:
    """Resizes and crops images as a `Preprocessing` says.

    With ``preprocessing.resize``, the shorter side gets that length (the longer one is
    rounded down, as in torchvision) and the centre is cut out, its corner rounded as
    ``preprocessing.crop_rounding`` says; else the whole image is resized to
    ``preprocessing.size``, whatever its aspect.

    Args:
        images: uint8 tensor ``(height, width, channels)``, or a batch of them.
        preprocessing: A `Preprocessing`.

    Returns:
        uint8 tensor of ``preprocessing.size``, otherwise shaped like ``images``.
    """
    tf = tensorflow()
    size = preprocessing.size
    if preprocessing.resize is None:
        if tuple(images.shape[-3:-1]) == tuple(size):
            return images
        resized, corner = tf.constant(size), (0, 0)
    else:
        resized = scaled_size(images, preprocessing.resize)
        corner = centre(resized - size, preprocessing.crop_rounding)
    pixels = resize_then_crop(
        images, resized, corner, size, interpolation=preprocessing.interpolation
    )
    return to_uint8(pixels)


def to_uint8(pixels: Tensor) -> Tensor:
    """Rounds pixels, and clips what bicubic resizing makes of edges, to 0 ... 255."""
    tf = tensorflow()
    return tf.cast(tf.clip_by_value(tf.round(pixels), 0, 255), tf.uint8)


def centre(left_over: Tensor, rounding: str) -> Tensor:
    """Computes where the central crop begins.

    Args:
        left_over: Height and width beyond the crop, int32 ``(2,)``.
        rounding: How half of an odd number is rounded: see `Preprocessing`.

    Returns:
        Top and left, int32 ``(2,)``.
    """
    tf = tensorflow()
    # TensorFlow rounds half to even, as Python does.
    rounded = {"floor": tf.floor, "round": tf.round, "ceil": tf.math.ceil}[rounding]
    return tf.cast(rounded(left_over / 2), tf.int32)


def scaled_size(images: Tensor, shorter_side: int | Tensor) -> Tensor:
    """Computes height and width, int32 ``(2,)``, for a given length of the shorter side."""
    tf = tensorflow()
    size = tf.shape(images)[-3:-1]
    return size * shorter_side // tf.reduce_min(size)


def resize_then_crop(
    images: Tensor,
    resized: Tensor,
    corner: Tensor,
    size: Sequence[int | Tensor],
    *,
    interpolation: str = "bilinear",
) -> Tensor:
    """Cuts a window out of resized images (antialiased).

    Equal to `tf.image.resize` followed by slicing, but only the pixels of the window
    are computed.

    Args:
        images: Tensor ``(height, width, channels)``, or a batch of them.
        resized: Height and width of the whole image after resizing, int32 ``(2,)``.
        corner: Top and left of the window in the resized image, int32 ``(2,)``.
        size: Height and width of the window.
        interpolation: ``"bilinear"`` or ``"bicubic"``.

    Returns:
        float32 tensor of ``size``, otherwise shaped like ``images``.
    """
    tf = tensorflow()
    is_batch = len(images.shape) == 4
    batch = images if is_batch else images[tf.newaxis]
    old_size = tf.cast(tf.shape(images)[-3:-1], tf.float32)
    batch = tf.raw_ops.ScaleAndTranslate(
        images=batch,
        size=tf.convert_to_tensor(size, tf.int32),
        scale=tf.cast(resized, tf.float32) / old_size,
        translation=-tf.cast(corner, tf.float32),
        kernel_type=KERNELS[interpolation],
        antialias=True,
    )
    return batch if is_batch else batch[0]


def resize_window(image: Tensor, size: Sequence[int | Tensor]) -> Tensor:
    """Resizes a whole image, for training: bilinear, or where it shrinks, by area.

    Where both sides grow, this is Pillow's bilinear resizing. Else it is the mean over
    the area of each new pixel: a seventh of the time of Pillow's antialiased filter, from
    which Inception crops of ImageNet's photographs differ by 0.9 grey levels in the mean
    (2.2 without either).

    Args:
        image: Tensor ``(height, width, channels)``.
        size: Height and width of the result: integers or integer tensors.

    Returns:
        float32 tensor ``(*size, channels)``.
    """
    tf = tensorflow()
    # The branches of a condition forget what is known of the shape.
    known = [side if isinstance(side, int) else None for side in size]
    images, size = image[tf.newaxis], tf.stack(size)
    # The one blurs nothing together, the other shows blocks where it enlarges.
    resized = tf.cond(
        tf.reduce_all(tf.shape(image)[:2] <= size),
        lambda: tf.image.resize(images, size),
        lambda: tf.raw_ops.ResizeArea(images=images, size=size),
    )
    return tf.ensure_shape(resized[0], (*known, image.shape[-1]))


def prepare(contents: Tensor, preprocessing: Preprocessing) -> Tensor:
    """Decodes an image file, turns it upright if wanted, resizes and crops it.

    Args:
        contents: Scalar string tensor, the bytes of the file.
        preprocessing: A `Preprocessing`.

    Returns:
        uint8 tensor ``(*preprocessing.size, preprocessing.channels)``.

    Raises:
        tf.errors.InvalidArgumentError: If the bytes are no image.
    """
    return resize_and_crop(decode_whole(contents, preprocessing), preprocessing)


def decode_whole(contents: Tensor, preprocessing: Preprocessing) -> Tensor:
    """Decodes an image file as `prepare` does, and leaves its size as it is.

    Args:
        contents: Scalar string tensor, the bytes of the file.
        preprocessing: A `Preprocessing`.

    Returns:
        uint8 tensor ``(height, width, preprocessing.channels)``.

    Raises:
        tf.errors.InvalidArgumentError: If the bytes are no image.
    """
    return decode(
        contents,
        preprocessing.channels,
        exif_orientation=preprocessing.exif_orientation,
        bit_depth=preprocessing.bit_depth,
    )


def normalize(images: Tensor, preprocessing: Preprocessing) -> Tensor:
    """Puts channels in order, subtracts the mean, divides by the standard deviation.

    Args:
        images: Tensor ``(..., height, width, channels)``, values from 0 to 255, RGB.
        preprocessing: A `Preprocessing`.

    Returns:
        float32 tensor of the same shape, in ``preprocessing.channel_order``.

    Raises:
        ValueError: If the images have another number of channels.
    """
    tf = tensorflow()
    images = tf.convert_to_tensor(images)
    # Broadcasting would make three channels of one without a word.
    if images.shape[-1] not in (None, preprocessing.channels):
        raise ValueError(
            f"Images must have `preprocessing.channels` channels. Received: images of "
            f"shape {images.shape}, preprocessing.channels={preprocessing.channels}. "
            "Change the preprocessing, or decode the images with as many channels."
        )
    if preprocessing.channel_order == "bgr":
        images = images[..., ::-1]
    mean = np.asarray(preprocessing.mean, np.float32)
    std = np.asarray(preprocessing.std, np.float32)
    # Broadcasting whole rows takes a quarter of the time of single pixels.
    width = images.shape[-2]
    if width is not None:
        mean = np.broadcast_to(mean, np.broadcast_shapes(mean.shape, (width, 1)))
        std = np.broadcast_to(std, (width, *std.shape))
    elif mean.ndim == 1:
        row = tf.stack([tf.shape(images)[-2], preprocessing.channels])
        mean, std = tf.broadcast_to(mean, row), tf.broadcast_to(std, row)
    return (tf.cast(images, tf.float32) - mean) / std


def per_pixel_mean(
    examples: Examples | StreamedExamples,
) -> tuple[tuple[tuple[float, ...], ...], ...]:
    """Computes the mean image of a training set; He et al. 2016a, sec. 4.2, subtract it.

    Args:
        examples: `Examples` that hold pixels.

    Returns:
        Nested tuple (height, width, channels) of values from 0 to 255, rounded to two
        decimals: fit for `Preprocessing.mean` and for a JSON file.

    Raises:
        ValueError: If the examples hold files.
    """
    if getattr(examples, "kind", "streamed") != "pixels":
        raise ValueError(
            "`examples` must hold pixels, images of one size. "
            f"Received: examples={examples!r}. Use a mean per channel."
        )
    mean = np.round(np.mean(examples.images, axis=0, dtype=np.float64), 2)
    return tuple(tuple(tuple(pixel) for pixel in row) for row in mean.tolist())
