"""Trains 8 updates on one and on two logical CPU devices in float64, and compares.

Run by `test_strategy.py` in a process of its own, because logical devices can be
configured only before TensorFlow computes anything. Prints one JSON object.
"""

import json
import sys

import keras
import numpy as np
import tensorflow as tf

from keras_resnet.config.recipe import Recipe
from keras_resnet.config.schedules import StepDecay
from keras_resnet.config.spec import ResNetSpec, doubling
from keras_resnet.devices import distribute
from keras_resnet.devices.find import Devices, find_devices
from keras_resnet.models import resnet
from keras_resnet.training import batch_norm
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
            layers.Conv2D(32, 1, activation="relu"),  # In bfloat16 a `PointwiseConv2D`.
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
    x = rng.normal(size=(STEPS * BATCH, 16, 16, 3))
    y = rng.integers(0, 10, STEPS * BATCH)
    # Two halves of each batch that differ, so that replicas' statistics do too.
    x[np.arange(len(x)) % BATCH < BATCH // 2] += 1.0
    return tf.data.Dataset.from_tensor_slices((x, y)).batch(BATCH, drop_remainder=True)


def train(make, devices, initial, *, synchronized=False, callbacks=()):
    with distribute.distribution(devices):
        model = make()
        if initial is not None:
            model.set_weights(initial)
        if synchronized:
            batch_norm.synchronize(model, True)
        compile_model(model, RECIPE, xla=False)
        model.fit(batches(), epochs=1, verbose=0, callbacks=list(callbacks))
    return model


def largest_difference(a, b):
    pairs = zip(a.get_weights(), b.get_weights(), strict=True)
    return float(max(np.abs(x - y).max() for x, y in pairs))


def replicas_of(model):
    return [
        [replica.numpy() for replica in layer.moving_mean.value.values]
        for layer in batch_norm.batch_norms(model)
    ]


def main():
    # In float32, a rounding error that turns one ReLU off is 3e-3 after 8 updates.
    keras.config.set_floatx("float64")
    keras.utils.set_random_seed(0)
    two = find_devices("cpu:2")
    one = Devices("cpu", two.names[:1])
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
    batch_norm.averaging(local)()
    saved = [layer.moving_mean.numpy() for layer in batch_norm.batch_norms(local)]
    result["saved_is_mean"] = float(
        max(
            np.abs(value - np.mean(replicas, 0)).max()
            for value, replicas in zip(saved, before, strict=True)
        )
    )
    averaged = train(
        with_batch_norm, two, normed, callbacks=[batch_norm.AverageBatchNorm()]
    )
    result["callback_averaged"] = float(
        max(np.abs(a - b).max() for a, b in replicas_of(averaged))
    )
    json.dump(result, sys.stdout)


if __name__ == "__main__":
    main()
