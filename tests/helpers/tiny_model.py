"""A net that learns nothing, and batches for it."""

import keras
import numpy as np


def tiny_model():
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(16)])
    model.compile(
        keras.optimizers.SGD(0.1),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    return model


def batches(n, batch_size=4):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(n * batch_size, 3)).astype("float32")
    return x, rng.integers(0, 16, n * batch_size)
