"""TensorFlow alone: freeing a tf.data iterator stands still where autotuning is on.

    python benchmarks/stalled_iterator.py

Makes 100 iterators, lets them grow 6 seconds old and frees them one by one, with and
without autotuning. Where it is on, a few take up to 60 s each; the script stops after
a minute. Why: docs/decisions/0012.
"""

import os
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import tensorflow as tf

for enabled in (False, True):
    options = tf.data.Options()
    options.autotune.enabled = enabled
    numbers = tf.data.Dataset.range(10**9).map(abs, num_parallel_calls=2)
    iterators = [iter(numbers.with_options(options)) for _ in range(100)]
    for iterator in iterators:
        next(iterator)
    del iterator
    time.sleep(6)
    slow, freed, begun = [], 0, time.perf_counter()
    while iterators and time.perf_counter() - begun < 60:
        started = time.perf_counter()
        iterators.pop()
        seconds = time.perf_counter() - started
        freed += 1
        if seconds > 0.5:
            slow.append(round(seconds, 1))
    print(f"autotuning {enabled}: {freed} freed, slow ones took {slow} s", flush=True)
    if enabled:
        os._exit(0)  # Those that are left would be freed at the end.
