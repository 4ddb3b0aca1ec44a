"""Finds how large the frames of a GIF file are, before they are decoded.

TensorFlow decodes all frames of a GIF to get the first, each as large as it says itself,
and no header tells how many there are: their blocks are gone through one after the other.
"""

from __future__ import annotations

from keras_resnet.devices.host import Tensor, tensorflow

# Of 255 bytes each, as programs write them, they make a file of 8 MB.
MAX_BLOCKS = 2**15
TOO_MANY_BLOCKS = f"A GIF must have at most {MAX_BLOCKS:,} blocks. Received more."
HEADER = 13  # Bytes before the table of colours.
EXTENSION, IMAGE = 0x21, 0x2C  # Begin a block (GIF89a, sec. 20 and 23).


def frames(file: bytes) -> tuple[int, int, int]:
    """Finds the sizes of a GIF's frames.

    Args:
        file: The whole file.

    Returns:
        The height and the width that the largest frames have, and the number of pixels
        of all frames together; zeros where there is no frame.

    Raises:
        ValueError: If it has more than `MAX_BLOCKS` blocks.
    """
    height = width = pixels = count = 0
    at, inside = HEADER + _colours(_byte(file, 10)), False
    while at < len(file) and (inside or file[at] in (EXTENSION, IMAGE)):
        count += 1
        if count == MAX_BLOCKS:
            raise ValueError(TOO_MANY_BLOCKS)
        if inside:  # A part of a block, its length first; the last one has none.
            at, inside = at + 1 + file[at], file[at] > 0
        elif file[at] == EXTENSION:
            at, inside = at + 2, True
        else:
            across = _byte(file, at + 5) + 256 * _byte(file, at + 6)
            down = _byte(file, at + 7) + 256 * _byte(file, at + 8)
            height, width = max(height, down), max(width, across)
            pixels += across * down
            at, inside = at + 11 + _colours(_byte(file, at + 9)), True
    return height, width, pixels


def _byte(file, at):
    return file[at] if at < len(file) else 0


def _colours(flags):
    """Bytes of a table of colours."""
    return 3 << (flags % 8 + 1) if flags >= 0x80 else 0


def frames_in_graph(contents: Tensor) -> Tensor:
    """`frames` in TensorFlow.

    Args:
        contents: Scalar string tensor, the bytes of the file.

    Returns:
        int64 tensor ``(3,)``.

    Raises:
        tf.errors.InvalidArgumentError: When the graph runs, where `frames` raises
            `ValueError`.
    """
    tf = tensorflow()
    # Zeros follow, so that a frame that is cut off can be read.
    data = tf.io.decode_raw(tf.strings.join([contents, b"\0" * 16]), tf.uint8)
    end = tf.strings.length(contents)

    def byte(at):
        return tf.cast(data[at], tf.int32)

    def colours(flags):
        size = tf.bitwise.left_shift(3, flags % 8 + 1)
        return tf.where(flags >= 0x80, size, 0)

    def goes_on(at, inside, count, sizes):
        kind = byte(tf.minimum(at, end))
        starts = inside | (kind == EXTENSION) | (kind == IMAGE)
        return (at < end) & starts & (count < MAX_BLOCKS)

    def frame(at, sizes):
        across, down = (byte(at + i) + 256 * byte(at + i + 1) for i in (5, 7))
        size = tf.cast(tf.stack([down, across]), tf.int64)
        largest = tf.maximum(sizes[:2], size)
        sizes = tf.concat([largest, sizes[2:] + tf.reduce_prod(size)], 0)
        return at + 11 + colours(byte(at + 9)), sizes

    def step(at, inside, count, sizes):
        kind = byte(at)
        at, sizes = tf.cond(
            ~inside & (kind == IMAGE),
            lambda: frame(at, sizes),
            lambda: (at + tf.where(inside, 1 + kind, 2), sizes),
        )
        return at, ~inside | (kind > 0), count + 1, sizes

    start = HEADER + colours(byte(10))
    begin = (start, False, 0, tf.zeros(3, tf.int64))
    _, _, count, sizes = tf.while_loop(goes_on, step, begin)
    few = tf.debugging.Assert(count < MAX_BLOCKS, [TOO_MANY_BLOCKS])
    with tf.control_dependencies([few]):
        return tf.identity(sizes)
