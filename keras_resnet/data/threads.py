"""How many threads `tf.data` works with: fixed numbers, never its autotuning.

TensorFlow's autotuning has a thread of its own that sleeps for up to a minute. When an
iterator is destroyed, this thread is told to end before the flag that it checks is set
(TF 2.21, `CancellationManager::StartCancelWithStatus`). If it looks in between, it goes
back to sleep, and the whole process waits for it (docs/decisions/0012).
"""

from __future__ import annotations

from keras_resnet.devices import limits
from keras_resnet.devices.host import Dataset, tensorflow

# A batch of 256 photographs of 224x224 takes 154 MB, and as many batches as are computed
# at a time wait to be trained on.
MOST_BATCHES = 8
PREFETCHED = 2  # Batches that wait for the network.


def images_at_a_time() -> int:
    """Gives ``num_parallel_calls`` for a map over single images."""
    return limits.cores()


def batches_at_a_time() -> int:
    """Gives ``num_parallel_calls`` for a map over whole batches."""
    return min(limits.cores(), MOST_BATCHES)


def without_autotuning(dataset: Dataset) -> Dataset:
    """Gives a `tf.data.Dataset` of the same elements, in order, without a tuning thread.

    Everything that this package iterates over, or gives to a user, goes through here
    last. Whatever a user adds to it afterwards keeps the option.
    """
    tf = tensorflow()
    options = tf.data.Options()
    options.autotune.enabled = False
    options.deterministic = True
    return dataset.with_options(options)
