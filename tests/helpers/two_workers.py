"""Trains 9 updates on made-up images, as one of several workers or alone.

Run by `test_workers.py` in processes of their own, whose environment names the workers.
Arguments: a folder for checkpoints and, in the end, the chief's ``weights.npz``; whether
the network has batch norms; seconds to wait at each update; devices of each worker.
Its log has a line for each update.
"""

import dataclasses
import pathlib
import sys
import time

import keras
import numpy as np

from keras_resnet.__main__ import main as command_line
from keras_resnet.config.augmentations import PadCropFlip
from keras_resnet.config.preprocessing import Preprocessing
from keras_resnet.config.recipe import Recipe, WeightAverage
from keras_resnet.config.schedules import StepDecay
from keras_resnet.data import pipelines, sources
from keras_resnet.devices import distribute, find, workers
from keras_resnet.training import batch_norm, saving
from keras_resnet.training.fit import FitData, compile_model, fit
from keras_resnet.training.steps import trainer

BATCH = 16
saving.ASKED_EVERY = 5  # Not a multiple of the updates between validations.
RECIPE = Recipe(
    network="resnet8",
    dataset="random",
    batch_size=BATCH,
    steps=9,
    validate_every=3,
    schedule=StepDecay(learning_rate=0.05, at=()),
    augmentation=PadCropFlip(padding=2),
    target=None,
    source="test",
)
PREPARE = Preprocessing(
    channels=3, resize=None, size=(8, 8), mean=(128.0,) * 3, std=(64.0,) * 3
)


def network(normed):
    layers = keras.layers
    norm = layers.BatchNormalization if normed else layers.Identity
    return keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            layers.Conv2D(16, 3, padding="same"),
            norm(),
            layers.ReLU(),
            layers.Conv2D(32, 3, strides=2, padding="same"),
            norm(),
            layers.GlobalAveragePooling2D(),
            layers.Dense(10),
        ]
    )


class Slow(keras.callbacks.Callback):
    """Says that an update is done, and waits."""

    def __init__(self, seconds):
        super().__init__()
        self.seconds = seconds

    def on_train_batch_end(self, batch, logs=None):
        print("An update is done.", flush=True)
        time.sleep(self.seconds)


def several_cpus(count):
    """Gives each worker logical CPUs, in place of GPUs.

    `MultiWorkerMirroredStrategy` takes as many GPUs as it is told, but one CPU: here it
    is told of GPUs that aren't there, and gets CPUs for them.
    """
    if count == 1 or keras.backend.backend() == "jax":
        return find.find_devices(f"cpu:{count}" if count > 1 else "all")
    import tensorflow as tf
    from tensorflow.python.distribute import collective_all_reduce_strategy as engine

    extended, visible = (
        engine.CollectiveAllReduceExtended,
        tf.config.get_visible_devices,
    )
    local_devices = extended._initialize_local_devices

    def devices(self, resolver, worker):
        gpus, _ = local_devices(self, resolver, worker)
        return tuple(gpu.replace("GPU", "CPU") for gpu in gpus), "CPU"

    find._cpus("tensorflow", count)
    extended._initialize_local_devices = devices
    tf.config.get_visible_devices = lambda kind=None: (
        ["a GPU"] * count if kind == "GPU" else visible(kind)
    )
    hardware = find.find_devices("all")
    names = tuple(f"cpu:{i}" for i in range(count))
    return dataclasses.replace(hardware, names=names)


def train(folder, kind, seconds, devices):
    """Trains; a ``kind`` of "plain" has no batch norm, "averaged" an unsynchronized one."""
    normed, recipe = kind != "plain", RECIPE
    if kind == "averaged":
        recipe = dataclasses.replace(RECIPE, average=WeightAverage(decay=0.5, every=1))
    hardware = several_cpus(devices)
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (64, 8, 8, 3), np.uint8)
    labels = rng.integers(0, 10, 64).astype("int32")
    images[labels % 2 == 0] //= 2
    examples = sources.Examples(images, labels)
    share = hardware.worker, hardware.workers
    folder.mkdir(exist_ok=True)

    def batches(done):
        stream = pipelines.training_batches(
            examples,
            PREPARE,
            recipe,
            classes=10,
            seed=0,
            start_step=done,
            share=share,
        )
        return distribute.placed(stream, hardware)

    keras.utils.set_random_seed(0)
    with distribute.distribution(hardware):
        model = network(normed)
        if kind == "normed" and keras.backend.backend() == "tensorflow":
            batch_norm.synchronize(model, True)
        initial = model.get_weights()
        model = trainer(model, hardware, xla=False)
        compile_model(model, recipe, xla=keras.backend.backend() == "jax")
        validation = pipelines.evaluation_batches(
            examples, PREPARE, batch_size=32, share=share
        )
        fit(
            model,
            recipe,
            FitData(batches, distribute.placed(validation, hardware), 64),
            folder,
            devices=hardware,
            before_saving=[Slow(seconds), *batch_norm.replica_callbacks(hardware)],
            verbose=0,
        )
    workers.leave(hardware.workers)
    np.savez(folder / f"of_worker_{hardware.worker}.npz", *model.get_weights())
    if hardware.chief:
        np.savez(folder / "initial.npz", *initial)
        np.savez(folder / "weights.npz", *model.get_weights())
    distribute.end_together(hardware)


def main():
    folder, kind, seconds, devices = sys.argv[1:]
    # The command line's errors and exit codes, around this in place of `train`.
    from keras_resnet.cli import training

    training.train = lambda options: train(
        pathlib.Path(folder), kind, float(seconds), int(devices)
    )
    sys.exit(command_line(["train"]))


if __name__ == "__main__":
    main()
