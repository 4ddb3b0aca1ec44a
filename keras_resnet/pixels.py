"""Checks arrays of pixels: one rule for every function, exported network and server."""

from __future__ import annotations

from typing import Any

import numpy as np

RANGE = "numbers from 0 to 255, of any integer or float type"
# Floats up to here are taken for a division by 255: 1 and what resizing adds to it.
MOST_OF_DIVIDED = 1.5


def as_array(images: Any, name: str = "`images`") -> np.ndarray:
    """Makes an array of what holds numbers.

    Args:
        images: An array, a tensor of any framework in the main memory, or nested lists.
        name: What the images are called in errors.

    Raises:
        ValueError: If it can't be done.
    """
    try:
        return np.asarray(images)
    except (ValueError, TypeError, RuntimeError) as error:  # Ragged, or on a GPU.
        raise ValueError(f"{name} can't be made an array: {error}") from error


def as_uint8(images: Any, name: str = "`images`") -> np.ndarray:
    """Converts pixels to uint8, if that is what they are.

    Args:
        images: As `as_array` takes them, of any shape, with values as of `check_pixels`.
            Fractions are rounded.
        name: What the images are called in errors.

    Returns:
        uint8 array of the same shape; ``images`` itself where it is one.

    Raises:
        ValueError: If the values are no pixels.
    """
    pixels = as_array(images, name)
    if pixels.dtype == np.uint8:
        return pixels
    check_pixels(pixels, name)
    if pixels.dtype.kind in "iu":
        return pixels.astype(np.uint8)
    return np.rint(_comparable(pixels)).astype(np.uint8)


def check_pixels(pixels: np.ndarray, name: str = "`images`") -> None:
    """Checks that an array holds pixels: numbers that round to 0 to 255.

    Args:
        pixels: Array of any shape. If it has four axes or more, the last three are those of
            one image, and each image is checked.
        name: What the images are called in errors.

    Raises:
        ValueError: If the values are Booleans, not finite, or do not round to 0 to 255, or
            if all values of an image are floats of at most 1.5, as after a division by
            255 and resizing. All zeros are taken for a black image.
    """
    # bfloat16 and float8 are types that NumPy doesn't know, but converts.
    is_number = pixels.dtype.kind in "iuf" or (
        pixels.dtype.kind == "V" and np.can_cast(pixels.dtype, np.float32)
    )
    if not is_number:
        raise ValueError(f"{name} must hold {RANGE}. Received: {pixels.dtype}.")
    if pixels.dtype == np.uint8 or not pixels.size:
        return
    values = _comparable(pixels)
    smallest, largest = values.min(), values.max()
    if not (np.isfinite(smallest) and np.isfinite(largest)):
        raise ValueError(
            f"{name} must hold {RANGE}. Received: {pixels.dtype} with NaN or infinite "
            "values."
        )
    if np.rint(smallest) < 0 or np.rint(largest) > 255:
        raise ValueError(
            f"{name} must hold {RANGE}, not normalized: the network's preprocessing is "
            f"applied to them. Received: {_range(pixels.dtype, values)}."
        )
    if pixels.dtype.kind not in "iu":
        _check_undivided(pixels.dtype, values, name)


def _comparable(pixels):
    """Numbers of a type that NumPy can compare, which it can't all of 8 and 16 bits."""
    if pixels.dtype.kind in "iu":
        return pixels
    return pixels.astype(np.result_type(pixels, np.float32), copy=False)


def _check_undivided(dtype, values, name):
    """Raises an error if an image was divided by 255."""
    one = values.shape[-3:] if values.ndim > 3 else values.shape
    images = values.reshape(-1, *one)
    largest = images.max(axis=tuple(range(1, images.ndim)))
    divided = np.flatnonzero((largest > 0) & (largest <= MOST_OF_DIVIDED))
    if divided.size:
        first = divided[0]
        where = f" in image {first} of {len(images)}, counted from 0"
        where = where if len(images) > 1 else ""
        raise ValueError(
            f"{name} must hold {RANGE}. Received: {_range(dtype, images[first])}{where}, "
            "as if divided by 255. Multiply them by 255, or leave the division out."
        )


def _range(dtype, values):
    """The smallest and largest value exactly, as 255.6 and 0 (not 0.0)."""
    ends = (str(end).removesuffix(".0") for end in (values.min(), values.max()))
    return f"{dtype} from {' to '.join(ends)}"
