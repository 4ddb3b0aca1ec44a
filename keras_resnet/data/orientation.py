"""Reads the EXIF orientation of image files and turns images upright, in TensorFlow.

Cameras store a photograph as their sensor lies, and write into the file how it was held:
one of eight orientations, the tag 0x0112 of the EXIF data (CIPA DC-008, sec. 4.6.5). They
are in the segment APP1 of a JPEG, and in the chunk eXIf of a PNG or EXIF of a WebP.

Nothing here raises an error, whatever a file holds: where its EXIF data are damaged, or say
nothing, the image is taken as it is stored.
"""

from __future__ import annotations

from collections.abc import Callable

from keras_resnet.devices.host import Tensor, tensorflow

# How many segments or chunks are looked at. Cameras write their EXIF data as the first or
# the second; a file could have millions of empty ones.
MOST_PARTS = 64
FIRST_SEGMENTS = 4  # Of a JPEG, that are looked at before the others.
MOST_ENTRIES = 256  # Of a directory of EXIF data, of which cameras write about a dozen.
# What an entry of the orientation begins with, by byte order: tag, type SHORT, count 1.
ENTRIES = {
    "little": b"\x12\x01\x03\x00\x01\x00\x00\x00",
    "big": b"\x01\x12\x00\x03\x00\x00\x00\x01",
}
EXIF = b"Exif\0\0"


def of_jpeg(contents: Tensor) -> Tensor:
    """Reads the EXIF orientation of a JPEG file.

    Args:
        contents: Scalar string tensor, the bytes of the file.

    Returns:
        int32 scalar from 1 to 8; 1, as it is stored, where the file says nothing.
    """
    tf = tensorflow()

    def is_exif(part):
        return _begins(part, b"\xff\xe1") & _begins(part[4:], EXIF)

    def goes_on(part):
        # EXIF data are among the segments APP0 to APP15 and COM, which come first.
        return (part[0] == 0xFF) & (part[1] >= 0xE0) & ~is_exif(part)

    def length(part):
        # 0xFF may be repeated before the name of a segment.
        return tf.where(part[1] == 0xFF, 1, 2 + _number(part[2:4], "big"))

    def searched(contents):
        at, part = _walk(contents, 2, goes_on, length)
        return _in_exif(contents, tf.where(is_exif(part), at + 10, -1))

    return tf.cond(
        _has_no_app1(contents), lambda: 1, lambda: _apart(searched, contents)
    )


def of_chunks(contents: Tensor) -> Tensor:
    """Reads the EXIF orientation of a PNG or WebP file; that of other files is 1.

    Args and returned value are those of `of_jpeg`.
    """
    tf = tensorflow()

    def searched(contents):
        first = _bytes(contents, 0, 12)
        start = tf.case(
            [
                (_begins(first, b"\x89PNG\r\n\x1a\n"), lambda: _in_png(contents)),
                (_begins(first[8:], b"WEBP"), lambda: _in_webp(contents)),
            ],
            default=lambda: -1,
        )
        return _in_exif(contents, start)

    return _apart(searched, contents)


def turn_upright(image: Tensor, orientation: Tensor) -> Tensor:
    """Turns an image as its EXIF orientation says.

    Args:
        image: Tensor ``(height, width, channels)``.
        orientation: int32 scalar, as `of_jpeg` gives it.

    Returns:
        The image, with height and width exchanged where the orientation is 5 or more.
    """
    tf = tensorflow()

    def turned(image, orientation):
        lying, mirrored, flipped = _steps(orientation)
        upright = tf.cond(lying, lambda: tf.transpose(image, (1, 0, 2)), lambda: image)
        upright = tf.cond(mirrored, lambda: tf.reverse(upright, [1]), lambda: upright)
        return tf.cond(flipped, lambda: tf.reverse(upright, [0]), lambda: upright)

    # Most images are stored as they are seen: they don't pay for the others.
    return tf.cond(
        orientation == 1, lambda: image, lambda: _apart(turned, image, orientation)
    )


def upright_size(size: Tensor, orientation: Tensor) -> Tensor:
    """Computes an image's height and width, int32 ``(2,)``, once it is turned."""
    tf = tensorflow()
    return tf.where(orientation >= 5, size[::-1], size)


def stored_window(window: Tensor, size: Tensor, orientation: Tensor) -> Tensor:
    """Finds where a part of an upright image lies in the image as it is stored.

    Args:
        window: Top, left, height and width in the upright image, int32 ``(4,)``.
        size: Height and width of the upright image, int32 ``(2,)``.
        orientation: int32 scalar, as `of_jpeg` gives it.

    Returns:
        Top, left, height and width in the stored image, int32 ``(4,)``.
    """
    tf = tensorflow()
    lying, mirrored, flipped = _steps(orientation)
    corner, sides = window[:2], window[2:]
    corner = tf.where(tf.stack([flipped, mirrored]), size - corner - sides, corner)
    stored = tf.stack([corner, sides])
    return tf.reshape(tf.where(lying, stored[:, ::-1], stored), [4])


def _apart(function, *arguments):
    """Calls a function as one node of the graph.

    In a branch that isn't taken, each node takes time: those of the search as much as half
    of decoding a photograph.
    """
    tf = tensorflow()
    return tf.function(
        function, autograph=False, experimental_attributes={"_noinline": True}
    )(*arguments)


def _steps(orientation):
    """Whether an image is transposed, then mirrored left to right, then upside down."""
    return (
        orientation >= 5,
        _is_one_of(orientation, (2, 3, 6, 7)),
        _is_one_of(orientation, (3, 4, 7, 8)),
    )


def _is_one_of(number, choices):
    tf = tensorflow()
    return tf.reduce_any(number == tf.constant(choices))


# --- Where the EXIF data begin: the place of their header, or -1 --------------------------


def _has_no_app1(contents):
    """Whether a JPEG's first segments show that it has no EXIF data.

    Of all JPEGs but cameras' own most have up to three segments that could be such, and
    to see that takes a fifth of the time of the search.
    """
    tf = tensorflow()
    end, at, names = tf.strings.length(contents), 2, []
    for _ in range(FIRST_SEGMENTS):
        part = tf.strings.substr(contents, tf.minimum(at, end), 4)
        numbers = tf.io.decode_raw(part, tf.uint16, little_endian=False, fixed_length=4)
        name, size = tf.unstack(tf.cast(numbers, tf.int32))
        names.append(name)
        at = at + 2 + size
    names = tf.stack(names)
    # How many of them begin as APP0 to APP15 and COM do: no others come before EXIF data.
    first = tf.math.cumprod(tf.cast(names >= 0xFFE0, tf.int32))
    is_app1 = tf.cast((names == 0xFFE1) | (names == 0xFFFF), tf.int32)
    return (first[-1] == 0) & (tf.reduce_max(first * is_app1) == 0)


def _in_png(contents):
    tf = tensorflow()

    def goes_on(part):
        return ~_begins(part[4:], b"eXIf") & ~_begins(part[4:], b"IDAT")

    at, part = _walk(contents, 8, goes_on, lambda part: 12 + _number(part[:4], "big"))
    return tf.where(_begins(part[4:], b"eXIf"), at + 8, -1)


def _in_webp(contents):
    tf = tensorflow()

    def length(part):
        size = _number(part[4:8], "little")
        return 8 + size + size % 2

    at, part = _walk(contents, 12, lambda part: ~_begins(part, b"EXIF"), length)
    # Some programs begin as in a JPEG.
    start = tf.where(_begins(part[8:], EXIF), at + 14, at + 8)
    return tf.where(_begins(part, b"EXIF"), start, -1)


def _walk(
    contents: Tensor,
    start: int,
    goes_on: Callable[[Tensor], Tensor],
    length: Callable[[Tensor], Tensor],
) -> tuple[Tensor, Tensor]:
    """Goes from part to part of a file, while ``goes_on`` is true of its first 14 bytes.

    Args:
        contents: The file.
        start: The place of the first part.
        goes_on: Function from the bytes that a part begins with, uint8 ``(14,)``.
        length: Function from the same to the length of the whole part.

    Returns:
        The place where it ended, and the bytes there: zeros at the end of the file.
    """
    tf = tensorflow()
    end = tf.strings.length(contents)

    def following(at, part):
        after = at + length(part)
        # Whatever the file says, the next part lies further behind.
        after = tf.where((after > at) & (after < end), after, end)
        return after, _bytes(contents, after, 14)

    return tf.while_loop(
        lambda at, part: (at < end) & goes_on(part),
        following,
        (tf.constant(start), _bytes(contents, start, 14)),
        maximum_iterations=MOST_PARTS,
    )


# --- What they say ------------------------------------------------------------------------


def _in_exif(contents, start):
    """The orientation in EXIF data: a TIFF's header, and the directory it points to."""
    tf = tensorflow()
    end = tf.strings.length(contents)
    start = tf.where((start >= 0) & (start < end), start, end)
    # A segment of a JPEG has at most so many bytes.
    data = tf.strings.substr(contents, start, 1 << 16)
    header = _bytes(data, 0, 8)
    little = _begins(header, b"II*\0")

    def number(part):
        return tf.where(little, _number(part, "little"), _number(part, "big"))

    directory = number(header[4:])
    count = number(_bytes(data, directory, 2))
    entries = tf.reshape(
        _bytes(data, directory + 2, 12 * MOST_ENTRIES), (MOST_ENTRIES, 12)
    )
    wanted = tf.where(little, *(list(ENTRIES[order]) for order in ("little", "big")))
    is_wanted = tf.reduce_all(entries[:, :8] == tf.cast(wanted, tf.uint8), axis=1)
    is_wanted &= tf.range(MOST_ENTRIES) < count
    # Of the first entry, or of any one where there is none.
    value = number(entries[tf.argmax(is_wanted)][8:10])
    known = tf.reduce_any(is_wanted) & (little | _begins(header, b"MM\0*"))
    return tf.where(known & (value >= 1) & (value <= 8), value, 1)


def _bytes(contents, at, count):
    """A part of a string as uint8 ``(count,)``, with zeros for what the string lacks."""
    tf = tensorflow()
    end = tf.strings.length(contents)
    at = tf.where((at >= 0) & (at < end), at, end)
    part = tf.strings.substr(contents, at, count)
    return tf.io.decode_raw(part, tf.uint8, fixed_length=count)


def _begins(part, text):
    """Whether bytes begin with a text."""
    tf = tensorflow()
    return tf.reduce_all(part[: len(text)] == tf.constant(list(text), tf.uint8))


def _number(part, order):
    """An integer of two or four bytes, int32; one of 2**31 or more becomes negative."""
    tf = tensorflow()
    count = part.shape[0]
    shifts = [8 * (count - 1 - i if order == "big" else i) for i in range(count)]
    return tf.reduce_sum(tf.bitwise.left_shift(tf.cast(part, tf.int32), shifts))
