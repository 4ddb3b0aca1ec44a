"""Examples and functions to batches: shuffled, prefetched `tf.data`.

The training stream is a function of the seed and the step alone: epochs are
permutations, batches run across their ends, and each random draw gets a seed of its
own. So a run that goes on at step k sees what it would have seen without the break, bit
for bit, whatever the number of threads.
"""

from keras_resnet.config.augmentations import InceptionCrop, ScaleCropFlip
from keras_resnet.data import order, threads, transforms
from keras_resnet.data.examples import StreamedExamples
from keras_resnet.devices.host import tensorflow


def training_batches(
    examples, preprocessing, recipe, *, classes, seed, start_step=0, share=(0, 1)
):
    """Batches to train on, each step another.

    Args:
        examples: `Examples` or `StreamedExamples`.
        preprocessing: A `Preprocessing`.
        recipe: A `Recipe`: its batch size, steps, augmentation, image sizes and what
            it does to labels.
        classes: Number of classes.
        seed: Integer; determines order and augmentation together with the step.
        start_step: Step of the first batch, where a run goes on.
        share: A worker's number and how many there are: of each batch it gets its part,
            the same images as they would be in the whole batch. It decodes no others,
            except where images are erased or mixed, which takes the whole batch, and
            where all are decoded once.

    Images that are all prepared alike before they are augmented (no augmentation or
    a `PadCropFlip`) are decoded once, here, where their pixels fit into memory
    (`decoded`) and they would be decoded more often else.

    Returns:
        `tf.data.Dataset` of ``steps - start_step`` pairs: images, float32
        ``(batch_size // workers, height, width, channels)``, normalized, with height
        and width unknown if they change; labels, int32 ``(batch_size // workers,)``,
        or, where the recipe smooths or mixes them, float32 ``(batch_size // workers,
        classes)`` that sum to 1.

    Raises:
        ValueError: If the recipe has no step ``start_step``.
    """
    tf = tensorflow()
    batch_size, steps = recipe.batch_size, recipe.steps
    if not 0 <= start_step <= steps:
        raise ValueError(
            "`start_step` must be between 0 and the recipe's `steps`. "
            f"Received: start_step={start_step}, steps={steps}."
        )
    first, end = start_step * batch_size, steps * batch_size
    whole = (0, 1)
    # What is loaded is the part at once, or it is taken when the batch is finished.
    early, late = (whole, share) if recipe.erasing or recipe.mixing else (share, whole)
    one_by_one = (
        recipe.rand_augment is not None
        or bool(recipe.image_sizes)
        or isinstance(recipe.augmentation, ScaleCropFlip | InceptionCrop)
    )
    often = (end - first) // early[1] > examples.size
    load_batch = None
    if not one_by_one:
        load_batch = transforms.from_memory(examples, preprocessing, keep=often)
    if load_batch is not None:
        batches = (
            order.permutations(examples.size, seed, first, end)
            .rebatch(batch_size, drop_remainder=True)
            .take(steps - start_step)
            .map(lambda indices: order.part(indices, early))
            .map(load_batch, num_parallel_calls=threads.batches_at_a_time())
        )
    else:
        load = transforms.one_image(examples, preprocessing, recipe, seed=seed)
        records = order.shuffled_records(examples, seed, first, end)
        batches = (
            order.own(
                tf.data.Dataset.zip(tf.data.Dataset.range(first, end), records),
                batch_size,
                early,
            )
            .map(load, num_parallel_calls=threads.images_at_a_time())
            .batch(batch_size // early[1], drop_remainder=True)
        )
    finish = transforms.whole_batch(recipe, classes=classes, seed=seed, share=early)
    if finish is not None:
        step_numbers = tf.data.Dataset.range(start_step, steps)
        batches = tf.data.Dataset.zip(step_numbers, batches).map(
            finish, num_parallel_calls=threads.batches_at_a_time()
        )
    if late != whole:
        batches = batches.map(
            lambda *batch: tuple(order.part(tensor, late) for tensor in batch)
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
    tf = tensorflow()
    if batch_size < 1:
        raise ValueError(
            f"`batch_size` must be positive. Received: batch_size={batch_size}."
        )
    load_batch = transforms.from_memory(examples, preprocessing, keep=keep)
    if load_batch is not None:
        batches = (
            tf.data.Dataset.range(examples.size)
            .batch(batch_size)
            .map(lambda indices: order.part(indices, share))
            .map(load_batch, num_parallel_calls=threads.batches_at_a_time())
        )
    else:
        if isinstance(examples, StreamedExamples):
            records = examples.read()
        else:
            records = order.look_up(examples, tf.data.Dataset.range(examples.size))
        load = transforms.one_image(examples, preprocessing)
        batches = (
            order.own(records.enumerate(), batch_size, share)
            .map(load, num_parallel_calls=threads.images_at_a_time())
            .batch(batch_size // share[1])
        )
    if one_hot is not None:
        batches = batches.map(lambda x, labels: (x, transforms.soft(labels, one_hot)))
    return _finished(batches, -(-examples.size // batch_size))


def _finished(batches, count):
    """Adds what every data set needs at its end."""
    tf = tensorflow()
    counted = batches.apply(tf.data.experimental.assert_cardinality(count))
    return threads.without_autotuning(counted.prefetch(threads.PREFETCHED))
