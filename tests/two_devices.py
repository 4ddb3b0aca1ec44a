"""Trains 8 updates on one and on two logical CPU devices, and compares.

Run by `test_strategy.py` in a process of its own, because logical devices can be
configured only before TensorFlow computes anything. Prints one JSON object.
"""

import json
import sys

import keras
import numpy as np
import tensorflow as tf

from keras_resnet.config.recipes import Recipe, StepDecay
from keras_resnet.config.spec import ResNetSpec, doubling
from keras_resnet.models import resnet
from keras_resnet.training import strategy
from keras_resnet.training.fit import compile_model

STEPS, BATCH = 8, 16
RECIPE = Recipe(
    network="resnet8",
    dataset="random",
    batch_size=BATCH,
    steps=STEPS,
    validate_every=STEPS,
    schedule=StepDecay(learning_rate=0.05, at=()),
    augmentation=None,
    target=None,
    source="test",
)


def without_batch_norm():
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((16, 16, 3)),
            layers.Conv2D(16, 3, padding="same", activation="relu"),
            layers.Conv2D(32, 3, strides=2, padding="same", activation="relu"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(10),
        ]
    )


def with_batch_norm():
    spec = ResNetSpec(
        stem="cifar",
        stem_filters=16,
        stages=doubling("basic", (1, 1, 1), 16),
        shortcut="A",
        dataset="cifar10",
        paper="",
        source="",
    )
    return resnet.build(spec, input_shape=(16, 16, 3), classes=10)


def batches():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(STEPS * BATCH, 16, 16, 3)).astype("float32")
    y = rng.integers(0, 10, STEPS * BATCH)
    # Two halves of each batch that differ, so that replicas' statistics do too.
    x[np.arange(len(x)) % BATCH < BATCH // 2] += 1.0
    return tf.data.Dataset.from_tensor_slices((x, y)).batch(BATCH, drop_remainder=True)


def train(make, devices, initial, *, synchronized=False, callbacks=()):
    with strategy.distribution(devices):
        model = make()
        if initial is not None:
            model.set_weights(initial)
        if synchronized:
            strategy.synchronize_batch_norm(model, True)
        compile_model(model, RECIPE, xla=False)
        model.fit(batches(), epochs=1, verbose=0, callbacks=list(callbacks))
    return model


def largest_difference(a, b):
    pairs = zip(a.get_weights(), b.get_weights(), strict=True)
    return float(max(np.abs(x - y).max() for x, y in pairs))


def replicas_of(model):
    return [
        [replica.numpy() for replica in layer.moving_mean.value.values]
        for layer in strategy.batch_norms(model)
    ]


def main():
    two = strategy.find_devices("cpu:2")
    one = strategy.Devices("cpu", two.names[:1])
    plain, normed = without_batch_norm().get_weights(), with_batch_norm().get_weights()
    result = {}
    result["without"] = largest_difference(
        train(without_batch_norm, one, plain), train(without_batch_norm, two, plain)
    )
    result["synchronized"] = largest_difference(
        train(with_batch_norm, one, normed),
        train(with_batch_norm, two, normed, synchronized=True),
    )
    local = train(with_batch_norm, two, normed)
    before = replicas_of(local)
    result["replicas_differed"] = float(max(np.abs(a - b).max() for a, b in before))
    strategy.average_batch_norm(local)
    saved = [layer.moving_mean.numpy() for layer in strategy.batch_norms(local)]
    result["saved_is_mean"] = float(
        max(
            np.abs(value - np.mean(replicas, 0)).max()
            for value, replicas in zip(saved, before, strict=True)
        )
    )
    averaged = train(
        with_batch_norm, two, normed, callbacks=[strategy.AverageBatchNorm()]
    )
    result["callback_averaged"] = float(
        max(np.abs(a - b).max() for a, b in replicas_of(averaged))
    )
    json.dump(result, sys.stdout)


if __name__ == "__main__":
    main()
