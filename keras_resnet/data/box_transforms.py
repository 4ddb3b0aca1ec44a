"""What is done to each image with boxes, and to each batch of them, before training."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from keras_resnet.config.box_batches import BoxBatches
from keras_resnet.config.words import counted
from keras_resnet.data import canvases, order
from keras_resnet.data.box_inputs import decode_upright, resize
from keras_resnet.data.boxes import BoxedExamples, Objects, area
from keras_resnet.data.large_images import one_at_a_time
from keras_resnet.devices.host import tensorflow

PADDING = -1.0  # Of boxes and classes, as in keras-cv.


def to_train_on(examples: BoxedExamples, settings: BoxBatches) -> Objects:
    """The objects of images that are trained on: no crowds, and at most ``max_boxes``.

    Args:
        examples: A split's.
        settings: Which objects count.

    Warns:
        UserWarning: If an image has more than ``max_boxes``.
    """
    objects = examples.objects
    mask = ~objects.crowd
    if not settings.difficult:
        mask &= ~objects.difficult
    objects = objects.keep(mask)
    most = settings.max_boxes
    full = [] if most is None else np.flatnonzero(objects.counts > most)
    if not len(full):
        return objects
    mask = np.full(len(objects.boxes), True)
    for image in full:
        begin, end = objects.starts[image : image + 2]
        by_size = np.argsort(-area(objects.boxes[begin:end]), kind="stable")
        mask[begin + by_size[most:]] = False
    warnings.warn(
        f"{counted(len(full), 'image has', 'images have')} more objects than `max_boxes`, "
        f"{most}, such as {examples.ids[full[0]]!r} with {objects.counts[full[0]]}: the "
        f"largest are trained on, and {counted(int((~mask).sum()), 'smaller one')} taken "
        "for background.",
        stacklevel=3,
    )
    return objects.keep(mask)


def one_image(
    examples: BoxedExamples,
    objects: Objects,
    groups: Sequence[np.ndarray],
    settings: BoxBatches,
    seed: int | None = None,
) -> Callable[..., tuple[dict[str, Any], dict[str, Any]]]:
    """Makes a function from a position in the stream and a record to an image with boxes.

    Args:
        examples: A split's.
        objects: Of its images, those that count.
        groups: Positions of the images that share a canvas.
        settings: How images are resized, padded and flipped.
        seed: Integer, of sizes and flips. Without it nothing is drawn, and the last size
            counts.

    Returns:
        The function, to an element of a batch and one of what `box_pipelines` tells of it.
    """
    tf = tensorflow()
    table = _tables(examples, objects, groups, settings)
    room = [canvases.canvas(examples.sizes[group], settings) for group in groups]
    known = room[0] if len(room) == 1 else (None, None)
    most = settings.max_boxes or max(1, int(objects.counts.max()))
    sides = len(settings.shorter_sides)
    is_file = getattr(examples.examples, "kind", "encoded") == "files"

    @one_at_a_time
    def pixels(contents, size, flips):
        image = resize(decode_upright(contents), size)
        return tf.reverse(image, tf.where(flips)[:, 0])

    def load(position, record):
        contents, place = record
        contents = tf.io.read_file(contents) if is_file else contents
        side, flips = sides - 1, tf.constant([False, False])
        if seed is not None:
            draw = order.draw_seed(seed, order.AUGMENTATION, position)
            side, flips = _drawn(draw, sides, settings)
        old, new = table["sizes"][place], table["resized"][place, side]
        height, width = tf.unstack(tf.constant(room)[table["groups"][place]])
        image = pixels(contents, new, flips)
        image = tf.image.pad_to_bounding_box(image, 0, 0, height, width)
        part = slice(table["starts"][place], table["starts"][place + 1])
        boxes = _moved(table["boxes"][part], old, new, flips)
        element = {
            "images": tf.ensure_shape(image, (*known, 3)),
            "bounding_boxes": {
                "boxes": _filled_up(boxes, most),
                "classes": _filled_up(table["classes"][part], most),
            },
            "image_shapes": new,
        }
        return element, {"indices": place, "original_shapes": old}

    return load


def _tables(examples, objects, groups, settings):
    """What is known of each image by its position, as tensors in host memory."""
    tf = tensorflow()
    sides = settings.shorter_sides
    resized = [canvases.resized(examples.sizes, side, settings) for side in sides]
    groups_of = np.zeros(examples.size, np.int32)
    for number, group in enumerate(groups):
        groups_of[group] = number
    tables = {
        "sizes": examples.sizes,
        "resized": np.stack(resized, axis=1),
        "groups": groups_of,
        "starts": objects.starts,
        "boxes": objects.boxes,
        "classes": objects.labels.astype(np.float32),
    }
    with tf.device("CPU:0"):
        return {name: tf.constant(values) for name, values in tables.items()}


def _drawn(seed, sides, settings):
    """The number of a shorter side, and whether to flip rows and columns."""
    tf = tensorflow()
    of_side, of_flips = order.split_seed(seed, 2)
    side = tf.random.stateless_uniform([], of_side, maxval=sides, dtype=tf.int32)
    heads = tf.random.stateless_uniform([2], of_flips) < 0.5
    return side, heads & [settings.vertical_flip, settings.horizontal_flip]


def _moved(boxes, old, new, flips):
    """Boxes where their image is resized from one size to another, and flipped."""
    tf = tensorflow()
    # x and y twice, from height and width.
    new = tf.cast(new, tf.float32)
    ratios = tf.tile((new / tf.cast(old, tf.float32))[::-1], [2])
    boxes = boxes * ratios
    mirrored = tf.tile(new[::-1], [2]) - tf.roll(boxes, 2, axis=-1)
    return tf.where(tf.tile(flips[::-1], [2]), mirrored, boxes)


def _filled_up(values, most, axis=0):
    """Values with padding up to a number of them along an axis."""
    tf = tensorflow()
    padding = [[0, 0]] * values.shape.rank
    padding[axis] = [0, most - tf.shape(values)[axis]]
    filled = tf.pad(values, padding, constant_values=PADDING)
    known = values.shape.as_list()
    known[axis] = most
    return tf.ensure_shape(filled, known)


def augmented(
    augment: Callable[[dict[str, Any]], dict[str, Any]],
    most: int | None,
    sizes: Sequence[tuple[int, int]],
) -> Callable[..., tuple[dict[str, Any], dict[str, Any]]]:
    """Makes a function that has ``augment`` change a batch, in our form.

    Args:
        augment: As of `box_pipelines.training_batches`.
        most: Places for boxes, which the first ones of each image get; `None` for as many
            as there are.
        sizes: Heights and widths that batches can have.
    """
    tf = tensorflow()

    def dense(values):
        if isinstance(values, tf.RaggedTensor):
            values = values.to_tensor(PADDING)
        return tf.cast(values, tf.float32)

    def of_one_length(boxes):
        boxes = {key: dense(boxes[key]) for key in ("boxes", "classes")}
        if most is None:
            return boxes
        # Padding may stand between objects, and mustn't take their places.
        order = tf.argsort(tf.cast(boxes["classes"] < 0, tf.int32), stable=True)
        return {
            key: _filled_up(tf.gather(values, order[:, :most], batch_dims=1), most, 1)
            for key, values in boxes.items()
        }

    def at(size, batch):
        # Each size in a graph of its own, where it is known: Mosaic has to know it.
        images = tf.ensure_shape(batch["images"], (None, *size, 3))
        boxes = batch["bounding_boxes"]
        changed = augment({"images": images, "bounding_boxes": boxes})
        boxes = of_one_length(changed["bounding_boxes"])
        return tf.cast(changed["images"], tf.float32), boxes["boxes"], boxes["classes"]

    def change(batch, about):
        found = tf.shape(batch["images"])[1:3]
        same = tf.reduce_all(found == tf.constant(sizes), axis=1)
        images, boxes, classes = tf.switch_case(
            tf.argmax(tf.cast(same, tf.int32), output_type=tf.int32),
            [functools.partial(at, size, batch) for size in sizes],
        )
        shape = tf.shape(images)
        return {
            "images": images,
            "bounding_boxes": {"boxes": boxes, "classes": classes},
            # What was padding may lie anywhere now.
            "image_shapes": tf.tile(shape[tf.newaxis, 1:3], [shape[0], 1]),
        }, about

    return change
