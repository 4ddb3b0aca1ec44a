"""Pixels as pictures of a page: thumbnails, and heat maps over images."""

from __future__ import annotations

import base64

import numpy as np

# Of matplotlib's viridis, at equal distances: RGB from dark to bright.
COLOURS: tuple[tuple[int, int, int], ...] = (
    (68, 1, 84),
    (71, 44, 122),
    (59, 81, 139),
    (44, 113, 142),
    (33, 144, 141),
    (39, 173, 129),
    (92, 200, 99),
    (170, 220, 50),
    (253, 231, 37),
)
OVER = 0.6  # How far a heat map covers its image.


def coloured(shares: np.ndarray) -> np.ndarray:
    """Numbers from 0 to 1 as colours, uint8 of one more axis."""
    places = np.linspace(0, 1, len(COLOURS))
    table = np.array(COLOURS, "float64")
    channels = [np.interp(shares, places, table[:, one]) for one in range(3)]
    return np.rint(np.stack(channels, axis=-1)).astype("uint8")


def overlaid(image: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """A heat map over a grey copy of an image.

    Args:
        image: uint8 ``(height, width, 1 or 3)``.
        heat: Numbers from 0 to 1, ``(height, width)``.

    Returns:
        uint8 ``(height, width, 3)``.
    """
    grey = image.mean(axis=-1, keepdims=True)
    mixed = (1 - OVER) * grey + OVER * coloured(heat).astype("float64")
    return np.rint(mixed).astype("uint8")


def address(contents: bytes, kind: str) -> str:
    """A file's contents as a ``data:`` address.

    Args:
        contents: Of the file.
        kind: Its media type, such as ``image/png``.
    """
    return f"data:{kind};base64,{base64.b64encode(contents).decode('ascii')}"
