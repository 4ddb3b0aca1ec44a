"""Examples and functions to batches: shuffled, prefetched `tf.data`.

The training stream is a function of the seed and the step alone: epochs are
permutations, batches run across their ends, and each random draw gets a seed of its
own. So a run that goes on at step k sees what it would have seen without the break, bit
for bit, whatever the number of threads.
"""

import contextlib
from dataclasses import replace
from functools import partial

import keras

from keras_resnet.config.recipe import (
    InceptionCrop,
    PadCropFlip,
    ScaleCropFlip,
    first_steps,
)
from keras_resnet.data import augmentation as augment
from keras_resnet.data import decoded, keras_layers, streams
from keras_resnet.data.preprocessing import (
    decode,
    normalize,
    prepare,
    resize_and_crop,
    resize_window,
)
from keras_resnet.data.sources import StreamedExamples


def leave_gpus_to_keras():
    """Keeps `tf.data` off the GPUs on which JAX or PyTorch compute; call it first.

    TensorFlow takes nearly all of a GPU's memory with its first operation.
    """
    if keras.backend.backend() == "tensorflow":
        return
    import tensorflow as tf

    # Where TensorFlow has computed already, it is too late and no error.
    with contextlib.suppress(RuntimeError):
        tf.config.set_visible_devices([], "GPU")


def recipe_batches(
    examples, preprocessing, recipe, *, classes, seed, start_step=0, share=(0, 1)
):
    """`training_batches` with everything that a `Recipe` says of them.

    Args:
        examples: `Examples` or `StreamedExamples`.
        preprocessing: A `Preprocessing`.
        recipe: A `Recipe`.
        classes: Number of classes.
        seed: Integer; determines order and augmentation together with the step.
        start_step: Step of the first batch, where a run goes on.
        share: As of `training_batches`.

    Returns:
        As `training_batches`.
    """
    return training_batches(
        examples,
        preprocessing,
        recipe.augmentation,
        batch_size=recipe.batch_size,
        seed=seed,
        steps=recipe.steps,
        start_step=start_step,
        classes=classes if recipe.soft_labels else None,
        label_smoothing=recipe.label_smoothing,
        rand_augment=recipe.rand_augment,
        erasing=recipe.erasing,
        mixing=recipe.mixing,
        image_sizes=recipe.image_sizes,
        share=share,
    )


def training_batches(
    examples,
    preprocessing,
    augmentation,
    *,
    batch_size,
    seed,
    steps,
    start_step=0,
    classes=None,
    label_smoothing=0.0,
    rand_augment=None,
    erasing=0.0,
    mixing=(),
    image_sizes=(),
    share=(0, 1),
):
    """Batches to train on, each step another.

    Args:
        examples: `Examples` or `StreamedExamples`.
        preprocessing: A `Preprocessing`.
        augmentation: A `PadCropFlip`, `ScaleCropFlip` or `InceptionCrop` of
            `config/recipe.py`, or `None`.
        batch_size: Images per batch.
        seed: Integer; determines order and augmentation together with the step.
        steps: Steps of the whole run.
        start_step: Step of the first batch, where a run goes on.
        classes: Number of classes, for labels that are vectors of probabilities, as
            smoothing and mixing need them; `None` for integers.
        label_smoothing: Share of the label that all classes get alike.
        rand_augment: A `RandAugment`, applied to the pixels after the crop (before a
            padded crop); `None` for none.
        erasing: Probability that a random rectangle of an image is erased.
        mixing: `MixUp` and `CutMix`, of which each batch gets one; empty for none.
        image_sizes: Pairs of a share of the steps from which on, and the side of the
            images in pixels; empty for the preprocessing's.
        share: A worker's number and how many there are: of each batch it gets its part,
            the same images as they would be in the whole batch. It decodes no others,
            except where images are erased or mixed, which takes the whole batch, and
            where all are decoded once.

    Images that are all prepared alike before they are augmented (no ``augmentation`` or
    a `PadCropFlip`) are decoded once, here, where their pixels fit into memory
    (`decoded`) and they would be decoded more often else.

    Returns:
        `tf.data.Dataset` of ``steps - start_step`` pairs: images, float32
        ``(batch_size // workers, height, width, channels)``, normalized, with height
        and width unknown if they change; labels, int32 ``(batch_size // workers,)``,
        or float32 ``(batch_size // workers, classes)`` that sum to 1.

    Raises:
        ValueError: If an argument is impossible.
    """
    import tensorflow as tf

    _check(batch_size, steps, start_step, augmentation)
    if (label_smoothing or mixing) and classes is None:
        raise ValueError(
            "`classes` must be the number of classes where labels are smoothed or "
            f"mixed. Received: classes=None, label_smoothing={label_smoothing}, "
            f"mixing={mixing}."
        )
    first, end = start_step * batch_size, steps * batch_size
    whole = (0, 1)
    # What is loaded is the part at once, or it is taken when the batch is finished.
    early, late = (whole, share) if erasing or mixing else (share, whole)
    one_by_one = (
        rand_augment is not None
        or bool(image_sizes)
        or isinstance(augmentation, ScaleCropFlip | InceptionCrop)
    )
    often = (end - first) // early[1] > examples.size
    pixels = None if one_by_one else _pixels(examples, preprocessing, keep=often)
    if pixels is not None:
        batches = (
            streams.permutations(examples.size, seed, first, end)
            .rebatch(batch_size, drop_remainder=True)
            .take(steps - start_step)
            .map(lambda indices: streams.part(indices, early))
            .map(pixels, num_parallel_calls=tf.data.AUTOTUNE)
        )
    else:
        load = _one_image(
            examples,
            preprocessing,
            augmentation,
            rand_augment=rand_augment,
            side_at=_side_at(image_sizes, steps, batch_size),
            seed=seed,
        )
        records = streams.shuffled_records(examples, seed, first, end)
        batches = (
            streams.own(
                tf.data.Dataset.zip(tf.data.Dataset.range(first, end), records),
                batch_size,
                early,
            )
            .map(load, num_parallel_calls=tf.data.AUTOTUNE)
            .batch(batch_size // early[1], drop_remainder=True)
        )
    finish = _whole_batch(
        augmentation, classes, label_smoothing, erasing, mixing, seed, early
    )
    if len(image_sizes) > 1 and (erasing or mixing):
        finish = _of_known_size(finish, image_sizes, steps)
    if finish is not None:
        step_numbers = tf.data.Dataset.range(start_step, steps)
        batches = tf.data.Dataset.zip(step_numbers, batches).map(
            finish, num_parallel_calls=tf.data.AUTOTUNE
        )
    if late != whole:
        batches = batches.map(
            lambda *batch: tuple(streams.part(tensor, late) for tensor in batch)
        )
    return _finished(batches, steps - start_step)


def evaluation_batches(
    examples, preprocessing, *, batch_size, one_hot=None, share=(0, 1), keep=False
):
    """Every example once, in order.

    Args:
        examples: `Examples` or `StreamedExamples`.
        preprocessing: A `Preprocessing`.
        batch_size: Images per batch; the last batch holds what is left.
        one_hot: Number of classes, for labels like those of a training with soft ones;
            `None` for integers.
        share: As of `training_batches`; the last batch must divide among the workers.
        keep: Whether to decode all images now, where their pixels fit into memory:
            for batches that are gone over more than once.

    Returns:
        `tf.data.Dataset` of pairs: images, float32 ``(batch, height, width,
        channels)``, normalized; labels, int32 ``(batch,)`` or float32 ``(batch,
        classes)``.

    Raises:
        ValueError: If `batch_size` isn't positive.
    """
    import tensorflow as tf

    _check(batch_size)
    pixels = _pixels(examples, preprocessing, keep=keep)
    if pixels is not None:
        batches = (
            tf.data.Dataset.range(examples.size)
            .batch(batch_size)
            .map(lambda indices: streams.part(indices, share))
            .map(pixels, num_parallel_calls=tf.data.AUTOTUNE)
        )
    else:
        if isinstance(examples, StreamedExamples):
            records = examples.read()
        else:
            records = streams.look_up(examples, tf.data.Dataset.range(examples.size))
        load = _one_image(examples, preprocessing)
        batches = (
            streams.own(records.enumerate(), batch_size, share)
            .map(load, num_parallel_calls=tf.data.AUTOTUNE)
            .batch(batch_size // share[1])
        )
    if one_hot is not None:
        batches = batches.map(lambda x, labels: (x, _soft(labels, one_hot, 0.0)))
    return _finished(batches, -(-examples.size // batch_size))


def _check(batch_size, steps=0, start_step=0, augmentation=None):
    if batch_size < 1:
        raise ValueError(
            f"`batch_size` must be positive. Received: batch_size={batch_size}."
        )
    if not 0 <= start_step <= steps:
        raise ValueError(
            "`start_step` must be between 0 and `steps`. "
            f"Received: start_step={start_step}, steps={steps}."
        )
    if not isinstance(augmentation, PadCropFlip | ScaleCropFlip | InceptionCrop | None):
        raise ValueError(
            "`augmentation` must be a PadCropFlip, a ScaleCropFlip, an InceptionCrop or "
            "None. "
            f"Received: augmentation={augmentation!r}."
        )


def _pixels(examples, preprocessing, keep=False):
    """A function from a vector of indices to a normalized batch, `None` for files.

    With ``keep``, files whose pixels fit into memory are decoded.
    """
    import tensorflow as tf

    if streams.is_pixels(examples):
        images, labels = streams.tensors(examples)
    elif keep and decoded.fits(examples, preprocessing):
        images, labels = decoded.tensors(examples, preprocessing)
        preprocessing = replace(preprocessing, resize=None)  # That is done.
    else:
        return None

    def batch(indices):
        pixels = resize_and_crop(tf.gather(images, indices), preprocessing)
        return normalize(pixels, preprocessing), tf.gather(labels, indices)

    return batch


def _size_at(image_sizes, steps):
    """A function from a step to the number of its size in ``image_sizes``."""
    import tensorflow as tf

    begins = first_steps(image_sizes, steps)[1:]
    if not begins:
        return lambda step: 0
    return lambda step: tf.reduce_sum(
        tf.cast(step >= tf.constant(begins, tf.int64), tf.int32)
    )


def _side_at(image_sizes, steps, batch_size):
    """A function from a position in the stream to the images' side, `None` for none."""
    import tensorflow as tf

    if not image_sizes:
        return None
    sides = [side for _, side in image_sizes]
    if len(sides) == 1:
        return lambda position: sides[0]
    number = _size_at(image_sizes, steps)
    return lambda position: tf.gather(sides, number(position // batch_size))


def _one_image(
    examples,
    preprocessing,
    augmentation=None,
    *,
    rand_augment=None,
    side_at=None,
    seed=0,
):
    """A function from a position in the stream and a record to a normalized image."""
    import tensorflow as tf

    operate = rand_augment and keras_layers.rand_augment(rand_augment)

    def load(position, record):
        image, label = record
        if not isinstance(examples, StreamedExamples) and examples.kind == "files":
            image = tf.io.read_file(image)
        size = preprocessing.size if side_at is None else (side_at(position),) * 2
        draw = partial(_draw, seed, position)
        if isinstance(augmentation, InceptionCrop):
            image = augment.inception_crop(
                image,
                draw(streams.AUGMENTATION),
                size=size,
                area=augmentation.area,
                aspect=augmentation.aspect,
                channels=preprocessing.channels,
            )
        elif isinstance(augmentation, ScaleCropFlip):
            if not streams.is_pixels(examples):
                image = decode(image, preprocessing.channels)
            image = augment.scale_crop_flip(
                image,
                draw(streams.AUGMENTATION),
                shorter_side=augmentation.shorter_side,
                crop=preprocessing.size,
            )
        elif streams.is_pixels(examples):
            image = resize_and_crop(image, preprocessing)
        else:
            image = prepare(image, preprocessing)
        if side_at is not None and not isinstance(augmentation, InceptionCrop):
            image = resize_window(image, size)
        image = _recolored(image, augmentation, draw)
        if operate:
            image = operate(image, draw(streams.OPERATIONS))
        return normalize(image, preprocessing), tf.cast(label, tf.int32)

    return load


def _draw(seed, position, purpose):
    return streams.draw_seed(seed, purpose, position)


def _recolored(image, augmentation, draw):
    if getattr(augmentation, "jitter", 0):
        image = augment.color_jitter(
            image, draw(streams.JITTER), strength=augmentation.jitter
        )
    if getattr(augmentation, "color", 0):
        image = augment.pca_color(
            image, draw(streams.COLOR), alpha_std=augmentation.color
        )
    return image


def _whole_batch(augmentation, classes, label_smoothing, erasing, mixing, seed, share):
    """A function from a step and a batch to a batch, or `None` if it would do nothing."""
    erase = erasing and keras_layers.erase(erasing)
    mix = mixing and keras_layers.mix(mixing)
    if not (isinstance(augmentation, PadCropFlip) or erase or classes):
        return None

    def finish(step, batch):
        images, labels = batch
        draw = partial(_draw, seed, step)
        if isinstance(augmentation, PadCropFlip):
            images = augment.pad_crop_flip(
                images,
                draw(streams.AUGMENTATION),
                padding=augmentation.padding,
                flip=augmentation.flip,
                mode=augmentation.mode,
                share=share,
            )
        if erase:
            images = erase(images, draw(streams.ERASING))
        if classes is not None:
            labels = _soft(labels, classes, label_smoothing)
        if mix:
            images, labels = mix(images, labels, draw(streams.MIXING))
        return images, labels

    return finish


def _of_known_size(finish, image_sizes, steps):
    """The same for batches whose size changes; Keras's layers want to know it."""
    import tensorflow as tf

    number = _size_at(image_sizes, steps)

    def finish_one(step, batch):
        def of(side):
            images, labels = batch
            known = tf.ensure_shape(images, (None, side, side, None))
            return finish(step, (known, labels))

        return tf.switch_case(
            number(step), [partial(of, side) for _, side in image_sizes]
        )

    return finish_one


def _soft(labels, classes, smoothing):
    """Integers to float32 ``(batch, classes)``: ``(1 - s) * one_hot + s / classes``."""
    import tensorflow as tf

    one_hot = tf.one_hot(labels, classes, dtype=tf.float32)
    return (1 - smoothing) * one_hot + smoothing / classes


def _finished(batches, count):
    """Adds what every data set needs at its end."""
    import tensorflow as tf

    options = tf.data.Options()
    options.deterministic = True
    return (
        batches.apply(tf.data.experimental.assert_cardinality(count))
        .with_options(options)
        .prefetch(tf.data.AUTOTUNE)
    )
