"""How many threads `tf.data` works with: fixed numbers, never its autotuning.

TensorFlow's autotuning has a thread of its own that sleeps for up to a minute. When an
iterator is destroyed, this thread is told to end before the flag that it checks is set
(TF 2.21, `CancellationManager::StartCancelWithStatus`). If it looks in between, it goes
back to sleep, and the whole process waits for it (docs/decisions/0012).
"""

import os

from keras_resnet.devices.host import tensorflow

# A batch of 256 photographs of 224x224 takes 154 MB, and as many batches as are computed
# at a time wait to be trained on.
MOST_BATCHES = 8
PREFETCHED = 2  # Batches that wait for the network.


def usable_cores() -> int:
    """Logical cores that this process may use: fewer than all under `taskset`."""
    if hasattr(os, "sched_getaffinity"):  # Linux.
        return len(os.sched_getaffinity(0))
    return os.cpu_count()


def images_at_a_time() -> int:
    """``num_parallel_calls`` of a map over single images."""
    return usable_cores()


def batches_at_a_time() -> int:
    """``num_parallel_calls`` of a map over whole batches."""
    return min(usable_cores(), MOST_BATCHES)


def without_autotuning(dataset):
    """A `tf.data.Dataset` with the same elements, in order, and no tuning thread.

    Everything that this package iterates over, or gives to a user, goes through here
    last. Whatever a user adds to it afterwards keeps the option.
    """
    tf = tensorflow()
    options = tf.data.Options()
    options.autotune.enabled = False
    options.deterministic = True
    return dataset.with_options(options)
