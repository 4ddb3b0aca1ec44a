"""Reads image files one by one, as a network takes them before normalization."""

from __future__ import annotations

import os

import numpy as np

from keras_resnet.config.image_formats import FORMATS, NAMES
from keras_resnet.config.preprocessing import Preprocessing
from keras_resnet.data.bit_depth import warn_of_few_levels
from keras_resnet.data.images import prepare
from keras_resnet.data.listing import as_text
from keras_resnet.devices.host import plain_message
from keras_resnet.files import local_path

LOOKED_AT = 2**26  # Bytes of a file from which on its first ones are looked at alone.
MOST = 2**31 - 1  # Bytes of a file that TensorFlow's decoders take.


def why_no_image(path: str | os.PathLike[str]) -> str | None:
    """Tells why a large file can't be an image, without reading more than its beginning.

    Args:
        path: Of the file.

    Returns:
        The reason; `None` if the file has to be decoded to know.
    """
    try:
        size = os.path.getsize(path)
        if size < LOOKED_AT:
            return None
        with open(path, "rb") as file:
            head = file.read(max(len(format.magic) for format in FORMATS))
    except OSError:  # Reading it whole says why.
        return None
    if not any(head.startswith(format.magic) for format in FORMATS):
        return f"it has {size:,} bytes, of which the first are no {NAMES} file's"
    if size > MOST:
        return f"it has {size:,} bytes, more than the {MOST:,} that can be decoded"
    return None


def read_image(
    path: str | os.PathLike[str], preprocessing: Preprocessing
) -> np.ndarray:
    """Reads an image file as a network takes it, before normalization.

    Args:
        path: Of the file.
        preprocessing: A `Preprocessing`.

    Returns:
        uint8 array ``(height, width, channels)``.

    Raises:
        FileNotFoundError: If there is no file.
        IsADirectoryError: If it is a folder.
        ValueError: If it can't be decoded.
    """
    return decoded(contents_of(path), preprocessing, as_text(local_path(path)))


def contents_of(path: str | os.PathLike[str]) -> bytes:
    """The bytes of an image file, which may still be no image.

    Raises:
        FileNotFoundError, IsADirectoryError: As of `read_image`.
        ValueError: If it is large, and can't be one.
    """
    path = local_path(path)
    if path.is_dir():
        raise IsADirectoryError(
            f"There must be an image at {as_text(path)}; it is a folder. Give the images "
            "in it, or let `keras-resnet predict` find them."
        )
    if not path.is_file():
        raise FileNotFoundError(
            f"There must be an image at {as_text(path)}; there is no file."
        )
    reason = why_no_image(path)
    if reason is not None:
        raise ValueError(
            f"{as_text(path)} must be a {NAMES} image. Received: {reason}."
        )
    return path.read_bytes()


def decoded(contents: bytes, preprocessing: Preprocessing, name: str) -> np.ndarray:
    """Decodes an image file as a network takes it, before normalization.

    Args:
        contents: The bytes of the file.
        preprocessing: A `Preprocessing`.
        name: What the file is called in errors.

    Returns:
        uint8 array ``(height, width, channels)``. A warning says where few levels are left
        of 16 bits.

    Raises:
        ValueError: If it can't be decoded.
    """
    try:
        image = np.asarray(prepare(contents, preprocessing))
        warn_of_few_levels(contents, preprocessing.bit_depth, name)
        return image
    except Exception as error:  # TensorFlow's decoders raise many kinds.
        reason = plain_message(error).splitlines()[0]
        raise ValueError(
            f"{name} must be a {NAMES} image. Decoding it failed: {reason}"
        ) from error
