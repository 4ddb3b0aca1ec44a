"""Examples and functions to batches: shuffled, prefetched `tf.data`.

The training stream is a function of the seed and the step alone: epochs are
permutations, batches run across their ends, and each random draw gets a seed of its
own. So a run that goes on at step k sees what it would have seen without the break, bit
for bit, whatever the number of threads.
"""

import contextlib

import keras

from keras_resnet.config.recipes import PadCropFlip, ScaleCropFlip
from keras_resnet.data import augmentation as augment
from keras_resnet.data.preprocessing import (
    decode,
    normalize,
    prepare,
    resize_and_crop,
)
from keras_resnet.data.sources import StreamedExamples

# What a random draw is for; keeps the draws of equal numbers apart.
SHUFFLING, AUGMENTATION, COLOR = range(3)


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


def training_batches(
    examples, preprocessing, augmentation, *, batch_size, seed, steps, start_step=0
):
    """Batches to train on, each step another.

    Args:
        examples: `Examples` or `StreamedExamples`.
        preprocessing: A `Preprocessing`.
        augmentation: A `PadCropFlip` or `ScaleCropFlip` of `config/recipes.py`, or
            `None`.
        batch_size: Images per batch.
        seed: Integer; determines order and augmentation together with the step.
        steps: Steps of the whole run.
        start_step: Step of the first batch, where a run goes on.

    Returns:
        `tf.data.Dataset` of ``steps - start_step`` pairs: images, float32
        ``(batch_size, height, width, channels)``, normalized; labels, int32
        ``(batch_size,)``.

    Raises:
        ValueError: If `batch_size`, `steps` or `augmentation` is impossible.
    """
    import tensorflow as tf

    _check(batch_size, steps, start_step, augmentation)
    step_numbers = tf.data.Dataset.range(start_step, steps)
    first, end = start_step * batch_size, steps * batch_size
    if _is_pixels(examples) and not isinstance(augmentation, ScaleCropFlip):
        batches = (
            _permutations(examples.size, seed, first, end)
            .rebatch(batch_size, drop_remainder=True)
            .take(steps - start_step)
            .map(
                _pixel_batch(examples, preprocessing),
                num_parallel_calls=tf.data.AUTOTUNE,
            )
        )
    else:
        records = _shuffled_records(examples, seed, first, end)
        batches = (
            tf.data.Dataset.zip(tf.data.Dataset.range(first, end), records)
            .map(
                _one_image(examples, preprocessing, augmentation, seed),
                num_parallel_calls=tf.data.AUTOTUNE,
            )
            .batch(batch_size, drop_remainder=True)
        )
    if isinstance(augmentation, PadCropFlip):
        batches = tf.data.Dataset.zip(step_numbers, batches).map(
            lambda step, batch: (
                augment.pad_crop_flip(
                    batch[0],
                    _seed(seed, AUGMENTATION, step),
                    padding=augmentation.padding,
                    flip=augmentation.flip,
                ),
                batch[1],
            ),
            num_parallel_calls=tf.data.AUTOTUNE,
        )
    return _finished(batches, steps - start_step)


def evaluation_batches(examples, preprocessing, *, batch_size):
    """Every example once, in order.

    Args:
        examples: `Examples` or `StreamedExamples`.
        preprocessing: A `Preprocessing`.
        batch_size: Images per batch; the last batch holds what is left.

    Returns:
        `tf.data.Dataset` of pairs: images, float32 ``(batch, height, width,
        channels)``, normalized; labels, int32 ``(batch,)``.

    Raises:
        ValueError: If `batch_size` isn't positive.
    """
    import tensorflow as tf

    _check(batch_size)
    if _is_pixels(examples):
        batches = (
            tf.data.Dataset.range(examples.size)
            .batch(batch_size)
            .map(
                _pixel_batch(examples, preprocessing),
                num_parallel_calls=tf.data.AUTOTUNE,
            )
        )
    else:
        if isinstance(examples, StreamedExamples):
            records = examples.read()
        else:
            records = _look_up(examples, tf.data.Dataset.range(examples.size))
        load = _one_image(examples, preprocessing)
        batches = records.map(
            lambda image, label: load(0, (image, label)),
            num_parallel_calls=tf.data.AUTOTUNE,
        ).batch(batch_size)
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
    if not isinstance(augmentation, PadCropFlip | ScaleCropFlip | None):
        raise ValueError(
            "`augmentation` must be a PadCropFlip, a ScaleCropFlip or None. "
            f"Received: augmentation={augmentation!r}."
        )


def _is_pixels(examples):
    return not isinstance(examples, StreamedExamples) and examples.kind == "pixels"


def _seed(seed, purpose, number):
    """The seed, int64 (2,), of one random draw."""
    import tensorflow as tf

    return tf.random.fold_in(tf.constant((seed, purpose), tf.int64), number)


def _epochs(size, first, end):
    """Epochs that hold the positions from ``first`` up to ``end`` of the stream.

    Returns:
        `tf.data.Dataset` of their numbers, and a function from such a number to how
        many of the epoch's examples lie before ``first``.
    """
    import tensorflow as tf

    first_epoch, done = divmod(first, size)
    numbers = tf.data.Dataset.range(first_epoch, -(-end // size))
    return numbers, lambda epoch: tf.where(epoch == first_epoch, done, 0)


def _permutations(size, seed, first, end):
    """One int64 vector of indices per epoch."""
    import tensorflow as tf

    epochs, done = _epochs(size, first, end)

    def permutation(epoch):
        # Not tf.random.experimental.index_shuffle: wrong for vectors in TF 2.21.
        order = tf.random.experimental.stateless_shuffle(
            tf.range(size, dtype=tf.int64), _seed(seed, SHUFFLING, epoch)
        )
        return order[done(epoch) :]

    return epochs.map(permutation)


def _shuffled_records(examples, seed, first, end):
    """(image, encoded image or path; label) from position ``first`` on."""
    import tensorflow as tf

    if not isinstance(examples, StreamedExamples):
        indices = _permutations(examples.size, seed, first, end)
        return _look_up(examples, indices.unbatch())

    epochs, done = _epochs(examples.size, first, end)
    records = examples.read().apply(
        tf.data.experimental.assert_cardinality(examples.size)
    )

    def shuffled(epoch):
        # Else `shuffle` mixes the process's global seed into its own.
        tf.compat.v1.set_random_seed(1)
        epoch_seed = tf.random.stateless_uniform(
            [], _seed(seed, SHUFFLING, epoch), maxval=2**31 - 1, dtype=tf.int64
        )
        return records.shuffle(
            examples.shuffle_buffer, seed=epoch_seed, reshuffle_each_iteration=False
        ).skip(tf.cast(done(epoch), tf.int64))

    return epochs.flat_map(shuffled)


def _tensors(examples):
    """Images and labels as tensors in host memory, where `tf.data` reads them."""
    import tensorflow as tf

    with tf.device("CPU:0"):
        return tf.constant(examples.images), tf.constant(examples.labels)


def _look_up(examples, indices):
    import tensorflow as tf

    images, labels = _tensors(examples)
    return indices.map(lambda index: (tf.gather(images, index), labels[index]))


def _pixel_batch(examples, preprocessing):
    """A function from a vector of indices to a normalized batch."""
    import tensorflow as tf

    images, labels = _tensors(examples)

    def batch(indices):
        pixels = resize_and_crop(tf.gather(images, indices), preprocessing)
        return normalize(pixels, preprocessing), tf.gather(labels, indices)

    return batch


def _one_image(examples, preprocessing, augmentation=None, seed=0):
    """A function from a position in the stream and a record to a normalized image."""
    import tensorflow as tf

    def load(position, record):
        image, label = record
        if not isinstance(examples, StreamedExamples) and examples.kind == "files":
            image = tf.io.read_file(image)
        if isinstance(augmentation, ScaleCropFlip):
            if not _is_pixels(examples):
                image = decode(image, preprocessing.channels)
            image = augment.scale_crop_flip(
                image,
                _seed(seed, AUGMENTATION, position),
                shorter_side=augmentation.shorter_side,
                crop=preprocessing.size,
            )
            if augmentation.color:
                image = augment.pca_color(
                    image,
                    _seed(seed, COLOR, position),
                    alpha_std=augmentation.color,
                )
        else:
            image = prepare(image, preprocessing)
        return normalize(image, preprocessing), tf.cast(label, tf.int32)

    return load


def _finished(batches, count):
    """Adds what every data set needs at its end."""
    import tensorflow as tf

    options = tf.data.Options()
    options.deterministic = True
    # Under several workers, each takes its part of every batch; the default tries to
    # distribute files first, and warns that there are none.
    options.experimental_distribute.auto_shard_policy = (
        tf.data.experimental.AutoShardPolicy.DATA
    )
    return (
        batches.apply(tf.data.experimental.assert_cardinality(count))
        .with_options(options)
        .prefetch(tf.data.AUTOTUNE)
    )
