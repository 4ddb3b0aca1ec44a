"""Files of images, and headers that lie about them; needs Pillow."""

import base64
import io
import struct
import zlib

from PIL import Image


def picture(format_="PNG", size=(30, 20), mode="RGB", **options):
    file = io.BytesIO()
    Image.new(mode, size, 120).save(file, format_, **options)
    return file.getvalue()


def b64(file):
    return {"b64": base64.b64encode(file).decode()}


def png_header(width, height):
    """A PNG file that announces pixels and has none."""

    def chunk(kind, data):
        check = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + check

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"")


def jpeg_header(width, height):
    """A JPEG file whose header announces other pixels than it has."""
    file = picture("JPEG")
    at = file.index(b"\xff\xc0") + 5
    return file[:at] + struct.pack(">HH", height, width) + file[at + 4 :]


def gif_header(*sizes):
    """A GIF file with frames of these sizes on a canvas of one pixel."""
    frames = b"".join(
        struct.pack("<BHHHHB", 0x2C, 0, 0, *size, 0) + b"\x02\x02\x4c\x01\x00"
        for size in sizes
    )
    return b"GIF89a" + struct.pack("<HHBBB", 1, 1, 0x80, 0, 0) + b"\0" * 6 + frames
