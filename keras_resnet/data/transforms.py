"""Makes the functions that a pipeline maps over images and over batches."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from keras_resnet.config.augmentations import InceptionCrop, PadCropFlip, ScaleCropFlip
from keras_resnet.config.preprocessing import Preprocessing
from keras_resnet.config.recipe import Recipe, first_steps
from keras_resnet.data import cache, colors, keras_augmentation, order
from keras_resnet.data.augmentation import (
    inception_crop,
    pad_crop_flip,
    scale_crop_flip,
)
from keras_resnet.data.examples import Examples, StreamedExamples
from keras_resnet.data.images import (
    decode_whole,
    normalize,
    prepare,
    resize_and_crop,
    resize_window,
)
from keras_resnet.data.large_images import one_at_a_time
from keras_resnet.devices.host import Tensor, tensorflow


def from_memory(
    examples: Examples | StreamedExamples,
    preprocessing: Preprocessing,
    keep: bool = False,
) -> Callable[[Tensor], tuple[Tensor, Tensor]] | None:
    """Makes a function from a vector of indices to a normalized batch.

    Args:
        examples: `Examples` or `StreamedExamples`.
        preprocessing: A `Preprocessing`.
        keep: Whether to decode files now, where their pixels fit into memory.

    Returns:
        The function, or `None` where the images are not in memory.
    """
    tf = tensorflow()
    if order.is_pixels(examples):
        images, labels = order.tensors(examples)
    elif keep and cache.fits(examples, preprocessing):
        images, labels = cache.tensors(examples, preprocessing)
        preprocessing = replace(preprocessing, resize=None)  # That is done.
    else:
        return None

    def batch(indices):
        pixels = resize_and_crop(tf.gather(images, indices), preprocessing)
        return normalize(pixels, preprocessing), tf.gather(labels, indices)

    return batch


def one_image(
    examples: Examples | StreamedExamples,
    preprocessing: Preprocessing,
    recipe: Recipe | None = None,
    seed: int = 0,
) -> Callable[[Tensor, tuple[Tensor, Tensor]], tuple[Tensor, Tensor]]:
    """Makes a function from a position in the stream and a record to an image.

    Args:
        examples: `Examples` or `StreamedExamples`.
        preprocessing: A `Preprocessing`.
        recipe: A `Recipe`, for images to train on: with its random crops and colours.
        seed: Integer, of these.

    Returns:
        The function; it gives the image, float32 ``(height, width, channels)``,
        normalized, and its label.
    """
    tf = tensorflow()
    augmentation = recipe and recipe.augmentation
    side_at = recipe and _side_at(recipe)
    rand_augment = recipe and recipe.rand_augment
    operate = rand_augment and keras_augmentation.rand_augment(rand_augment)

    def load(position, record):
        image, label = record
        if not isinstance(examples, StreamedExamples) and examples.kind == "files":
            image = tf.io.read_file(image)
        return prepared(image, position), tf.cast(label, tf.int32)

    @one_at_a_time
    def prepared(image, position):
        size = preprocessing.size if side_at is None else (side_at(position),) * 2
        draw = partial(_draw, seed, position)
        if isinstance(augmentation, InceptionCrop):
            image = inception_crop(
                image,
                draw(order.AUGMENTATION),
                size=size,
                area=augmentation.area,
                aspect=augmentation.aspect,
                channels=preprocessing.channels,
                exif_orientation=preprocessing.exif_orientation,
                bit_depth=preprocessing.bit_depth,
                flip=augmentation.flip,
            )
        elif isinstance(augmentation, ScaleCropFlip):
            if not order.is_pixels(examples):
                image = decode_whole(image, preprocessing)
            image = scale_crop_flip(
                image,
                draw(order.AUGMENTATION),
                shorter_side=augmentation.shorter_side,
                crop=preprocessing.size,
                flip=augmentation.flip,
            )
        elif order.is_pixels(examples):
            image = resize_and_crop(image, preprocessing)
        else:
            image = prepare(image, preprocessing)
        if side_at is not None and not isinstance(augmentation, InceptionCrop):
            image = resize_window(image, size)
        image = _recolored(image, augmentation, draw)
        if operate:
            image = operate(image, draw(order.OPERATIONS))
        return normalize(image, preprocessing)

    return load


def whole_batch(
    recipe: Recipe, *, classes: int, seed: int, share: tuple[int, int]
) -> Callable[[Tensor, tuple[Tensor, Tensor]], tuple[Tensor, Tensor]] | None:
    """Makes a function from a step and a batch to what is trained on.

    Args:
        recipe: A `Recipe`.
        classes: Number of classes.
        seed: Integer, of the random draws.
        share: The part of the step's images that a batch is: see `training_batches`.

    Returns:
        The function, or `None` if it would do nothing.
    """
    augmentation = recipe.augmentation
    erase = recipe.erasing and keras_augmentation.erase(recipe.erasing)
    mix = recipe.mixing and keras_augmentation.mix(recipe.mixing)
    if not (isinstance(augmentation, PadCropFlip) or erase or recipe.soft_labels):
        return None

    def finish(step, batch):
        images, labels = batch
        draw = partial(_draw, seed, step)
        if isinstance(augmentation, PadCropFlip):
            images = pad_crop_flip(
                images,
                draw(order.AUGMENTATION),
                padding=augmentation.padding,
                flip=augmentation.flip,
                mode=augmentation.mode,
                share=share,
            )
        if erase:
            images = erase(images, draw(order.ERASING))
        if recipe.soft_labels:
            labels = soft(labels, classes, recipe.label_smoothing)
        if mix:
            images, labels = mix(images, labels, draw(order.MIXING))
        return images, labels

    if len(recipe.image_sizes) > 1 and (erase or mix):
        return _of_known_size(finish, recipe)
    return finish


def _of_known_size(finish, recipe):
    """The same for batches whose size changes; Keras's layers want to know it."""
    tf = tensorflow()
    number = _size_at(recipe)

    def finish_one(step, batch):
        def of(side):
            images, labels = batch
            known = tf.ensure_shape(images, (None, side, side, None))
            return finish(step, (known, labels))

        return tf.switch_case(
            number(step), [partial(of, side) for _, side in recipe.image_sizes]
        )

    return finish_one


def soft(labels: Tensor, classes: int, smoothing: float = 0.0) -> Tensor:
    """Makes soft labels, ``(1 - smoothing) * one_hot + smoothing / classes``.

    Args:
        labels: Integers ``(batch,)``.
        classes: Number of classes.
        smoothing: Share of each label that all classes get alike.

    Returns:
        float32 ``(batch, classes)``.
    """
    tf = tensorflow()
    one_hot = tf.one_hot(labels, classes, dtype=tf.float32)
    return (1 - smoothing) * one_hot + smoothing / classes


def _size_at(recipe):
    """A function from a step to the number of its size in the recipe's ``image_sizes``."""
    tf = tensorflow()
    begins = first_steps(recipe.image_sizes, recipe.steps)[1:]
    if not begins:
        return lambda step: 0
    return lambda step: tf.reduce_sum(
        tf.cast(step >= tf.constant(begins, tf.int64), tf.int32)
    )


def _side_at(recipe):
    """A function from a position in the stream to the images' side, `None` for none."""
    tf = tensorflow()
    if not recipe.image_sizes:
        return None
    sides = [side for _, side in recipe.image_sizes]
    if len(sides) == 1:
        return lambda position: sides[0]
    number = _size_at(recipe)
    return lambda position: tf.gather(sides, number(position // recipe.batch_size))


def _draw(seed, position, purpose):
    return order.draw_seed(seed, purpose, position)


def _recolored(image, augmentation, draw):
    if getattr(augmentation, "jitter", 0):
        image = colors.color_jitter(
            image, draw(order.JITTER), strength=augmentation.jitter
        )
    if getattr(augmentation, "color", 0):
        image = colors.pca_color(image, draw(order.COLOR), alpha_std=augmentation.color)
    return image
