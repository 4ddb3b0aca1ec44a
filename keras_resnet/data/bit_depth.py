"""Finds images of which a network would see hardly anything: few levels, or all alike.

A file of 16 bits per channel may hold values of 12 bits, as X-rays do, or a narrow range of
them, as thermal images do: the upper 8 bits of 16 then are nearly the same everywhere.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np

from keras_resnet.config.image_formats import PNG, PNG_DEPTH_AT
from keras_resnet.config.preprocessing import BIT_DEPTHS, Preprocessing
from keras_resnet.data.bad_examples import remembered, state_of
from keras_resnet.data.decoding import decode
from keras_resnet.data.examples import Examples, StreamedExamples
from keras_resnet.data.listing import MANY, as_text
from keras_resnet.devices import limits
from keras_resnet.devices.host import tensorflow

FEW = 8  # Levels of 256 at which, and under which, there is a warning.
ADVICE = (
    "Train with `bit_depth` (--bit-depth), which says how many bits the values take, such "
    "as 12; 'auto' finds it. Scale files whose values begin far above 0."
)


class Depth(NamedTuple):
    """What the values of a 16-bit image are.

    Attributes:
        largest: The largest of them.
        values: How many different ones there are.
        levels: How many of 256 levels are left of these, by bit depth (`BIT_DEPTHS`).
    """

    largest: int
    values: int
    levels: tuple[int, ...]

    def at(self, bit_depth: int) -> int:
        """The number of levels that are left at a bit depth."""
        return self.levels[BIT_DEPTHS.index(bit_depth)]


def depth_of(contents: bytes) -> Depth | None:
    """Looks at the values of an image file; `None` if it isn't a PNG of 16 bits.

    Raises:
        tf.errors.InvalidArgumentError: If it is damaged.
    """
    if not _is_deep(contents):
        return None
    tf = tensorflow()
    pixels = tf.io.decode_png(contents, dtype=tf.uint16).numpy()
    if pixels.shape[-1] in (2, 4):
        pixels = pixels[..., :-1]  # Without transparency.
    values = np.flatnonzero(np.bincount(pixels.ravel()))
    levels = [np.unique(np.minimum(values >> (b - 8), 255)).size for b in BIT_DEPTHS]
    return Depth(int(values[-1]), values.size, tuple(levels))


def _is_deep(head):
    depth = head[PNG_DEPTH_AT : PNG_DEPTH_AT + 1]
    return head.startswith(PNG.magic) and depth == b"\x10"


def depths_of(examples: Examples | StreamedExamples | None) -> dict[str, Depth]:
    """Looks at the values of all 16-bit images of a split.

    What was found among 10,000 files and more is kept for as long as none is changed.

    Args:
        examples: A split; of one that isn't held as paths of files, nothing is found.

    Returns:
        A dictionary from paths to what their values are.
    """
    if getattr(examples, "kind", None) != "files":
        return {}
    paths = list(examples.images)

    def look():
        with ThreadPoolExecutor(limits.cores()) as pool:
            found = zip(range(len(paths)), pool.map(_numbers, paths), strict=True)
            return {index: numbers for index, numbers in found if numbers}

    if len(paths) < MANY:
        found = look()
    else:
        key, what = f"bit depth {state_of(paths)}", "the images"
        found = remembered(
            key, look, count=len(paths), what=what, seek="images of 16 bits"
        )
    return {paths[index]: _depth(found[index]) for index in sorted(found)}


def _numbers(path):
    """A file's `Depth` as text; empty if it has none."""
    with open(path, "rb") as file:
        head = file.read(PNG_DEPTH_AT + 1)
        if not _is_deep(head):
            return ""
        largest, values, levels = depth_of(head + file.read())
    return " ".join(map(str, (largest, values, *levels)))


def _depth(text):
    largest, values, *levels = map(int, text.split())
    return Depth(largest, values, tuple(levels))


def bits_of(depths: Mapping[str, Depth]) -> int:
    """The bits that the largest value of 16-bit images takes, at least 8; 16 of none."""
    largest = max((depth.largest for depth in depths.values()), default=2**16 - 1)
    return max(BIT_DEPTHS[0], largest.bit_length())


def warn_of_lost_levels(
    split: str, depths: Mapping[str, Depth], bit_depth: int
) -> None:
    """Warns if hardly anything is left of 16-bit images.

    Args:
        split: Its name, such as ``"training"``.
        depths: As of `depths_of`.
        bit_depth: The preprocessing's.
    """
    few = [path for path, depth in depths.items() if _loses(depth, bit_depth)]
    if few:
        warnings.warn(
            f"{len(few):,} of {len(depths):,} {split} images of 16 bits use {FEW} levels "
            f"of 256 or fewer, such as {_said(few[0], depths[few[0]], bit_depth)} {ADVICE}",
            stacklevel=3,
        )
        return
    # All of 12 bits: 16 levels of 256.
    if depths and bits_of(depths) <= bit_depth - 4:
        path = max(depths, key=lambda path: depths[path].largest)
        warnings.warn(
            f"The largest value of the {len(depths):,} {split} images of 16 bits is in "
            f"{_said(path, depths[path], bit_depth)} {ADVICE}",
            stacklevel=3,
        )


def warn_of_few_levels(contents: bytes, bit_depth: int, name: str) -> None:
    """Warns if hardly anything is left of one image, where it has 16 bits.

    Args:
        contents: The bytes of an image file that can be decoded.
        bit_depth: The preprocessing's.
        name: What the file is called.
    """
    depth = depth_of(contents)
    if depth is not None and _loses(depth, bit_depth):
        warnings.warn(
            f"Few levels are left of {_said(name, depth, bit_depth)} {ADVICE}",
            stacklevel=3,
        )


def _loses(depth, bit_depth):
    """Whether few levels are left, and fewer than there were values."""
    return depth.at(bit_depth) <= min(FEW, depth.values - 1)


def _said(path, depth, bit_depth):
    return (
        f"{as_text(path)}: of its {depth.values:,} different values, which go up to "
        f"{depth.largest:,}, a bit depth of {bit_depth} leaves {depth.at(bit_depth)} of "
        "256 levels."
    )


def warn_of_equal_images(
    split: str,
    examples: Examples | StreamedExamples | None,
    preprocessing: Preprocessing,
) -> None:
    """Warns if all images of a split look alike, once they are decoded.

    Args:
        split: Its name, such as ``"training"``.
        examples: A split; one that isn't held as paths of files isn't looked at.
        preprocessing: What the images go through.
    """
    if getattr(examples, "kind", None) != "files" or examples.size < 2:
        return
    looks = (_look(path, preprocessing) for path in examples.images)
    first = next(looks)
    # It ends at the first that differs: nearly always the second one.
    if all(look == first for look in looks):
        warnings.warn(
            f"All {examples.size:,} {split} images look the same once they are decoded, "
            f"such as {as_text(examples.images[0])}: there is nothing in them to learn. "
            "Look at the files; of 16 bits per channel, see to `bit_depth` (--bit-depth).",
            stacklevel=3,
        )


def _look(path, preprocessing):
    """What two images that look alike have in common: their colour, or all pixels."""
    tf = tensorflow()
    image = decode(
        tf.io.read_file(os.fsencode(path)),
        preprocessing.channels,
        bit_depth=preprocessing.bit_depth,
    ).numpy()
    corner = image[:1, :1]
    if (image == corner).all():
        return corner.tobytes()
    return image.shape, image.tobytes()
