"""The formats of image files: the one table of training, prediction, exports and server."""

from typing import NamedTuple


class ImageFormat(NamedTuple):
    """A format of image files.

    Attributes:
        name: As people write it.
        suffixes: Of file names, in small letters; capitals are the same.
        magic: The bytes that such a file begins with.
    """

    name: str
    suffixes: tuple[str, ...]
    magic: bytes


JPEG = ImageFormat("JPEG", (".jpg", ".jpeg", ".jpe", ".jfif"), b"\xff\xd8\xff")
PNG = ImageFormat("PNG", (".png",), b"\x89PNG\r\n\x1a\n")
BMP = ImageFormat("BMP", (".bmp",), b"BM")
GIF = ImageFormat("GIF", (".gif",), b"GIF8")
# A container; "WEBP" follows four bytes later.
WEBP = ImageFormat("WebP", (".webp",), b"RIFF")

PNG_DEPTH_AT: int = 24  # Where a PNG's header says its bits per channel, in a byte.
WEBP_ANIMATES: int = 0x02  # Of the flags in the chunk VP8X, which comes first.
ANIMATED_WEBP: str = (
    "A WebP must not be animated. Received: one that is. Save a frame of it as PNG."
)

FORMATS: tuple[ImageFormat, ...] = (JPEG, PNG, BMP, GIF, WEBP)
SUFFIXES: tuple[str, ...] = tuple(s for format in FORMATS for s in format.suffixes)
NAMES: str = f"{', '.join(f.name for f in FORMATS[:-1])} or {FORMATS[-1].name}"
