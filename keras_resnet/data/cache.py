"""Decodes image files once and keeps their pixels, where these fit into memory.

For examples that are gone over many times and prepared the same way each time. The
pixels are those that decoding them each time gives, so nothing but speed depends on the
memory there is.
"""

from __future__ import annotations

import math
import weakref

from keras_resnet.config.preprocessing import Preprocessing
from keras_resnet.data import order, threads
from keras_resnet.data.bad_examples import ANNOUNCED
from keras_resnet.data.examples import Examples, StreamedExamples
from keras_resnet.data.images import prepare
from keras_resnet.data.large_images import one_at_a_time
from keras_resnet.devices import limits
from keras_resnet.devices.host import Tensor, tensorflow

# The fields of a `Preprocessing` on which pixels depend that aren't normalized yet.
FIELDS = (
    "channels",
    "resize",
    "size",
    "interpolation",
    "crop_rounding",
    "exif_orientation",
    "bit_depth",
)

# What the pixels of one split may take: of the memory that there is, and in bytes, since
# others may compute on the same machine. Twice that while they are decoded.
SHARE, MOST = 1 / 8, 1 << 30

_kept = weakref.WeakKeyDictionary()  # By `Examples`, as long as these live.


def fits(examples: Examples | StreamedExamples, preprocessing: Preprocessing) -> bool:
    """Tells whether examples are files, read or not, whose pixels fit into memory."""
    if isinstance(examples, StreamedExamples) or order.is_pixels(examples):
        return False
    pixels = examples.size * math.prod(preprocessing.size) * preprocessing.channels
    return pixels <= min(MOST, SHARE * (limits.memory() or math.inf))


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
        with tf.device("CPU:0"):
            # Not by way of NumPy: that makes a third copy, and keeps the second.
            pixels = tf.concat(list(_decoded(examples, preprocessing)), axis=0)
            kept[key] = pixels, tf.constant(examples.labels)
    return kept[key]


def _decoded(examples, preprocessing):
    """The images in batches, a `tf.data.Dataset`."""
    tf = tensorflow()
    if examples.size >= ANNOUNCED:
        print(f"Decoding {examples.size:,} images once, to keep them in memory ...")
    load = tf.io.read_file if examples.kind == "files" else tf.identity
    decode = one_at_a_time(lambda contents: prepare(contents, preprocessing))
    images = tf.data.Dataset.from_tensor_slices(examples.for_tensorflow).map(
        lambda image: decode(load(image)),
        num_parallel_calls=threads.images_at_a_time(),
    )
    return threads.without_autotuning(images.batch(100))
