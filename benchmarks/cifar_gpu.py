"""ResNet-20 and ResNet-56 on CIFAR-10 by the paper's recipe, on JAX alone, by its own loop.

    python -m benchmarks.cifar_gpu --prepare TFDS_DIR --data cifar10.npz
    python -m benchmarks.cifar_gpu --data cifar10.npz --output DIR
        [--network resnet20] [--seed 0] [--seconds 500]

The first command needs TensorFlow and TensorFlow Datasets, and writes the images of our
splits (`keras_resnet.data.sources`) as they are. The second needs neither: network,
optimizer, schedule, batch size and normalization are those of the recipe, its augmentation
is our Keras layer, and all images lie on the device. In one call it makes the updates
between two validations, each by the training step that Keras's `fit` compiles.

It is not `keras-resnet train`: the batches and the crops are other draws, and there is no
run's folder. The record says so. After each validation everything is saved in DIR, from
where the same command goes on, with the same bits where the hardware repeats its own; after
`--seconds` it ends by itself. Nothing is chosen on validation or test images. The record,
DIR/NETWORK_cifar10_seedSEED.json, goes to results/cifar_gpu/ to be in the tables.
"""

import argparse
import json
import os
import pathlib
import statistics
import sys
import time

os.environ["KERAS_BACKEND"] = "jax"

import jax
import keras
import numpy as np

from keras_resnet.applications import create
from keras_resnet.config.adapted import (
    augmentation_in_words,
    with_batch_size,
    with_steps,
)
from keras_resnet.config.datasets import DATASETS
from keras_resnet.config.recipes import RECIPES
from keras_resnet.data.examples import Examples
from keras_resnet.data.images import per_pixel_mean
from keras_resnet.files import replace_file, write_json
from keras_resnet.layers import augmentation_layer
from keras_resnet.runs import environment
from keras_resnet.training.fit import compile_model

LOOP = (
    "The loop is its own, benchmarks/cifar_gpu.py: order and augmentation of the images "
    "are other draws than those of `keras-resnet train`."
)
SPLITS = ("train", "validation", "test")
AT_ONCE = 1_000  # Images, in evaluation.


def prepare(folder, path):
    """Writes the splits of the CIFAR-10 in a folder of TensorFlow Datasets to a file."""
    from keras_resnet.data import sources

    splits = sources.load("cifar10", data_dir=folder)
    about = {"name": splits.name, "version": splits.version, "sha256": splits.sha256}
    arrays = {"about": np.array(json.dumps(about))}
    for name in SPLITS:
        examples = getattr(splits, name)
        arrays[f"{name}_images"] = examples.images
        arrays[f"{name}_labels"] = examples.labels
    save(path, arrays)
    print(splits.counts)


def read(path):
    """What `prepare` wrote: images and labels by split, and what they are."""
    with np.load(path) as file:
        splits = {n: (file[f"{n}_images"], file[f"{n}_labels"]) for n in SPLITS}
        about = json.loads(str(file["about"]))
    counts = {name: len(labels) for name, (_, labels) in splits.items()}
    return splits, about | {"splits": counts}


def save(path, arrays):
    """Writes arrays to a file, which is whole or as it was before."""

    def write(new):
        with new.open("wb") as file:  # To a path NumPy would add `.npz`.
            np.savez(file, **arrays)

    replace_file(path, write)


class Training:
    """A model in training, all of whose state is in `state`.

    Args:
        recipe: A `Recipe` for images of 32x32 pixels.
        splits: Of `read`.
        seed: Of initialization, order and augmentation.
    """

    def __init__(self, recipe, splits, seed):
        keras.utils.set_random_seed(seed)
        self.recipe, self.seed, self.step = recipe, seed, 0
        preprocessing = DATASETS[recipe.dataset].preprocessing
        mean = preprocessing.mean
        if recipe.mean == "pixel":
            mean = per_pixel_mean(Examples(*splits["train"]))
        self.mean = np.asarray(mean, "float32")
        self.std = np.asarray(preprocessing.std, "float32")

        shape = splits["train"][0].shape[1:]
        self.network = create(recipe.network, input_shape=shape)
        images = keras.Input(shape)
        changed = augmentation_layer(recipe.augmentation, seed=seed)(images)
        self.model = keras.Model(images, self.network(changed))
        compile_model(self.model, recipe, xla=True)
        self.model.optimizer.build(self.model.trainable_variables)
        self.variables = (
            self.model.trainable_variables,
            self.model.non_trainable_variables,  # With the seeds of the augmentation.
            self.model.optimizer.variables,
            self.model.metrics_variables,
        )
        self.state = tuple([v.value for v in each] for each in self.variables)
        self.data = {name: jax.device_put(split) for name, split in splits.items()}
        self.updates = jax.jit(self._updates, donate_argnums=0)
        self.wrong = jax.jit(self._wrong)

    def normalized(self, images):
        """The images as the network wants them."""
        return (images.astype("float32") - self.mean) / self.std

    def _updates(self, state, data, batches):
        """Makes an update for each row of ``batches``, indices of images."""
        images, labels = data

        def update(state, indices):
            batch = self.normalized(images[indices]), labels[indices]
            logs, state = self.model.train_step(state, batch)
            return state, logs

        *variables, metrics = state
        zeros = jax.tree.map(jax.numpy.zeros_like, metrics)
        state, logs = jax.lax.scan(update, (*variables, zeros), batches)
        return state, {name: values[-1] for name, values in logs.items()}

    def train(self, count):
        """Makes so many updates; gives their mean loss and accuracy, and the seconds."""
        size, batch = len(self.data["train"][1]), self.recipe.batch_size
        first, end = self.step * batch, (self.step + count) * batch
        batches = order(size, self.seed, first, end).reshape(count, batch)
        started = time.perf_counter()
        self.state, logs = self.updates(self.state, self.data["train"], batches)
        logs = {name: float(value) for name, value in logs.items()}
        self.step += count
        return logs, time.perf_counter() - started

    def _wrong(self, trainable, other, images, labels):
        logits, _ = self.model.stateless_call(
            trainable, other, self.normalized(images), training=False
        )
        return (logits.argmax(-1) != labels).sum()

    def error(self, split):
        """The error on a split as it is, in percent."""
        images, labels = self.data[split]
        trainable, other, *_ = self.state
        wrong = sum(
            int(
                self.wrong(
                    trainable,
                    other,
                    images[begin : begin + AT_ONCE],
                    labels[begin : begin + AT_ONCE],
                )
            )
            for begin in range(0, len(labels), AT_ONCE)
        )
        return 100 * wrong / len(labels)

    def save_network(self, path):
        """Writes the network with the weights of now as a file of Keras."""
        for variables, values in zip(self.variables, self.state, strict=True):
            for variable, value in zip(variables, values, strict=True):
                variable.assign(value)
        replace_file(path, self.network.save)


def order(size, seed, first, end):
    """The image at each place of the stream of all epochs, each of which is a permutation.

    Args:
        size: Number of images.
        seed: The run's.
        first: The first of the places.
        end: The place after the last of them.
    """
    epochs = range(first // size, -(-end // size))
    stream = [np.random.default_rng((seed, e)).permutation(size) for e in epochs]
    begin = first - epochs[0] * size
    return np.concatenate(stream)[begin : begin + end - first].astype("int32")


def restore(path, training, settings):
    """Goes on from a checkpoint, if there is one; gives the curve until there."""
    if not path.exists():
        return []
    with np.load(path) as file:
        about = json.loads(str(file["about"]))
        if about["settings"] != settings:
            raise SystemExit(
                f"{path} must be of a run with these settings. Received: "
                f"{about['settings']}, now {settings}. Choose another --output."
            )
        leaves, shape = jax.tree.flatten(training.state)
        saved = [jax.device_put(file[f"{k}"]) for k in range(len(leaves))]
    training.state = jax.tree.unflatten(shape, saved)
    training.step = about["curve"][-1]["step"]
    print(f"Going on from update {training.step:,}.", flush=True)
    return about["curve"]


def keep(path, training, settings, curve):
    """Saves a checkpoint."""
    leaves = jax.device_get(jax.tree.leaves(training.state))
    about = np.array(json.dumps({"settings": settings, "curve": curve}))
    save(path, {"about": about} | {f"{k}": leaf for k, leaf in enumerate(leaves)})


def record_of(training, curve, settings):
    """What is kept of a finished run."""
    recipe, device = training.recipe, jax.devices()[0]
    speeds = [recipe.batch_size * row["updates"] / row["seconds"] for row in curve]
    accelerators = [] if device.platform == "cpu" else [device.device_kind]
    return {
        "date": time.strftime("%Y-%m-%d"),
        "recipe": recipe.name,
        **settings,
        # Of products of float32: by default GPUs may round their factors, to TF32.
        "matmul_precision": jax.config.jax_default_matmul_precision or "default",
        "augmentation": augmentation_in_words(recipe),
        "loop": LOOP,
        "deviations": [*recipe.deviations, LOOP],
        "target": recipe.target.error,
        "test_error": round(training.error("test"), 2),
        "validation_error": curve[-1]["validation_error"],
        "wall_seconds": round(sum(row["wall_seconds"] for row in curve), 1),
        "images_per_second": round(statistics.median(speeds), 1),
        **environment.describe(accelerators),
        "curve": curve,
    }


def train(options):
    """Trains to the end or until the time is over; gives the exit code."""
    started = before = time.perf_counter()
    keras.config.set_dtype_policy(options.precision)
    splits, about = read(options.data)
    recipe = RECIPES[f"{options.network}_cifar10"]
    recipe = with_steps(recipe, options.steps or recipe.steps)
    recipe = with_batch_size(recipe, options.batch_size or recipe.batch_size)
    every = options.every or recipe.validate_every
    name = f"{recipe.name}_seed{options.seed}"
    settings = {
        "network": options.network,
        "seed": options.seed,
        "steps": recipe.steps,
        "batch_size": recipe.batch_size,
        "validate_every": every,
        "precision": options.precision,
        "dataset": about,
    }
    training = Training(recipe, splits, options.seed)
    checkpoint = options.output / f"{name}.npz"
    curve = restore(checkpoint, training, settings)
    while training.step < recipe.steps:
        count = min(every, recipe.steps - training.step)
        logs, seconds = training.train(count)
        row = {
            "step": training.step,
            "updates": count,
            "loss": round(logs["loss"], 5),
            "training_error": round(100 * (1 - logs["accuracy"]), 3),
            "validation_error": round(training.error("validation"), 2),
            "seconds": round(seconds, 4),
        }
        now = time.perf_counter()
        curve.append(row | {"wall_seconds": round(now - before, 4)})
        before = now
        print(json.dumps(curve[-1]), flush=True)
        if not np.isfinite(logs["loss"]):
            raise SystemExit(
                "The loss must stay finite. The checkpoint before is kept."
            )
        keep(checkpoint, training, settings, curve)
        if training.step < recipe.steps and now - started > options.seconds:
            print("The time is over: the same command goes on from here.")
            return 1
    training.save_network(options.output / f"{name}.keras")
    record = record_of(training, curve, settings)
    write_json(options.output / f"{name}.json", record)
    print(f"{name}: test error {record['test_error']:.2f} %")
    return 0


def main(arguments=None):
    """Prepares the images or trains."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=pathlib.Path, required=True, metavar="FILE.npz")
    parser.add_argument("--prepare", metavar="TFDS_DIR")
    parser.add_argument("--output", type=pathlib.Path, metavar="DIR")
    parser.add_argument(
        "--network", choices=("resnet20", "resnet56"), default="resnet20"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, help="the recipe's by default")
    parser.add_argument("--batch-size", type=int, help="the recipe's by default")
    parser.add_argument("--every", type=int, help="updates between two validations")
    parser.add_argument(
        "--precision", choices=("float32", "mixed_bfloat16"), default="float32"
    )
    parser.add_argument("--seconds", type=float, default=float("inf"))
    options = parser.parse_args(arguments)
    if options.prepare:
        prepare(options.prepare, options.data)
        return 0
    if options.output is None:
        parser.error("--output must name the folder of checkpoint and record")
    return train(options)


if __name__ == "__main__":
    sys.exit(main())
