"""Checks arrays of pixels: one rule for `predict`, exported networks and the server."""

from __future__ import annotations

from typing import Any

import numpy as np

RANGE = "numbers from 0 to 255, of any integer or float type"


def as_uint8(images: Any, name: str = "`images`") -> np.ndarray:
    """Converts pixels to uint8, if that is what they are.

    Args:
        images: An array of any shape, or a tensor of any framework in the main memory, with
            values from 0 to 255 of any integer or float type. Fractions are rounded.
        name: What the images are called in errors.

    Returns:
        uint8 array of the same shape; ``images`` itself where it is one.

    Raises:
        ValueError: If the values are Booleans, not finite, or outside of 0 to 255, or are
            floats of which none is over 1, as after a division by 255. All zeros are taken
            for black images.
    """
    try:
        pixels = np.asarray(images)
    except (ValueError, TypeError, RuntimeError) as error:  # Ragged, or on a GPU.
        raise ValueError(f"{name} can't be made an array: {error}") from error
    if pixels.dtype == np.uint8:
        return pixels
    # bfloat16 and float8 are types that NumPy doesn't know, but converts.
    is_number = pixels.dtype.kind in "iuf" or (
        pixels.dtype.kind == "V" and np.can_cast(pixels.dtype, np.float32)
    )
    if not is_number:
        raise ValueError(f"{name} must hold {RANGE}. Received: {pixels.dtype}.")
    if not pixels.size:
        return pixels.astype(np.uint8)
    is_float = pixels.dtype.kind not in "iu"
    # NumPy can't compare all types of 8 and 16 bits.
    values = pixels.astype(np.result_type(pixels, np.float32)) if is_float else pixels
    smallest, largest = values.min(), values.max()
    found = f"{pixels.dtype} from {smallest:g} to {largest:g}"
    if not (np.isfinite(smallest) and np.isfinite(largest)):
        raise ValueError(
            f"{name} must hold {RANGE}. Received: {pixels.dtype} with NaN or infinite "
            "values."
        )
    if smallest < 0 or largest > 255:
        raise ValueError(
            f"{name} must hold {RANGE}, not normalized: the network's preprocessing is "
            f"applied to them. Received: {found}."
        )
    if is_float and 0 < largest <= 1:
        raise ValueError(
            f"{name} must hold {RANGE}. Received: {found}, as if divided by 255. Multiply "
            "them by 255, or leave the division out."
        )
    return np.rint(values).astype(np.uint8) if is_float else values.astype(np.uint8)
