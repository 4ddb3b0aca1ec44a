"""Seconds from `fit` to the end of the first update, ours beside a loop in PyTorch.

    python -m benchmarks.first_update [--rounds 3] [--only resnet110]

CIFAR's networks of 20, 110 and 1202 layers at 32x32, batch 16, float32, on a CPU. Ours:
`training.fit` on TensorFlow and on JAX, with its optimizer, callbacks and input pipeline.
Beside it plain `model.fit` of the same network with Keras's SGD, and akamaster's network
in a loop in PyTorch. The network stands already where the clock starts.

A first update is made once in a process, so each is one of its own, and the variants take
turns. Also noted are the median of the updates after it, the most memory that the process
had, and how many operations TensorFlow's graph of a training step has. Writes
results/first_update.json after every process, and goes on from there: what it holds of a
network is not measured again unless --again is given.
"""

import argparse
import json
import os
import pathlib
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import replace

RESULTS = pathlib.Path(__file__).parent / "results" / "first_update.json"
REPOSITORY = pathlib.Path(__file__).parents[1]
BATCH, SIDE, CLASSES, UPDATES = 16, 32, 10, 6
VARIANTS = {  # And the backend that each is on.
    "ours": "tensorflow",
    "our network, model.fit with Keras's SGD": "tensorflow",
    "ours, JAX": "jax",
    "akamaster, PyTorch": "torch",
}
BLOCKS = {"resnet20": 3, "resnet110": 18, "resnet1202": 200}  # Of each stage.
# Where Keras alone and JAX take many minutes and all memory.
LEFT_OUT = {"resnet1202": ("our network, model.fit with Keras's SGD", "ours, JAX")}


def ours(network, clock):
    """A few updates by `training.fit`; the model."""
    import keras

    from benchmarks.training import random_examples
    from keras_resnet.applications import create
    from keras_resnet.config.adapted import with_steps
    from keras_resnet.config.augmentations import PadCropFlip
    from keras_resnet.config.datasets import DATASETS
    from keras_resnet.config.recipes import RECIPES
    from keras_resnet.data import pipelines, sources
    from keras_resnet.training.faster import faster
    from keras_resnet.training.fit import FitData, compile_model, fit

    recipe = replace(
        with_steps(RECIPES["resnet20_fb_cifar10"], UPDATES),
        batch_size=BATCH,
        augmentation=PadCropFlip(padding=4),
    )
    # One batch validates, after the last update.
    images, labels = random_examples(SIDE, CLASSES, UPDATES * BATCH)
    examples = sources.Examples(images, labels)
    few = sources.Examples(images[:BATCH], labels[:BATCH])
    preprocessing = DATASETS["cifar10"].preprocessing
    model = faster(create(network, classes=CLASSES, input_shape=(SIDE, SIDE, 3)))
    # On JAX always, as `train` does: else each operation is compiled by itself.
    compile_model(model, recipe, xla=keras.backend.backend() == "jax")
    data = FitData(
        batches=lambda done: pipelines.training_batches(
            examples, preprocessing, recipe, classes=CLASSES, seed=0
        ),
        validation=pipelines.evaluation_batches(few, preprocessing, batch_size=BATCH),
        examples=examples.size,
    )
    clock.start()
    with tempfile.TemporaryDirectory() as folder:
        fit(
            model,
            recipe,
            data,
            pathlib.Path(folder),
            before_saving=[callback(clock)],
            verbose=0,
        )
    return model


def plain_keras(network, clock):
    """The same network by Keras alone; the model."""
    import keras

    from benchmarks.training import random_examples
    from keras_resnet.applications import create

    images, labels = random_examples(SIDE, CLASSES, UPDATES * BATCH)
    model = create(network, classes=CLASSES, input_shape=(SIDE, SIDE, 3))
    model.compile(
        keras.optimizers.SGD(0.1, momentum=0.9, weight_decay=1e-4),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
        jit_compile=False,
    )
    x = images.astype("float32") / 255
    clock.start()
    model.fit(x, labels, batch_size=BATCH, callbacks=[callback(clock)], verbose=0)
    return model


def pytorch(network, clock):
    """akamaster's network in a loop of PyTorch."""
    import torch

    from benchmarks.training import random_examples
    from tests.helpers.torch_references import Akamaster

    images, labels = random_examples(SIDE, CLASSES, UPDATES * BATCH)
    x = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
    y = torch.from_numpy(labels).long()
    model = Akamaster(BLOCKS[network]).train()
    optimizer = torch.optim.SGD(
        model.parameters(), 0.1, momentum=0.9, weight_decay=1e-4
    )
    clock.start()
    for images, labels in zip(x.split(BATCH), y.split(BATCH), strict=True):
        loss = torch.nn.functional.cross_entropy(model(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        clock.update_ends()


class Clock:
    """Notes when updates end."""

    def start(self):
        """Begins."""
        self.times = [time.perf_counter()]

    def update_ends(self):
        """Notes the time; the process has had the memory of an update now."""
        self.times.append(time.perf_counter())
        # Kilobytes on Linux, bytes on macOS.
        unit = 1 if sys.platform == "darwin" else 1024
        self.memory = unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def callback(clock):
    """A Keras callback that tells a clock when updates end."""
    import keras

    def update_ends(batch, logs):
        keras.ops.convert_to_numpy(logs["loss"])  # JAX computes beside Python.
        clock.update_ends()

    return keras.callbacks.LambdaCallback(on_train_batch_end=update_ends)


def operations(model):
    """How many operations TensorFlow's graph of a training step has."""
    import tensorflow as tf

    batch = tf.zeros((BATCH, SIDE, SIDE, 3)), tf.zeros((BATCH,), "int32")
    step = tf.function(model.train_step, autograph=False)
    return len(step.get_concrete_function(batch).graph.get_operations())


def measure(network, variant):
    """What one process finds of one variant."""
    make = {
        "ours": ours,
        "ours, JAX": ours,
        "akamaster, PyTorch": pytorch,
    }.get(variant, plain_keras)
    clock = Clock()
    model = make(network, clock)
    first, second = clock.times[:2]
    later = [b - a for a, b in zip(clock.times[1:], clock.times[2:], strict=False)]
    found = {
        "seconds": round(second - first, 2),
        "later_seconds": round(statistics.median(later), 3),
        "memory_gib": round(clock.memory / 2**30, 2),
    }
    if VARIANTS[variant] == "tensorflow":
        found["operations"] = operations(model)
    return found


def in_a_process(network, variant):
    """The same in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.first_update", "--one", network, variant],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        text=True,
        env={
            # As the command line sets it: see docs/decisions/0016.
            "TF_ENABLE_ONEDNN_OPTS": "1",
            **os.environ,
            "CUDA_VISIBLE_DEVICES": "-1",
            "KERAS_BACKEND": VARIANTS[variant],
        },
    )
    if done.returncode:
        return {"left_out": f"its process ended with {done.returncode}"}
    return json.loads(done.stdout.splitlines()[-1])


def main():
    """Measures what is missing, and writes it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", choices=BLOCKS)
    parser.add_argument("--again", action="store_true")
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure(*options.one)))
        return
    from keras_resnet.runs import environment

    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    for network in [options.only] if options.only else BLOCKS:
        if options.again or network not in results:
            date = time.strftime("%Y-%m-%d")
            results[network] = {"date": date, **environment.describe(), "variants": {}}
        found = results[network]["variants"]
        for number in range(options.rounds):
            for variant in VARIANTS:
                rows = found.setdefault(variant, [])
                if len(rows) > number or variant in LEFT_OUT.get(network, ()):
                    continue
                rows.append(in_a_process(network, variant))
                print(network, variant, rows[-1], flush=True)
                RESULTS.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
