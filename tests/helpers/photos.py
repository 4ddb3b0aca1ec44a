"""Photographs that lie on their side: files with an EXIF orientation; needs Pillow."""

import io
import struct

import numpy as np
from PIL import Image, ImageOps


def exif(orientation, order="little", *, kind=3, before=2):
    """EXIF data with an orientation between other entries, as of a camera.

    Args:
        orientation: The value.
        order: Of the bytes, ``"little"`` or ``"big"``.
        kind: Type of the entry; 3 is the standard's, SHORT.
        before: Entries in front of it.
    """
    sign = "<" if order == "little" else ">"
    rows = [(0x0100 + n, 3, 1, 7) for n in range(before)]
    rows += [(0x0112, kind, 1, orientation), (0x0132, 3, 1, 5)]
    entries = b"".join(struct.pack(f"{sign}HHIHH", *row, 0) for row in rows)
    head = (b"II" if order == "little" else b"MM") + struct.pack(f"{sign}HI", 42, 8)
    return head + struct.pack(f"{sign}H", len(rows)) + entries + bytes(4)


def with_exif(file, data):
    """A JPEG, PNG or WebP file with EXIF data put where cameras and programs put them."""
    if file.startswith(b"\xff\xd8"):
        body = b"Exif\0\0" + data
        return (
            file[:2] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + file[2:]
        )
    image = Image.open(io.BytesIO(file))
    buffer = io.BytesIO()
    image.save(buffer, image.format, exif=b"Exif\0\0" + data, lossless=True)
    return buffer.getvalue()


def encoded(pixels, form="JPEG", **options):
    """The bytes of an image file."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, form, **options)
    return buffer.getvalue()


def stored_as(pixels, orientation):
    """How a camera that was held so stores what is seen upright as these pixels."""
    inverse = {6: 8, 8: 6}.get(orientation, orientation)
    return np.ascontiguousarray(turned(pixels, inverse))


def turned(pixels, orientation):
    """Pixels as Pillow turns them for an EXIF orientation."""
    image = Image.fromarray(pixels)
    image.getexif()[0x0112] = orientation
    return np.asarray(ImageOps.exif_transpose(image))


def scene(height=48, width=64):
    """An RGB image, uint8, of which every turned or mirrored copy is another."""
    rows, columns = np.mgrid[:height, :width]
    return np.stack(
        [rows * 255 // height, columns * 255 // width, (rows + columns) % 256], axis=-1
    ).astype(np.uint8)
