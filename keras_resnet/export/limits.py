"""Which image files are served: checked by their headers, before they are decoded.

`checked` does so in an exported graph and `check_header` in the server, with the same
limits and the same messages.
"""

from __future__ import annotations

import io
import struct
from functools import partial

from keras_resnet.config.image_formats import (
    ANIMATED_WEBP,
    BMP,
    FORMATS,
    GIF,
    JPEG,
    NAMES,
    PNG,
    WEBP,
    WEBP_ANIMATES,
)
from keras_resnet.devices.host import Tensor, tensorflow
from keras_resnet.export.gif import frames, frames_in_graph

# Red, green and blue of as many pixels take 201 MB; a progressive JPEG's coefficients
# take twice that while it is decoded. Cameras give up to 61 million.
MAX_PIXELS = 2**26  # 8192 x 8192.
# libjpeg's own limit, JPEG_MAX_DIMENSION. A PNG's sides may have 31 bits, and the longer
# side after resizing, up to the shorter's new length times that, must fit into an int32.
MAX_SIDE = 65_500
# A progressive JPEG has about 10. Each goes through all of the image, however short it
# is: thousands of them fit into a megabyte, and decoding would take minutes.
MAX_SCANS = 100
# Of a JPEG, how many bytes of its header the server reads, with the camera's data and a
# colour profile: Pillow takes half a second for a mebibyte of nonsense.
HEADER = 2**20

WRONG_FORMAT = (
    f"An image must be a {NAMES} file. Received a file whose first bytes are "
)
WRONG_SIZE = (
    f"An image must have from 1 to {MAX_PIXELS:,} pixels and sides of at most "
    f"{MAX_SIDE:,}. Received an image whose height and width are "
)
TOO_MANY_FRAMES = (
    f"All frames of a GIF together must have at most {MAX_PIXELS:,} pixels, since all of "
    "them are decoded to get the first. Received a GIF whose frames have "
)
TOO_MANY_SCANS = f"A JPEG must have at most {MAX_SCANS} scans. Received one that has "


def check_header(file: bytes) -> int:
    """Checks an image file's header, without TensorFlow.

    Args:
        file: The whole file.

    Returns:
        The number of its pixels, height times width.

    Raises:
        ValueError: If it is none of `FORMATS`, has no pixels or more than `MAX_PIXELS`
            (a GIF in all of its frames), a side of more than `MAX_SIDE`, is a JPEG whose
            header can't be read or that has more than `MAX_SCANS` scans, a GIF of more
            than `gif.MAX_BLOCKS` blocks, or an animated WebP.
    """
    is_other_riff = file.startswith(WEBP.magic) and file[8:12] != b"WEBP"
    if not file.startswith(tuple(f.magic for f in FORMATS)) or is_other_riff:
        raise ValueError(f"{WRONG_FORMAT}{list(file[:8])}.")
    pixels = 0
    if file.startswith(GIF.magic):
        height, width, pixels = frames(file)
    else:
        height, width = _sides(file)
    if not 1 <= min(height, width) <= max(height, width) <= MAX_SIDE or (
        height * width > MAX_PIXELS
    ):
        raise ValueError(f"{WRONG_SIZE}{[height, width]}.")
    if pixels > MAX_PIXELS:
        raise ValueError(f"{TOO_MANY_FRAMES}{pixels}.")
    scans = file.count(b"\xff\xda") if file.startswith(JPEG.magic) else 0
    if scans > MAX_SCANS:
        raise ValueError(f"{TOO_MANY_SCANS}{scans}.")
    return max(height * width, pixels)


def _sides(file):
    """Height and width, as a file's header says."""
    # Zeros follow, so that a header that is cut off has sides of 0.
    header = file[:30] + bytes(30)
    if file.startswith(WEBP.magic):
        return _sides_of_webp(header)
    if file.startswith(PNG.magic):
        return struct.unpack_from(">II", header, 16)[::-1]
    if file.startswith(BMP.magic):
        # A negative height says that the first row is the upper one.
        return tuple(map(abs, struct.unpack_from("<ii", header, 18)[::-1]))
    from PIL.JpegImagePlugin import JpegImageFile

    try:
        with JpegImageFile(io.BytesIO(file[:HEADER])) as image:
            return image.size[::-1]
    except Exception as error:  # Pillow's readers raise many kinds.
        raise ValueError(
            "A JPEG must have a header that can be read. Received a file whose first "
            f"bytes are {list(file[:8])}."
        ) from error


def _sides_of_webp(header):
    """Height and width of a WebP, in whichever of its three forms (RFC 9649)."""

    def number(start, count=2):
        return int.from_bytes(header[start : start + count], "little")

    kind = header[12:16]
    if kind == b"VP8X":
        if header[20] & WEBP_ANIMATES:
            raise ValueError(ANIMATED_WEBP)
        return 1 + number(27, 3), 1 + number(24, 3)
    if kind == b"VP8L":
        return 1 + (number(21, 4) >> 14) % 2**14, 1 + number(21, 4) % 2**14
    return (number(28) % 2**14, number(26) % 2**14) if kind == b"VP8 " else (0, 0)


def checked(contents: Tensor) -> Tensor:
    """Gives the bytes of an image file back once its header is checked, in TensorFlow.

    Everything that is decoded must come from what this returns, or it could be decoded
    before it is checked.

    Args:
        contents: Scalar string tensor, the bytes of the file.

    Returns:
        The same.

    Raises:
        tf.errors.InvalidArgumentError: When the graph runs, where `check_header` raises
            `ValueError`.
    """
    tf = tensorflow()
    contents, header = _known(contents)
    begins = partial(_begins, header)
    is_jpeg = begins(JPEG.magic)

    def sides(start, count, *, little_endian):
        part = tf.strings.substr(header, start, count)
        return tf.io.decode_raw(part, tf.int32, little_endian=little_endian)

    def one_frame(size):
        return tf.concat([tf.cast(size, tf.int64), tf.zeros(1, tf.int64)], 0)

    def png():
        return one_frame(sides(16, 8, little_endian=False)[::-1])

    size = tf.case(
        [
            (is_jpeg, lambda: one_frame(tf.io.extract_jpeg_shape(contents)[:2])),
            (begins(PNG.magic), png),
            (begins(GIF.magic), lambda: frames_in_graph(contents)),
            (begins(WEBP.magic), lambda: one_frame(_webp_in_graph(header))),
        ],
        # A negative height says that the first row is the upper one.
        default=lambda: one_frame(tf.abs(sides(18, 8, little_endian=True)[::-1])),
    )
    size, of_all_frames = size[:2], size[2]
    pixels = tf.reduce_prod(size)
    # Within the picture's data, 0xFF is followed by other bytes.
    scans = tf.cond(
        is_jpeg,
        lambda: tf.size(tf.strings.split(contents, b"\xff\xda")) - 1,
        lambda: 0,
    )
    fitting = tf.debugging.Assert(
        tf.reduce_all((size >= 1) & (size <= MAX_SIDE)) & (pixels <= MAX_PIXELS),
        [WRONG_SIZE, size],
    )
    together = tf.debugging.Assert(
        of_all_frames <= MAX_PIXELS,
        [TOO_MANY_FRAMES, of_all_frames],
    )
    few = tf.debugging.Assert(
        scans <= MAX_SCANS,
        [TOO_MANY_SCANS, scans],
    )
    with tf.control_dependencies([fitting, together, few]):
        return tf.identity(contents)


def _begins(header, magic, start=0):
    tf = tensorflow()
    return tf.equal(tf.strings.substr(header, start, len(magic)), magic)


def _known(contents):
    """The file and its header, once it is known to be of one of the `FORMATS`."""
    tf = tensorflow()
    # Zeros follow, so that a header that is cut off has sides of 0.
    header = tf.strings.join([tf.strings.substr(contents, 0, 30), b"\0" * 30])
    of_formats = [_begins(header, format.magic) for format in FORMATS]
    is_other_riff = of_formats[FORMATS.index(WEBP)] & ~_begins(header, b"WEBP", 8)
    # As numbers: text that is no UTF-8 would break the error on its way to the client.
    first = tf.io.decode_raw(tf.strings.substr(contents, 0, 8), tf.uint8)
    known = tf.debugging.Assert(
        tf.reduce_any(of_formats) & ~is_other_riff,
        [WRONG_FORMAT, first],
        summarize=8,
    )
    with tf.control_dependencies([known]):
        return tf.identity(contents), tf.identity(header)


def _webp_in_graph(header):
    """`_sides_of_webp` in TensorFlow; `decode` refuses an animated one."""
    tf = tensorflow()
    values = tf.cast(tf.io.decode_raw(header, tf.uint8), tf.int32)

    def number(start, count=2):
        return sum(values[start + i] * 256**i for i in range(count))

    def is_kind(name):
        return tf.strings.substr(header, 12, 4) == name

    return tf.case(
        [
            (is_kind(b"VP8X"), lambda: 1 + tf.stack([number(27, 3), number(24, 3)])),
            (
                is_kind(b"VP8L"),
                lambda: (
                    1
                    + tf.stack(
                        [
                            number(22) // 2**6 + values[24] % 2**4 * 2**10,
                            number(21) % 2**14,
                        ]
                    )
                ),
            ),
            (
                is_kind(b"VP8 "),
                lambda: tf.stack([number(28), number(26)]) % 2**14,
            ),
        ],
        default=lambda: tf.zeros(2, tf.int32),
    )
