"""Training throughput of our trainer against a plain `model.fit` of the same net.

    python benchmarks/training.py [--steps 40] [--rounds 5]

ResNet-20 on images of CIFAR-10's size, batch 128, float32. Ours: the paper's recipe
with its augmentation, weight decay, schedule, callbacks and checkpoints. Plain: the
same graph, Keras's SGD, the images as arrays, no augmentation; with XLA and without.
The variants take turns, so that whatever else the machine does meets all of them.
Writes results/training.json.
"""

import argparse
import json
import os
import pathlib
import statistics
import tempfile
import time

# As the command line sets it: see docs/decisions/0005.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

import keras
import numpy as np

from keras_resnet.applications import create
from keras_resnet.config.datasets import DATASETS
from keras_resnet.config.recipes import RECIPES, with_steps
from keras_resnet.data import pipelines, sources
from keras_resnet.evaluation import records
from keras_resnet.training.fit import compile_model, fit

RESULTS = pathlib.Path(__file__).parent / "results" / "training.json"
RECIPE = RECIPES["resnet20_cifar10"]
WARM_UP = 5


def examples(count):
    """Random images of CIFAR-10's size; what they show does not change the speed."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (count, 32, 32, 3), "uint8")
    return sources.Examples(images, rng.integers(0, 10, count).astype("int32"))


class Ours:
    """The recipe through `training.fit`, validation left out of the time."""

    name = "keras_resnet, the paper's recipe"

    def __init__(self, data, steps):
        self.data, self.steps = data, steps
        self.model = create(RECIPE.network)
        self.prepare = DATASETS["cifar10"].preprocessing
        self.validation = pipelines.evaluation_batches(
            sources.Examples(data.images[:128], data.labels[:128]),
            self.prepare,
            batch_size=128,
        )
        compile_model(self.model, with_steps(RECIPE, 64_000), xla=False)
        self.fit(WARM_UP)

    def fit(self, steps):
        """Trains so many updates in a folder of its own."""
        done = int(keras.ops.convert_to_numpy(self.model.optimizer.iterations))
        self.model.optimizer.iterations.assign(0)
        recipe = with_steps(RECIPE, steps)
        with tempfile.TemporaryDirectory() as folder:
            fit(
                self.model,
                recipe,
                lambda start: pipelines.training_batches(
                    self.data,
                    self.prepare,
                    recipe.augmentation,
                    batch_size=recipe.batch_size,
                    seed=done,
                    steps=steps,
                ),
                self.validation,
                pathlib.Path(folder),
                examples=self.data.size,
                verbose=0,
            )


class Plain:
    """`model.fit` on arrays with Keras's own SGD."""

    def __init__(self, data, steps, jit_compile):
        self.name = f"model.fit, jit_compile={jit_compile}"
        self.x, self.y = data.images.astype("float32") / 255, data.labels
        self.model = create(RECIPE.network)
        self.model.compile(
            keras.optimizers.SGD(0.1, momentum=0.9),
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            metrics=["accuracy"],
            jit_compile=jit_compile,
        )
        self.fit(WARM_UP)

    def fit(self, steps):
        """Trains so many updates."""
        count = steps * RECIPE.batch_size
        self.model.fit(
            self.x[:count], self.y[:count], batch_size=RECIPE.batch_size, verbose=0
        )


def main():
    """Times the variants in turn and writes the medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    data = examples(options.steps * RECIPE.batch_size)
    variants = [
        Ours(data, options.steps),
        Plain(data, options.steps, jit_compile=False),
        Plain(data, options.steps, jit_compile=True),
    ]
    speeds = {variant.name: [] for variant in variants}
    for _ in range(options.rounds):
        for variant in variants:
            started = time.perf_counter()
            variant.fit(options.steps)
            seconds = time.perf_counter() - started
            speeds[variant.name].append(options.steps * RECIPE.batch_size / seconds)
            print(variant.name, round(speeds[variant.name][-1], 1), flush=True)
    medians = {name: round(statistics.median(s), 1) for name, s in speeds.items()}
    best_plain = max(v for name, v in medians.items() if name != Ours.name)
    result = {
        "date": time.strftime("%Y-%m-%d"),
        **records.environment(),
        "steps": options.steps,
        "rounds": options.rounds,
        "images_per_second": medians,
        "ratio_to_best_plain": round(medians[Ours.name] / best_plain, 3),
    }
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(medians), result["ratio_to_best_plain"])


if __name__ == "__main__":
    main()
