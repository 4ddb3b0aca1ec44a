"""From examples and functions to batches: shuffled, prefetched `tf.data`.

The training stream is a function of the seed and the step alone: epochs are
permutations, batches run across their ends, and each random draw gets a seed of its
own. So a run that goes on at step k sees what it would have seen without the break, bit
for bit, whatever the number of threads.
"""

from __future__ import annotations

from typing import Any

from keras_resnet.config.augmentations import InceptionCrop, ScaleCropFlip
from keras_resnet.config.preprocessing import Preprocessing
from keras_resnet.config.recipe import Recipe
from keras_resnet.data import order, threads, transforms
from keras_resnet.data.examples import Examples, StreamedExamples
from keras_resnet.devices.host import Dataset, as_written, tensorflow

WHOLE = (0, 1)  # The only one of one part.


def training_batches(
    examples: Examples | StreamedExamples,
    preprocessing: Preprocessing,
    recipe: Recipe,
    *,
    classes: int,
    seed: int,
    start_step: int = 0,
    share: tuple[int, int] = WHOLE,
) -> Any:
    """Makes batches to train on, one for each step.

    Images that are all prepared alike before they are augmented (no augmentation or
    a `PadCropFlip`) are decoded once, here, where their pixels fit into memory (see
    `cache`) and they would be decoded more than once otherwise.

    Args:
        examples: A split's.
        preprocessing: What the images go through.
        recipe: Its batch size, steps, augmentation, image sizes and what it does to
            labels count here.
        classes: Number of classes.
        seed: Determines order and augmentation, together with the step.
        start_step: Step of the first batch, where a run goes on.
        share: A worker's number and how many there are: of each batch it gets its part,
            the same images as they would be in the whole batch. It decodes no others,
            except where images are erased or mixed, which takes the whole batch, and
            where all are decoded once.

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
    # A worker loads its part alone, unless all of a batch is needed to finish it.
    needs_all = recipe.erasing or recipe.mixing
    early, late = (WHOLE, share) if needs_all else (share, WHOLE)
    first, end = start_step * batch_size, steps * batch_size
    load_batch = None
    if not _random_before_resizing(recipe):
        often = (end - first) // early[1] > examples.size
        load_batch = transforms.from_memory(examples, preprocessing, keep=often)
    if load_batch is not None:
        permutations = order.permutations(examples.size, seed, first, end)
        indices = permutations.rebatch(batch_size, drop_remainder=True)
        batches = _from_memory(indices.take(steps - start_step), load_batch, early)
    else:
        records = order.shuffled_records(examples, seed, first, end)
        numbered = tf.data.Dataset.zip(tf.data.Dataset.range(first, end), records)
        load = transforms.one_image(examples, preprocessing, recipe, seed=seed)
        batches = _one_by_one(numbered, load, batch_size, early, drop_remainder=True)
    finish = transforms.whole_batch(recipe, classes=classes, seed=seed, share=early)
    if finish is not None:
        numbered = tf.data.Dataset.zip(
            tf.data.Dataset.range(start_step, steps), batches
        )
        batches = numbered.map(
            as_written(finish), num_parallel_calls=threads.batches_at_a_time()
        )
    if late != WHOLE:
        batches = batches.map(
            as_written(
                lambda *batch: tuple(order.part(tensor, late) for tensor in batch)
            )
        )
    return finished(batches, steps - start_step)


def evaluation_batches(
    examples: Examples | StreamedExamples,
    preprocessing: Preprocessing,
    *,
    batch_size: int,
    one_hot: int | None = None,
    share: tuple[int, int] = WHOLE,
    keep: bool = False,
) -> Any:
    """Makes batches of all examples, each once and in order.

    Args:
        examples: A split's.
        preprocessing: What the images go through.
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
        ValueError: If ``batch_size`` isn't positive.
    """
    tf = tensorflow()
    if batch_size < 1:
        raise ValueError(
            f"`batch_size` must be positive. Received: batch_size={batch_size}."
        )
    load_batch = transforms.from_memory(examples, preprocessing, keep=keep)
    positions = tf.data.Dataset.range(examples.size)
    if load_batch is not None:
        batches = _from_memory(positions.batch(batch_size), load_batch, share)
    else:
        is_stream = isinstance(examples, StreamedExamples)
        records = examples.read() if is_stream else order.look_up(examples, positions)
        load = transforms.one_image(examples, preprocessing)
        batches = _one_by_one(records.enumerate(), load, batch_size, share)
    if one_hot is not None:
        batches = batches.map(
            as_written(lambda x, labels: (x, transforms.soft(labels, one_hot)))
        )
    return finished(batches, -(-examples.size // batch_size))


def _random_before_resizing(recipe):
    """Whether each image must be loaded by itself, since draws decide how."""
    return (
        recipe.rand_augment is not None
        or bool(recipe.image_sizes)
        or isinstance(recipe.augmentation, ScaleCropFlip | InceptionCrop)
    )


def _from_memory(indices, load_batch, share):
    """Batches of images in memory, from batches of their indices."""
    return indices.map(as_written(lambda batch: order.part(batch, share))).map(
        as_written(load_batch), num_parallel_calls=threads.batches_at_a_time()
    )


def _one_by_one(records, load, batch_size, share, *, drop_remainder=False):
    """Batches of images that are loaded one by one, from positions and records."""
    images = order.own(records, batch_size, share).map(
        as_written(load), num_parallel_calls=threads.images_at_a_time()
    )
    return images.batch(batch_size // share[1], drop_remainder=drop_remainder)


def finished(batches: Dataset, count: int) -> Dataset:
    """Adds what every data set needs at its end.

    Args:
        batches: A `tf.data.Dataset`.
        count: How many batches it has.
    """
    tf = tensorflow()
    counted = batches.apply(tf.data.experimental.assert_cardinality(count))
    return threads.without_autotuning(counted.prefetch(threads.PREFETCHED))
