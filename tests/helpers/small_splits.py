"""The bundled data set, cut."""

from dataclasses import replace

import numpy as np

from keras_resnet.data import sources


def small_splits():
    """The bundled set with fewer images, so that a run takes seconds."""
    whole = sources.load("fashion_mini")

    def some(examples, n):
        chosen = np.random.default_rng(1).permutation(examples.size)[:n]
        return sources.Examples(examples.images[chosen], examples.labels[chosen])

    return replace(
        whole,
        train=some(whole.train, 160),
        validation=some(whole.validation, 32),
        test=some(whole.test, 40),
    )
