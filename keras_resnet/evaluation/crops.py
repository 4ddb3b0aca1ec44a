"""Views of images by a protocol: crops, mirror images and scales, in TensorFlow."""

from __future__ import annotations

import collections
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import partial

import numpy as np

from keras_resnet.config.preprocessing import Preprocessing
from keras_resnet.config.protocols import Protocol
from keras_resnet.data import order, threads
from keras_resnet.data.examples import Examples, StreamedExamples
from keras_resnet.data.images import (
    centre,
    decode_whole,
    normalize,
    resize_and_crop,
    resize_then_crop,
    scaled_size,
    to_uint8,
)
from keras_resnet.data.large_images import one_at_a_time
from keras_resnet.devices.host import Dataset, Tensor, tensorflow
from keras_resnet.evaluation.views import Views

WAITING = 4  # Batches of views that wait for others of their shape, at most.


def views(
    image: Tensor, preprocessing: Preprocessing, protocol: Protocol
) -> list[Tensor]:
    """Cuts the views of a protocol out of an image.

    Args:
        image: uint8 ``(height, width, channels)``.
        preprocessing: Gives the size of crops and scales where the protocol doesn't.
        protocol: A `Protocol`.

    Returns:
        For each scale, uint8 ``(views, height, width, channels)``: of ten crops
        the four corners (top left, top right, bottom left, bottom right) and the
        centre, then those of the mirror image, in the order of torchvision's `TenCrop`.

    Raises:
        ValueError: If there is no margin to cut crops out of.
    """
    check_margin(preprocessing, protocol)
    return [
        _views_at(image, scale, preprocessing, protocol)
        for scale in protocol.scales or (preprocessing.resize,)
    ]


def check_margin(preprocessing: Preprocessing, protocol: Protocol) -> None:
    """Checks that a protocol's crops fit into images as large as it makes them.

    Raises:
        ValueError: If they don't, or corners are wanted of images that are as large as
            the network's input.
    """
    if protocol.dense:
        return
    size = _crop_size(preprocessing, protocol)
    scales = protocol.scales or (preprocessing.resize,)
    if None in scales and (protocol.crops == 10 or size != preprocessing.size):
        raise ValueError(
            "Crops must be cut out of larger images, and those of this network are "
            f"resized to its {preprocessing.size[0]}x{preprocessing.size[1]}: only "
            "their mirror images can be added (crops=2). Give `scales` (--scales) that are "
            f"larger. Received: crops={protocol.crops}, crop={protocol.crop}, no scales."
        )
    if any(scale is not None and scale < max(size) for scale in scales):
        raise ValueError(
            "`scales` (--scales) must not be smaller than the crop. "
            f"Received: scales={protocol.scales}, a crop of {size[0]}x{size[1]}."
        )


def _crop_size(preprocessing, protocol):
    return preprocessing.size if protocol.crop is None else (protocol.crop,) * 2


def _views_at(image, scale, preprocessing, protocol):
    """The views at one scale: uint8 ``(views, height, width, channels)``."""
    tf = tensorflow()
    # The mirror image is cut as the image is: where an odd number is left beside the
    # centre, another column. So an image and its mirror image have the same views.
    images = [image] if protocol.crops == 1 else [image, image[:, ::-1]]
    return tf.concat(
        [_views_of(one, scale, preprocessing, protocol) for one in images], 0
    )


def _views_of(image, scale, preprocessing, protocol):
    """The views at one scale but for mirror images."""
    tf = tensorflow()
    size = _crop_size(preprocessing, protocol)
    if protocol.crops == 10:
        whole = _resized(image, scale, preprocessing)
        return _corners_and_centre(whole, size, preprocessing.crop_rounding)
    if protocol.dense and scale is not None:
        return _resized(image, scale, preprocessing)[tf.newaxis]
    # The pixels of evaluation with one crop, of which no others are computed.
    one = replace(preprocessing, resize=scale, size=size)
    return resize_and_crop(image, one)[tf.newaxis]


def _resized(image, scale, preprocessing):
    """The whole image, its shorter side of this length."""
    size = scaled_size(image, scale)
    return to_uint8(
        resize_then_crop(
            image, size, (0, 0), size, interpolation=preprocessing.interpolation
        )
    )


def _corners_and_centre(whole, size, rounding):
    tf = tensorflow()
    left_over = tf.shape(whole)[:2] - size
    bottom, right = tf.unstack(left_over)
    corners = [(0, 0), (0, right), (bottom, 0), (bottom, right)]
    begins = [*corners, tf.unstack(centre(left_over, rounding))]
    shape = (*size, whole.shape[-1])
    return tf.stack([tf.slice(whole, (*begin, 0), shape) for begin in begins])


def batches_of_views(
    examples: Examples | StreamedExamples,
    preprocessing: Preprocessing,
    protocol: Protocol,
    *,
    batch_size: int,
) -> Iterator[Views]:
    """Makes batches of the views of all examples, normalized.

    Args:
        examples: A split's.
        preprocessing: What the images go through, but for scales and crops.
        protocol: A `Protocol`.
        batch_size: Views at a time of the network's own size; of larger ones as many as
            have together no more pixels.

    Returns:
        An iterator over `Views`, each of one shape.

    Raises:
        ValueError: If the crops don't fit, the mean is one per pixel and the views have
            another size, or ``batch_size`` isn't positive.
    """
    if batch_size < 1:
        raise ValueError(
            f"`batch_size` must be positive. Received: batch_size={batch_size}."
        )
    check_margin(preprocessing, protocol)
    other_size = protocol.dense or _crop_size(preprocessing, protocol) != (
        preprocessing.size
    )
    if other_size and np.ndim(preprocessing.mean) > 1:
        raise ValueError(
            "The network must subtract a mean per channel to be measured at another size. "
            f"Received: a mean per pixel, of {preprocessing.size[0]}x"
            f"{preprocessing.size[1]}. Measure at that size."
        )
    pixels = batch_size * int(np.prod(preprocessing.size))
    if not protocol.dense:
        fitting = max(1, pixels // int(np.prod(_crop_size(preprocessing, protocol))))
        views_at_once = min(batch_size, fitting)
        return _of_one_size(examples, preprocessing, protocol, views_at_once)
    # One scale after the other, or every batch would hold few views of a shape.
    return _of_many_sizes(examples, preprocessing, protocol, pixels)


def _records(examples):
    """Data set of positions and records; function from a record's image to pixels."""
    tf = tensorflow()
    if isinstance(examples, StreamedExamples):
        records = examples.read()
    else:
        records = order.look_up(examples, tf.data.Dataset.range(examples.size))
    return records.enumerate()


def _pixels(examples, preprocessing):
    """Function from the image of a record to uint8 ``(height, width, channels)``."""
    tf = tensorflow()
    if order.is_pixels(examples):
        return tf.identity
    decoded = one_at_a_time(partial(decode_whole, preprocessing=preprocessing))
    if getattr(examples, "kind", "streamed") == "files":
        return lambda path: decoded(tf.io.read_file(path))
    return decoded


def _mapped(examples, preprocessing, function):
    """Data set of position, label and what a function makes of the whole image."""
    tf = tensorflow()
    pixels = _pixels(examples, preprocessing)

    def load(position, record):
        image, label = record
        return position, tf.cast(label, tf.int64), function(pixels(image))

    return _records(examples).map(load, num_parallel_calls=threads.images_at_a_time())


def _of_one_size(examples, preprocessing, protocol, batch_size):
    tf = tensorflow()

    def normalized(image):
        cut = tf.concat(views(image, preprocessing, protocol), 0)
        return normalize(cut, preprocessing)

    def each(position, label, images):
        count = tf.shape(images)[0]
        return tf.repeat(position, count), tf.repeat(label, count), images

    batches = _mapped(examples, preprocessing, normalized).map(each).unbatch()
    for batch in _finished(batches.batch(batch_size)):
        yield Views(*batch)


def _of_many_sizes(examples, preprocessing, protocol, pixels):
    for scale in protocol.scales or (preprocessing.resize,):
        images = _mapped(
            examples,
            preprocessing,
            lambda image, scale=scale: normalize(
                _views_at(image, scale, preprocessing, protocol), preprocessing
            ),
        )
        yield from _by_shape(_finished(images), pixels)


def _finished(dataset: Dataset):
    prefetched = dataset.prefetch(threads.PREFETCHED)
    return threads.without_autotuning(prefetched).as_numpy_iterator()


def _by_shape(images: Iterable, most_pixels: int) -> Iterator[Views]:
    """Gathers images of equal shapes, up to a number of pixels in a batch."""
    waiting = collections.defaultdict(list)
    held = 0
    for position, label, image in images:
        shape = image.shape
        waiting[shape].append((position, label, image))
        held += _pixels_of(shape)
        full = (len(waiting[shape]) + 1) * _pixels_of(shape) > most_pixels
        if full or held > WAITING * most_pixels:
            if not full:
                shape = max(waiting, key=lambda each: len(waiting[each]))
            group = waiting.pop(shape)
            held -= len(group) * _pixels_of(shape)
            yield _joined(group)
    for group in waiting.values():
        yield _joined(group)


def _pixels_of(shape):
    return int(np.prod(shape[:3]))


def _joined(group) -> Views:
    positions, labels, images = zip(*group, strict=True)
    count = len(images[0])
    return Views(
        np.repeat(positions, count), np.repeat(labels, count), np.concatenate(images)
    )
