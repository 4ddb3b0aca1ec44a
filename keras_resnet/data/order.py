"""The order in which training sees its examples: a permutation for each epoch.

It is a function of the seed and the position in the stream alone, so that a resumed run
sees the same images; `pipelines` begins at the position of any update.
"""

from __future__ import annotations

from keras_resnet.data import records
from keras_resnet.data.examples import Examples, StreamedExamples
from keras_resnet.devices.host import Dataset, Tensor, as_written, tensorflow

# What a random draw is for; keeps the draws of equal numbers apart.
SHUFFLING, AUGMENTATION, COLOR, JITTER, OPERATIONS, ERASING, MIXING = range(7)


def is_pixels(examples: Examples | StreamedExamples) -> bool:
    """Tells whether examples are decoded images of one size, in memory."""
    return not isinstance(examples, StreamedExamples) and examples.kind == "pixels"


def draw_seed(seed: int, purpose: int, number: int | Tensor) -> Tensor:
    """Computes the seed, int64 ``(2,)``, of one random draw.

    Args:
        seed: The run's.
        purpose: What the draw is for, e.g. `SHUFFLING`.
        number: Of the draw among those of this purpose.
    """
    tf = tensorflow()
    return tf.random.fold_in(tf.constant((seed, purpose), tf.int64), number)


def split_seed(seed: Tensor, count: int) -> list[Tensor]:
    """Splits a seed, integer ``(2,)``, into seeds of as many draws."""
    tf = tensorflow()
    return tf.unstack(tf.random.split(seed, count))


def _epochs(size, first, end):
    """Epochs that hold the positions from ``first`` up to ``end`` of the stream.

    Returns:
        `tf.data.Dataset` of their numbers, and a function from such a number to how
        many of the epoch's examples lie before ``first``.
    """
    tf = tensorflow()
    first_epoch, done = divmod(first, size)
    numbers = tf.data.Dataset.range(first_epoch, -(-end // size))
    return numbers, lambda epoch: tf.where(epoch == first_epoch, done, 0)


def permutations(size: int, seed: int, first: int, end: int) -> Dataset:
    """Shuffles indices: an int64 vector for each epoch.

    Args:
        size: Number of examples.
        seed: The run's.
        first: Position in the stream of all epochs from which on they are wanted.
        end: Position before which the last of them lies.
    """
    tf = tensorflow()
    epochs, done = _epochs(size, first, end)

    def permutation(epoch):
        # Not tf.random.experimental.index_shuffle: wrong for vectors in TF 2.21.
        order = tf.random.experimental.stateless_shuffle(
            tf.range(size, dtype=tf.int64), draw_seed(seed, SHUFFLING, epoch)
        )
        return order[done(epoch) :]

    return epochs.map(as_written(permutation))


def shuffled_records(
    examples: Examples | StreamedExamples, seed: int, first: int, end: int
) -> Dataset:
    """Shuffles examples: pairs of an image, encoded image or path, and its label.

    Args:
        examples: A split's.
        seed: The run's.
        first: Position in the stream of all epochs from which on they are wanted.
        end: Position before which the last of them lies.
    """
    tf = tensorflow()
    if not isinstance(examples, StreamedExamples):
        indices = permutations(examples.size, seed, first, end)
        return look_up(examples, indices.unbatch())
    if examples.at is not None:
        indices = permutations(examples.size, seed, first, end)
        return records.read_at(indices.rebatch(records.AT_A_TIME), examples.at)

    epochs, done = _epochs(examples.size, first, end)
    stream = examples.read().apply(
        tf.data.experimental.assert_cardinality(examples.size)
    )

    def shuffled(epoch):
        # Else `shuffle` mixes the process's global seed into its own.
        tf.compat.v1.set_random_seed(1)
        epoch_seed = tf.random.stateless_uniform(
            [], draw_seed(seed, SHUFFLING, epoch), maxval=2**31 - 1, dtype=tf.int64
        )
        return stream.shuffle(
            examples.shuffle_buffer, seed=epoch_seed, reshuffle_each_iteration=False
        ).skip(tf.cast(done(epoch), tf.int64))

    return epochs.flat_map(as_written(shuffled))


def part(batch: Tensor, share: tuple[int, int]) -> Tensor:
    """Takes a worker's part of a batch; ``share`` is its number and how many there are."""
    tf = tensorflow()
    worker, workers = share
    if workers == 1:
        return batch
    size = tf.shape(batch)[0] // workers
    known = batch.shape[0] and batch.shape[0] // workers
    return tf.ensure_shape(
        batch[worker * size : (worker + 1) * size], (known, *batch.shape[1:])
    )


def own(records: Dataset, batch_size: int, share: tuple[int, int]) -> Dataset:
    """Keeps those pairs of position and record that lie in a worker's `part` of a batch."""
    worker, workers = share
    if workers == 1:
        return records
    return records.filter(
        lambda position, record: (
            position % batch_size // (batch_size // workers) == worker
        )
    )


def tensors(examples: Examples) -> tuple[Tensor, Tensor]:
    """Puts images and labels into host memory, where `tf.data` reads them."""
    tf = tensorflow()
    with tf.device("CPU:0"):
        return tf.constant(examples.for_tensorflow), tf.constant(examples.labels)


def look_up(examples: Examples, indices: Dataset) -> Dataset:
    """Makes pairs of an image, encoded image or path, and its label, from indices."""
    tf = tensorflow()
    images, labels = tensors(examples)
    return indices.map(
        as_written(lambda index: (tf.gather(images, index), labels[index]))
    )
