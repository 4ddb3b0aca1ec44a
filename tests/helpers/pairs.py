"""Trains 4 updates on one and two logical CPU devices under pairs of options.

Run by `test_steps.py` in a process of its own, with names of pairs as arguments.
Prints one JSON object: the greatest difference of the weights from those of one device
in float32, and, under the name and ", averaged", that of their moving averages.
"""

import functools
import json
import os
import sys

import keras
import numpy as np
import tensorflow as tf

from keras_resnet.devices import distribute
from keras_resnet.devices.find import Devices, find_devices
from keras_resnet.training import batch_norm
from keras_resnet.training.averaging import AverageWeights
from keras_resnet.training.callbacks import Steps
from keras_resnet.training.faster import PointwiseConv2D, faster
from keras_resnet.training.fit import compile_model
from keras_resnet.training.steps import trainer
from tests.helpers import two_devices
from tests.helpers.two_devices import with_batch_norm, without_batch_norm

two_devices.STEPS = 4


def overflowing(batches):
    """The batches, the second with images in its second half that float16 can't hold.

    On two devices that half is the second one's.
    """

    def change(index, batch):
        images, labels = batch
        last = tf.range(two_devices.BATCH) >= two_devices.BATCH // 2
        spoilt = (index == 1) & last[:, None, None, None]
        return tf.where(spoilt, tf.cast(1e30, images.dtype), images), labels

    return batches.enumerate().map(change)


def train(
    make,
    devices,
    initial,
    *,
    xla=False,
    accumulate=1,
    synchronized=False,
    at_a_time=1,
    overflow=False,
):
    """The weights, and their moving averages."""
    steps = Steps(two_devices.STEPS)
    averages = AverageWeights(0.5, at_a_time, steps=steps, keep=False)
    with distribute.distribution(devices):
        model = make()
        model.set_weights(initial)
        if synchronized:
            batch_norm.synchronize(model, True)
        else:
            model = faster(model)
            pointwise = any(isinstance(one, PointwiseConv2D) for one in model.layers)
            in_bfloat16 = keras.config.dtype_policy().name == "mixed_bfloat16"
            assert pointwise == (in_bfloat16 and make is without_batch_norm)
        model = trainer(model, devices, xla=xla, accumulate=accumulate)
        compile_model(model, two_devices.RECIPE, xla=xla, steps_per_execution=at_a_time)
        batches = two_devices.batches()
        if overflow:
            batches = overflowing(batches)
        model.fit(batches, epochs=1, verbose=0, callbacks=[steps, averages])
    return model.get_weights(), averages.averages


def largest_difference(some, others):
    pairs = zip(some, others, strict=True)
    return float(max(np.abs(one - other).max() for one, other in pairs))


BOTH = {"xla": True, "accumulate": 2}
NORMED = {"make": with_batch_norm}
SYNCHRONIZED = NORMED | {"synchronized": True}
# By name: the dtype policy, what is compared with, the devices, and the options of `train`.
PAIRS = {
    "two devices": ("float32", "plain", 2, {}),
    "two devices, xla": ("float32", "plain", 2, {"xla": True}),
    "two devices, accumulate": ("float32", "plain", 2, {"accumulate": 2}),
    "two devices, xla, accumulate": ("float32", "plain", 2, BOTH),
    "one device, xla, accumulate": ("float32", "plain", 1, BOTH),
    "one device, steps per execution": ("float32", "plain", 1, {"at_a_time": 2}),
    # Averages are taken as often: their reference makes two updates at a time too.
    "two devices, steps per execution": ("float32", "in twos", 2, {"at_a_time": 2}),
    "two devices, xla, accumulate, steps per execution": (
        *("float32", "in twos", 2),
        BOTH | {"at_a_time": 2},
    ),
    "two devices, synchronized": ("float32", "normed", 2, SYNCHRONIZED),
    "two devices, synchronized, accumulate": (
        *("float32", "micro-batches", 2),
        SYNCHRONIZED | {"accumulate": 2},
    ),
    "local batch norm, xla against none": (
        "float32",
        "local",
        2,
        NORMED | {"xla": True},
    ),
    "two devices, mixed_bfloat16": ("mixed_bfloat16", "plain", 2, {}),
    "two devices, mixed_bfloat16, xla": ("mixed_bfloat16", "plain", 2, {"xla": True}),
    "two devices, mixed_bfloat16, accumulate": (
        *("mixed_bfloat16", "plain", 2),
        {"accumulate": 2},
    ),
    "two devices, mixed_bfloat16, xla, accumulate": (
        "mixed_bfloat16",
        "plain",
        2,
        BOTH,
    ),
    "two devices, mixed_bfloat16, synchronized": (
        *("mixed_bfloat16", "normed", 2),
        SYNCHRONIZED,
    ),
    "one device, mixed_float16": ("mixed_float16", "plain", 1, {}),
    "one device, mixed_float16, accumulate": (
        *("mixed_float16", "plain", 1),
        {"accumulate": 2},
    ),
    "one device, mixed_float16, xla": ("mixed_float16", "plain", 1, {"xla": True}),
    "two devices, mixed_float16": ("mixed_float16", "plain", 2, {}),
    # One update of the four is left out, on all devices, whoever saw the overflow.
    "one device, overflow": ("mixed_float16", "plain", 1, {"overflow": True}),
    "two devices, overflow": ("mixed_float16", "left out", 2, {"overflow": True}),
    "two devices, overflow, xla": (
        *("mixed_float16", "left out", 2),
        {"overflow": True, "xla": True},
    ),
}
# What pairs are compared with, in the same form.
REFERENCES = {
    # Keras's own step, except where batch norms see micro-batches.
    "plain": ("float32", 1, {}),
    "in twos": ("float32", 1, {"at_a_time": 2}),
    "normed": ("float32", 1, NORMED),
    "micro-batches": ("float32", 1, NORMED | {"accumulate": 2}),
    "local": ("float32", 2, NORMED),
    "left out": ("mixed_float16", 1, {"overflow": True}),
}


def main(names):
    """Prints the differences of the pairs of these names."""
    two = find_devices("cpu:2")
    devices = {1: Devices("cpu", two.names[:1]), 2: two}
    keras.utils.set_random_seed(1)
    initial = {
        make: make().get_weights() for make in (without_batch_norm, with_batch_norm)
    }

    def trained(policy, count, options):
        make = options.get("make", without_batch_norm)
        keras.config.set_dtype_policy(policy)
        options = {name: value for name, value in options.items() if name != "make"}
        return train(make, devices[count], initial[make], **options)

    @functools.cache
    def reference(name):
        return trained(*REFERENCES[name])

    found = {}

    def compare(name, some, others):
        for averaged, one, other in zip(("", ", averaged"), some, others, strict=True):
            found[name + averaged] = largest_difference(one, other)

    plain = initial[without_batch_norm]
    compare("moved", reference("plain"), (plain, plain))
    for name in names:
        policy, against, count, options = PAIRS[name]
        compare(name, reference(against), trained(policy, count, options))
    json.dump(found, sys.stdout)
    # TensorFlow 2.21 may hang in its own end after several fits under strategies in one
    # process whose updates were started at a time; after one, as of a run, it did not.
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1:])
