"""The order in which a training run sees its examples: permutations, epoch by epoch.

It is a function of the seed and the position in the stream alone.
"""

from keras_resnet.data.examples import StreamedExamples
from keras_resnet.devices.host import tensorflow

# What a random draw is for; keeps the draws of equal numbers apart.
SHUFFLING, AUGMENTATION, COLOR, JITTER, OPERATIONS, ERASING, MIXING = range(7)


def is_pixels(examples) -> bool:
    """Whether the examples are decoded images of one size, in memory."""
    return not isinstance(examples, StreamedExamples) and examples.kind == "pixels"


def draw_seed(seed, purpose, number):
    """The seed, int64 (2,), of one random draw."""
    tf = tensorflow()
    return tf.random.fold_in(tf.constant((seed, purpose), tf.int64), number)


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


def permutations(size, seed, first, end):
    """One int64 vector of indices per epoch, from position ``first`` up to ``end``."""
    tf = tensorflow()
    epochs, done = _epochs(size, first, end)

    def permutation(epoch):
        # Not tf.random.experimental.index_shuffle: wrong for vectors in TF 2.21.
        order = tf.random.experimental.stateless_shuffle(
            tf.range(size, dtype=tf.int64), draw_seed(seed, SHUFFLING, epoch)
        )
        return order[done(epoch) :]

    return epochs.map(permutation)


def shuffled_records(examples, seed, first, end):
    """(image, encoded image or path; label) from position ``first`` on."""
    tf = tensorflow()
    if not isinstance(examples, StreamedExamples):
        indices = permutations(examples.size, seed, first, end)
        return look_up(examples, indices.unbatch())

    epochs, done = _epochs(examples.size, first, end)
    records = examples.read().apply(
        tf.data.experimental.assert_cardinality(examples.size)
    )

    def shuffled(epoch):
        # Else `shuffle` mixes the process's global seed into its own.
        tf.compat.v1.set_random_seed(1)
        epoch_seed = tf.random.stateless_uniform(
            [], draw_seed(seed, SHUFFLING, epoch), maxval=2**31 - 1, dtype=tf.int64
        )
        return records.shuffle(
            examples.shuffle_buffer, seed=epoch_seed, reshuffle_each_iteration=False
        ).skip(tf.cast(done(epoch), tf.int64))

    return epochs.flat_map(shuffled)


def part(batch, share):
    """A worker's part of a batch: ``share`` is its number and how many there are."""
    tf = tensorflow()
    worker, workers = share
    if workers == 1:
        return batch
    size = tf.shape(batch)[0] // workers
    known = batch.shape[0] and batch.shape[0] // workers
    return tf.ensure_shape(
        batch[worker * size : (worker + 1) * size], (known, *batch.shape[1:])
    )


def own(records, batch_size, share):
    """Of (position, record) those in a worker's `part` of their batch."""
    worker, workers = share
    if workers == 1:
        return records
    return records.filter(
        lambda position, record: (
            position % batch_size // (batch_size // workers) == worker
        )
    )


def tensors(examples):
    """Images and labels as tensors in host memory, where `tf.data` reads them."""
    tf = tensorflow()
    with tf.device("CPU:0"):
        return tf.constant(examples.images), tf.constant(examples.labels)


def look_up(examples, indices):
    """(image, encoded image or path; label) of the indices of a data set."""
    tf = tensorflow()
    images, labels = tensors(examples)
    return indices.map(lambda index: (tf.gather(images, index), labels[index]))
