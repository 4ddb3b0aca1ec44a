"""Decodes image files once and keeps their pixels, where these fit into memory.

For examples that are gone over many times and prepared the same way each time. The
pixels are those that decoding them each time gives, so nothing but speed depends on the
memory there is.
"""

from __future__ import annotations

import math
import os
import weakref

import numpy as np

from keras_resnet.config.preprocessing import Preprocessing
from keras_resnet.data import order, threads
from keras_resnet.data.bad_examples import ANNOUNCED
from keras_resnet.data.examples import Examples, StreamedExamples
from keras_resnet.data.images import prepare
from keras_resnet.devices.host import Tensor, tensorflow

# The fields of a `Preprocessing` on which pixels depend that aren't normalized yet.
FIELDS = (
    "channels",
    "resize",
    "size",
    "interpolation",
    "crop_rounding",
    "exif_orientation",
)

# What the pixels of one split may take: of the machine's memory, and in bytes, since a
# container's share of a large machine is not asked for. Twice that while decoding.
SHARE, MOST = 1 / 8, 1 << 30

_kept = weakref.WeakKeyDictionary()  # By `Examples`, as long as these live.


def fits(examples: Examples | StreamedExamples, preprocessing: Preprocessing) -> bool:
    """Tells whether examples are files, read or not, whose pixels fit into memory."""
    if isinstance(examples, StreamedExamples) or order.is_pixels(examples):
        return False
    return math.prod(_shape(examples, preprocessing)) <= min(MOST, SHARE * _memory())


def tensors(examples: Examples, preprocessing: Preprocessing) -> tuple[Tensor, Tensor]:
    """Gives images and labels as `order.tensors` does, decoded, resized and cropped.

    Args:
        examples: `Examples` for which `fits`.
        preprocessing: A `Preprocessing`.

    Raises:
        tf.errors.OpError: If a file can't be read any more.
    """
    tf = tensorflow()
    kept = _kept.setdefault(examples, {})
    key = tuple(getattr(preprocessing, name) for name in FIELDS)
    if key not in kept:
        pixels = _decode(examples, preprocessing)
        with tf.device("CPU:0"):
            kept[key] = tf.constant(pixels), tf.constant(examples.labels)
    return kept[key]


def _decode(examples, preprocessing):
    tf = tensorflow()
    if examples.size >= ANNOUNCED:
        print(f"Decoding {examples.size:,} images once, to keep them in memory ...")
    load = tf.io.read_file if examples.kind == "files" else tf.identity
    images = (
        tf.data.Dataset.from_tensor_slices(examples.for_tensorflow)
        .map(
            lambda image: prepare(load(image), preprocessing),
            num_parallel_calls=threads.images_at_a_time(),
        )
        .batch(100)
    )
    pixels = np.empty(_shape(examples, preprocessing), np.uint8)
    done = 0
    for batch in threads.without_autotuning(images).as_numpy_iterator():
        pixels[done : done + len(batch)] = batch
        done += len(batch)
    return pixels


def _shape(examples, preprocessing):
    return examples.size, *preprocessing.size, preprocessing.channels


def _memory():
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # Not on Windows.
        return math.inf
