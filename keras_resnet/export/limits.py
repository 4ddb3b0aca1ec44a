"""Which image files are served: checked by their headers, before they are decoded.

`checked` does so in an exported graph and `check_header` in the server, with the same
limits and the same messages.
"""

from __future__ import annotations

import io
import struct

from keras_resnet.devices.host import Tensor, tensorflow

# By their first bytes. GIFs are not among them: TensorFlow decodes all frames of one to
# get the first, and nothing in its header limits how many there are and how large.
JPEG, PNG, BMP = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"BM"
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
    "An image must be a JPEG, PNG or BMP file. Received a file whose first bytes are "
)
WRONG_SIZE = (
    f"An image must have from 1 to {MAX_PIXELS:,} pixels and sides of at most "
    f"{MAX_SIDE:,}. Received an image whose height and width are "
)
TOO_MANY_SCANS = f"A JPEG must have at most {MAX_SCANS} scans. Received one that has "


def check_header(file: bytes) -> int:
    """Checks an image file's header, without TensorFlow.

    Args:
        file: The whole file.

    Returns:
        The number of its pixels, height times width.

    Raises:
        ValueError: If it is no JPEG, PNG or BMP file, has no pixels or more than
            `MAX_PIXELS`, a side of more than `MAX_SIDE`, or is a JPEG whose header
            can't be read or that has more than `MAX_SCANS` scans.
    """
    if not file.startswith((JPEG, PNG, BMP)):
        raise ValueError(f"{WRONG_FORMAT}{list(file[:8])}.")
    height, width = _sides(file)
    if not 1 <= min(height, width) <= max(height, width) <= MAX_SIDE or (
        height * width > MAX_PIXELS
    ):
        raise ValueError(f"{WRONG_SIZE}{[height, width]}.")
    scans = file.count(b"\xff\xda") if file.startswith(JPEG) else 0
    if scans > MAX_SCANS:
        raise ValueError(f"{TOO_MANY_SCANS}{scans}.")
    return height * width


def _sides(file):
    """Height and width, as a file's header says."""
    # Zeros follow, so that a header that is cut off has sides of 0.
    header = file[:26] + bytes(26)
    if file.startswith(PNG):
        return struct.unpack_from(">II", header, 16)[::-1]
    if file.startswith(BMP):
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

    def begins(magic):
        return tf.equal(tf.strings.substr(contents, 0, len(magic)), magic)

    is_jpeg, is_png, is_bmp = map(begins, (JPEG, PNG, BMP))
    # As numbers: text that is no UTF-8 would break the error on its way to the client.
    first = tf.io.decode_raw(tf.strings.substr(contents, 0, 8), tf.uint8)
    known = tf.debugging.Assert(
        is_jpeg | is_png | is_bmp,
        [WRONG_FORMAT, first],
        summarize=8,
    )
    with tf.control_dependencies([known]):
        # Zeros follow, so that a header that is cut off has sides of 0.
        header = tf.strings.join([tf.strings.substr(contents, 0, 26), b"\0" * 26])

    def sides(start, count, *, little_endian):
        part = tf.strings.substr(header, start, count)
        return tf.io.decode_raw(part, tf.int32, little_endian=little_endian)

    size = tf.case(
        [
            (is_jpeg, lambda: tf.io.extract_jpeg_shape(contents)[:2]),
            (is_png, lambda: sides(16, 8, little_endian=False)[::-1]),
        ],
        # A negative height says that the first row is the upper one.
        default=lambda: tf.abs(sides(18, 8, little_endian=True)[::-1]),
    )
    pixels = tf.reduce_prod(tf.cast(size, tf.int64))
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
    few = tf.debugging.Assert(
        scans <= MAX_SCANS,
        [TOO_MANY_SCANS, scans],
    )
    with tf.control_dependencies([fitting, few]):
        return tf.identity(contents)
