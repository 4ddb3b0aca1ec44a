"""Trains a small detector plainly and on two devices, or with XLA, as a user's script.

    python -m tests.helpers.two_detectors two|xla

Run by `test_replicas.py` in a process of its own, because logical devices can be configured
only before TensorFlow computes anything. Every anchor and every proposal is in the losses,
so that nothing is drawn at random. Prints one JSON object.
"""

import contextlib
import json
import sys
from dataclasses import replace

import keras
import numpy as np
import tensorflow as tf

from keras_resnet.detection import FasterRCNN
from tests.helpers.small_detectors import small_batch, small_row

STEPS, BATCH = 3, 4


def all_of_them():
    """A row in which samples are as many as there can be."""
    row = small_row()
    proposals = replace(
        row.proposals,
        samples=4096,
        before_suppression=(8, 8),
        after_suppression=(64, 16),
    )
    head = replace(row.box_head, samples=64, foreground_share=1.0)
    return replace(row, proposals=proposals, box_head=head)


def dataset():
    data = tf.data.Dataset.from_tensor_slices(small_batch(images=BATCH))
    return data.batch(BATCH, drop_remainder=True).repeat(STEPS)


def built(scope, initial, **options):
    with scope:
        # Frozen, since batch norm's statistics are those of each device's images.
        model = FasterRCNN(all_of_them(), frozen=True, seed=0)
        if initial is not None:
            model.set_weights(initial)
        model.compile(
            **{"optimizer": keras.optimizers.SGD(0.01, momentum=0.9)} | options
        )
    return model


def train(scope, initial, **options):
    model = built(scope, initial, **options)
    before = model.evaluate(dataset(), verbose=0, return_dict=True)["loss"]
    losses = model.fit(dataset(), epochs=2, verbose=0).history["loss"]
    found = model.predict(dataset(), verbose=0)
    return [before, *losses], model.get_weights(), found


def furthest(ones, others):
    pairs = zip(ones, others, strict=True)
    return float(max(np.abs(np.subtract(a, b)).max() for a, b in pairs))


def refused(scope, **options):
    try:
        built(scope, None, **options).fit(dataset(), verbose=0)
    except ValueError as error:
        return str(error)


def refusals(strategy):
    optimizer = keras.optimizers.SGD(0.1, global_clipnorm=1.0)
    return {
        "xla_refused": refused(strategy.scope(), jit_compile=True),
        "clipping_refused": refused(strategy.scope(), optimizer=optimizer),
    }


def main():
    cpu = tf.config.list_physical_devices("CPU")[0]
    device = tf.config.LogicalDeviceConfiguration()
    tf.config.set_logical_device_configuration(cpu, [device, device])
    alone, result = contextlib.nullcontext(), {}
    if sys.argv[1] == "two":
        strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
        result = refusals(strategy)
        keras.utils.set_random_seed(0)
    initial = built(alone, None).get_weights()
    losses, weights, found = train(alone, initial)
    result |= {"first_loss": losses[0], "learned": furthest(weights, initial)}
    if sys.argv[1] == "two":
        others = train(strategy.scope(), initial)
    else:
        others = train(alone, initial, jit_compile=True)
    result["losses"] = furthest([losses], [others[0]])
    result["weights"] = furthest(weights, others[1])
    result["boxes"] = furthest([found["boxes"]], [others[2]["boxes"]])
    json.dump(result, sys.stdout)


if __name__ == "__main__":
    main()
