"""What `Run.predict` takes: paths, bytes, Pillow images and arrays, one or many."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from keras_resnet.config.preprocessing import Preprocessing
from keras_resnet.data.image_files import decoded, read_image
from keras_resnet.data.images import resize_and_crop
from keras_resnet.pixels import as_array, as_uint8


def each_prepared(images: Any, preprocessing: Preprocessing) -> Iterator[np.ndarray]:
    """Prepares images as a network takes them, one after the other, as they are asked for.

    Args:
        images: One image or many: a path, the bytes of an image file, a Pillow image or an
            array, or an iterable of these; or an array of many. Arrays are as
            `pixels.as_uint8` takes them, ``(height, width, channels)`` with the network's
            channels in the order RGB; grey images may be ``(height, width)``.
        preprocessing: What they go through.

    Yields:
        uint8 arrays ``(height, width, channels)`` of the network's size.

    Raises:
        FileNotFoundError: If there is no file at a path.
        IsADirectoryError: If there is a folder.
        ValueError: If something is no image, or can't be read.
    """
    if _is_one(images):
        yield from _prepared(images, preprocessing, "`images`")
    elif _is_array(images):
        yield from _of_array(images, preprocessing, "`images`")
    elif not isinstance(images, Iterable):
        raise ValueError(
            "`images` must be a path, the bytes of an image file, a Pillow image, an array "
            f"or an iterable of these. Received: {images!r}."
        )
    else:
        for number, image in enumerate(images):
            yield from _prepared(image, preprocessing, f"`images[{number}]`")


def _is_one(images):
    """Whether something is an image, and neither an array nor an iterable of images."""
    return isinstance(
        images, (str, os.PathLike, bytes, bytearray, memoryview)
    ) or _is_pillow(images)


def _is_pillow(image):
    module = sys.modules.get("PIL.Image")  # Whoever has such an image has imported it.
    return module is not None and isinstance(image, module.Image)


def _is_array(images):
    if isinstance(images, (list, tuple)):  # Of numbers, as `tolist` makes them.
        return bool(images) and isinstance(images[0], (list, tuple, int, float))
    return hasattr(images, "shape") and hasattr(images, "dtype")


def _prepared(image, preprocessing, name):
    """An image, or the images of an array, in an iterable."""
    if isinstance(image, (str, os.PathLike)):
        return [read_image(image, preprocessing)]
    if isinstance(image, (bytes, bytearray, memoryview)):
        return [decoded(bytes(image), preprocessing, name)]
    if _is_pillow(image):
        pixels = _of_pillow(image, preprocessing, name)
        return [np.asarray(resize_and_crop(pixels, preprocessing))]
    return _of_array(image, preprocessing, name)


def _of_pillow(image, preprocessing, name):
    from PIL import ImageOps

    if preprocessing.bit_depth < 16 and _loses_bits(image):
        raise ValueError(
            f"{name} must be given as a path or as bytes: its file has 16 bits per "
            f"channel, of which the network takes the lowest {preprocessing.bit_depth}, "
            "and Pillow the upper 8 of colours."
        )
    try:
        image.load()
        if preprocessing.exif_orientation:
            image = ImageOps.exif_transpose(image)
        if image.mode not in ("I", "F") and not image.mode.startswith("I;16"):
            mode = "RGB" if preprocessing.channels == 3 else "L"
            pixels = np.asarray(image.convert(mode))
            return pixels.reshape(*pixels.shape[:2], preprocessing.channels)
    except OSError as error:  # It is read from its file only now.
        raise ValueError(f"{name} can't be read: {error}.") from error
    pixels = np.asarray(image)
    if image.mode.startswith("I;16"):  # As in files.
        grey = np.minimum(pixels >> (preprocessing.bit_depth - 8), 255)
    else:
        grey = as_uint8(pixels, name)
    return np.repeat(grey[..., np.newaxis], preprocessing.channels, -1).astype(np.uint8)


def _loses_bits(image):
    """Whether Pillow will read 8 of the 16 bits of the image's file, if it hasn't yet."""
    parts = getattr(image, "tile", None)
    return bool(parts) and image.mode[0] != "I" and str(parts[0][3]).endswith(";16B")


def _of_array(array, preprocessing, name):
    pixels = as_array(array, name)
    channels = preprocessing.channels
    if channels == 1 and (
        pixels.ndim == 2 or (pixels.ndim == 3 and pixels.shape[-1] != 1)
    ):
        pixels = pixels[..., np.newaxis]
    pixels = as_uint8(pixels, name)
    many = pixels[np.newaxis] if pixels.ndim == 3 else pixels
    if many.ndim != 4 or many.shape[-1] != channels or 0 in many.shape[1:]:
        raise ValueError(
            f"{name} must be one image, (height, width, {channels}), or many of one size, "
            f"(n, height, width, {channels}). Received: shape {pixels.shape}."
        )
    for image in many:
        yield np.asarray(resize_and_crop(image, preprocessing))
