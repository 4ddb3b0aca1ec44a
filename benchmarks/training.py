"""Training throughput of our trainer against its peers, on the same graphs.

    python -m benchmarks.training [--rounds 5] [--only resnet20] [--precision float32]

ResNet-20 at 32x32, batch 128, and ResNet-50 at 224x224, batch 16, v1 and v1.5, float32
and bfloat16. Ours: `training.fit` with its optimizer, callbacks and input pipeline. Peers
on the same graph: Keras's (keras.applications for v1, KerasHub for v1.5, our own network
for ResNet-20) under plain `model.fit` with Keras's SGD, with and without XLA, and
PyTorch's (akamaster's ResNet-20, torchvision's ResNet-50), eager and under
`torch.compile`. Peers get their images as arrays, without augmentation. What is not
installed is left out and said.

Each variant lives in a process of its own, and those of one precision take turns, so that
whatever else the machine does meets all of them. In each round the time from the end of
the first update to that of the last is taken, of all alike: what begins and ends a `fit`
(ours validates and writes a checkpoint, once in hundreds of updates) is no part of the
throughput. Writes results/training.json, a graph and a
precision at a time.
"""

import argparse
import json
import multiprocessing
import os
import pathlib
import statistics
import tempfile
import time
from dataclasses import replace

from benchmarks.peers import PEERS

RESULTS = pathlib.Path(__file__).parent / "results" / "training.json"
FLOAT32, BFLOAT16 = "float32", "mixed_bfloat16"
# Side, classes, batch, and updates in a round, of ten seconds or more: fewer of ResNet-50
# in bfloat16, which CPUs without units for it only emulate.
GRAPHS = {
    "resnet20": (32, 10, 128, {FLOAT32: 50, BFLOAT16: 50}),
    "resnet50": (224, 1000, 16, {FLOAT32: 5, BFLOAT16: 3}),
    "resnet50_v1_5": (224, 1000, 16, {FLOAT32: 5, BFLOAT16: 3}),
}


def random_examples(side, classes, count):
    """Images and labels; what they show does not change the speed."""
    import numpy as np

    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (count, side, side, 3), "uint8")
    return images, rng.integers(0, classes, count).astype("int32")


def clock(times):
    """A callback that notes the time after each update."""
    import keras

    return keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: times.append(time.perf_counter())
    )


class Ours:
    """A network through `training.fit`, by fb.resnet.torch's recipe."""

    def __init__(self, graph, precision):
        import keras

        from keras_resnet.applications import create
        from keras_resnet.config.augmentations import PadCropFlip
        from keras_resnet.config.recipes import RECIPES
        from keras_resnet.data import sources
        from keras_resnet.training.faster import faster
        from keras_resnet.training.fit import compile_model

        side, classes, batch_size, updates = GRAPHS[graph]
        self.steps = updates[precision]
        keras.config.set_dtype_policy(precision)
        recipe = "resnet20_fb_cifar10" if side == 32 else "resnet50_fb_imagenet"
        self.recipe = replace(
            RECIPES[recipe],
            batch_size=batch_size,
            augmentation=PadCropFlip(padding=4),
        )
        self.examples = sources.Examples(
            *random_examples(side, classes, self.steps * batch_size)
        )
        self.model = faster(create(graph, classes=classes, input_shape=(side, side, 3)))
        compile_model(self.model, self.recipe, xla=False)

    def round(self):
        """Trains the round's updates in a folder of its own; gives the time after each."""
        from keras_resnet.config.adapted import with_steps
        from keras_resnet.config.datasets import DATASETS
        from keras_resnet.data import pipelines, sources
        from keras_resnet.training.fit import FitData, fit

        self.model.optimizer.iterations.assign(0)
        recipe = with_steps(self.recipe, self.steps)
        side = self.examples.images.shape[1]
        data = DATASETS["cifar10" if side == 32 else "imagenet2012"]
        few = slice(recipe.batch_size)
        validation = sources.Examples(
            self.examples.images[few], self.examples.labels[few]
        )
        times = []
        with tempfile.TemporaryDirectory() as folder:
            fit(
                self.model,
                recipe,
                FitData(
                    batches=lambda done: pipelines.training_batches(
                        self.examples,
                        data.preprocessing,
                        recipe,
                        classes=data.classes,
                        seed=0,
                    ),
                    validation=pipelines.evaluation_batches(
                        validation, data.preprocessing, batch_size=recipe.batch_size
                    ),
                    examples=self.examples.size,
                ),
                pathlib.Path(folder),
                before_saving=[clock(times)],
                verbose=0,
            )
        return times


class PlainKeras:
    """`model.fit` on arrays with Keras's own SGD."""

    def __init__(self, graph, build, precision, jit_compile):
        import keras

        side, classes, self.batch_size, updates = GRAPHS[graph]
        keras.config.set_dtype_policy(precision)
        count = updates[precision] * self.batch_size
        images, self.y = random_examples(side, classes, count)
        self.x = images.astype("float32") / 255
        self.model = build(side, classes)
        self.model.compile(
            keras.optimizers.SGD(0.1, momentum=0.9),
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            metrics=["accuracy"],
            jit_compile=jit_compile,
        )

    def round(self):
        """Trains the round's updates; gives the time after each."""
        times = []
        self.model.fit(
            self.x,
            self.y,
            batch_size=self.batch_size,
            callbacks=[clock(times)],
            verbose=0,
        )
        return times


class Torch:
    """A loop in PyTorch, channels last."""

    def __init__(self, graph, build, precision, compiled):
        import torch

        side, classes, self.batch_size, updates = GRAPHS[graph]
        count = updates[precision] * self.batch_size
        images, labels = random_examples(side, classes, count)
        self.x = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
        self.x = self.x.contiguous(memory_format=torch.channels_last)
        self.y = torch.from_numpy(labels).long()
        self.model = build(classes).to(memory_format=torch.channels_last).train()
        self.call = torch.compile(self.model) if compiled else self.model
        self.optimizer = torch.optim.SGD(
            self.model.parameters(), 0.1, momentum=0.9, weight_decay=1e-4
        )
        self.precision = precision

    def round(self):
        """Trains the round's updates; gives the time after each."""
        import torch

        times = []
        half = self.precision == BFLOAT16
        for x, y in zip(
            self.x.split(self.batch_size), self.y.split(self.batch_size), strict=True
        ):
            with torch.autocast("cpu", torch.bfloat16, enabled=half):
                loss = torch.nn.functional.cross_entropy(self.call(x).float(), y)
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            times.append(time.perf_counter())
        return times


def variants(graph, precision):
    """Name and constructor, with its arguments, of everything that is timed."""
    keras, torch = PEERS[graph]
    made = {"ours": (Ours, graph, precision)}
    for xla in (False, True):
        name = f"{keras[0]}{', XLA' if xla else ''}"
        made[name] = (PlainKeras, graph, keras[1], precision, xla)
    for compiled in (False, True):
        name = f"{torch[0]}{', compiled' if compiled else ''}"
        made[name] = (Torch, graph, torch[1], precision, compiled)
    return made


def work(connection, kind, graph, *options):
    """One variant in its process: makes a round whenever it is asked to."""
    # As the command line sets it: see docs/decisions/0016.
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    os.environ["CUDA_VISIBLE_DEVICES"] = "-1"  # PyTorch's side is on the CPU.
    try:
        variant = kind(graph, *options)
        variant.round()  # Traces and compiles.
    except Exception as error:
        connection.send(f"{type(error).__name__}: {error}".splitlines()[0])
        return
    connection.send(None)
    _, _, batch_size, _ = GRAPHS[graph]
    while connection.recv():
        times = variant.round()
        connection.send((len(times) - 1) * batch_size / (times[-1] - times[0]))


def measure(graph, precision, rounds):
    """Median speeds of the variants of a graph, and why the others have none."""
    context = multiprocessing.get_context("spawn")
    workers, failed = {}, {}
    for name, constructor in variants(graph, precision).items():
        ours, theirs = context.Pipe()
        process = context.Process(target=work, args=(theirs, *constructor), daemon=True)
        process.start()
        theirs.close()  # Else nobody hears of a process that was killed for memory.
        try:
            error = ours.recv()
        except EOFError:
            error = "its process was killed"
        print(graph, precision, name, error or "is ready", flush=True)
        if error:
            failed[name] = error
        else:
            workers[name] = ours
    speeds = {name: [] for name in workers}
    for _ in range(rounds):
        for name, connection in workers.items():
            connection.send(True)
            speeds[name].append(connection.recv())
            print(graph, precision, name, round(speeds[name][-1], 1), flush=True)
    for connection in workers.values():
        connection.send(False)
    for process in multiprocessing.active_children():
        process.join()
    return {name: round(statistics.median(s), 2) for name, s in speeds.items()}, failed


def main():
    """Times the variants in turn and writes the medians."""
    from keras_resnet.runs import environment

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", choices=GRAPHS)
    parser.add_argument("--precision", choices=(FLOAT32, BFLOAT16))
    options = parser.parse_args()
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    for graph in [options.only] if options.only else GRAPHS:
        chosen = [options.precision] if options.precision else [FLOAT32, BFLOAT16]
        for precision in chosen:  # All at once do not fit into memory.
            speeds, left_out = measure(graph, precision, options.rounds)
            best = max(speed for name, speed in speeds.items() if name != "ours")
            results.setdefault(graph, {})[precision] = {
                "date": time.strftime("%Y-%m-%d"),
                **environment.describe(),
                "rounds": options.rounds,
                "images_per_second": speeds,
                "left_out": left_out,
                "ratio_to_best_peer": round(speeds["ours"] / best, 3),
            }
            RESULTS.write_text(json.dumps(results, indent=2) + "\n")
            print(graph, precision, json.dumps(speeds, indent=2))


if __name__ == "__main__":
    main()
