"""Time of a loss landscape: ours beside a loop in PyTorch as loss-landscape's.

    python -m benchmarks.landscape [--run saved_models/quickstart_seed0] [--images 1000]
        [--points 4] [--grid 11] [--batch-size 64] [--rounds 3] [--data-dir DIR]

One trained network with the same weights, images and directions in all variants. Ours:
`analysis.surface` of the network with its batch norms folded. Theirs: what
tomgoldstein/loss-landscape's `plot_surface.crunch`, `net_plotter.set_weights` and
`evaluation.eval_loss` do at each point, in PyTorch with batch norm in evaluation mode,
batches of 128 of a `DataLoader` without transforms. And the same loop, better than it is
there, on batches that are made once, with channels last.

Each variant lives in a process of its own, and they take turns. A round has two times of
each variant: of `points` times `points` points near the middle, measured to their end by
all, and of a surface of `grid` times `grid` points from -1 to 1, of which ours leaves
those early that are far above the clip. One point before, which traces graphs, is not
timed. All must find the same losses, on the surface up to the clip, or nothing is kept.
Writes results/landscape.json after each round: medians of the wall time, and every round.
With two cores of Zen 2 a round takes about three and a half minutes.
"""

import argparse
import json
import multiprocessing
import os
import pathlib
import statistics
import time

import numpy as np

ROOT = pathlib.Path(__file__).parents[1]
RESULTS = pathlib.Path(__file__).parent / "results" / "landscape.json"
CLIP = 10.0
TOLERANCE = 1e-3  # Between losses of variants, as a part of the loss.
# How many times as fast as loss-landscape's loop ours is to be.
GOALS = {"point": 1.7, "surface": 4.0}
BATCH_SIZE = 128  # Theirs, as loss-landscape's default.
OURS = "keras_resnet, folded, early stop"
LOOP = "loss-landscape's loop, PyTorch"
BETTER_LOOP = "the loop with cached batches, channels last"


def loaded(options):
    """The network of a run, images of its training split in random order, and labels."""
    import keras_resnet
    from keras_resnet.data import pipelines, sources
    from keras_resnet.data.examples import Examples

    run = keras_resnet.load(options.run)
    settings = json.loads((options.run / "settings.json").read_text())
    split = sources.load(settings["recipe"]["dataset"], data_dir=options.data_dir).train
    chosen = np.random.default_rng(0).permutation(split.size)[: options.images]
    part = Examples(split.images[chosen], np.asarray(split.labels)[chosen])
    [(images, labels)] = pipelines.evaluation_batches(
        part, run.preprocessing, batch_size=options.images
    ).as_numpy_iterator()
    return run.model, images, labels.astype("int64")


class Ours:
    """`analysis.surface` of a folded network."""

    def __init__(self, options):
        from keras_resnet import analysis
        from keras_resnet.export.fold import fold_batch_norm

        model, *self.data = loaded(options)
        self.model = fold_batch_norm(model)
        self.directions = tuple(
            analysis.random_direction(self.model, seed) for seed in (0, 1)
        )
        self.surface, self.batch_size = analysis.surface, options.batch_size

    def losses(self, x, y, clip):
        """The loss at each point of a grid."""
        return self.surface(
            self.model,
            tuple(self.data),
            self.directions,
            (x, y),
            clip=clip,
            batch_size=self.batch_size,
        ).loss


class Loop:
    """The loop of loss-landscape, which measures each point to its end."""

    def __init__(self, options, cached):
        import torch

        from keras_resnet.analysis import random_direction

        model, images, labels = loaded(options)
        self.net = same_network(model).eval()
        x = torch.from_numpy(images).permute(0, 3, 1, 2).contiguous()
        y = torch.from_numpy(labels)
        if cached:
            self.net = self.net.to(memory_format=torch.channels_last)
            x = x.contiguous(memory_format=torch.channels_last)
            self.batches = list(
                zip(x.split(BATCH_SIZE), y.split(BATCH_SIZE), strict=True)
            )
        else:
            examples = torch.utils.data.TensorDataset(x, y)
            self.batches = torch.utils.data.DataLoader(examples, BATCH_SIZE)
        self.weights = [p.data for p in self.net.parameters()]
        self.directions = [
            self.torch_direction(random_direction(model, seed)) for seed in (0, 1)
        ]

    def torch_direction(self, direction):
        """A direction of ours with an array for each of the network's parameters."""
        kernels = (torch_kernel(part) for part in direction if part.ndim > 1)
        return [
            next(kernels) if w.dim() > 1 else np.zeros(w.shape, "float32")
            for w in self.weights
        ]

    def set_weights(self, step):
        """As `net_plotter.set_weights`."""
        import torch

        changes = [
            a * step[0] + b * step[1] for a, b in zip(*self.directions, strict=True)
        ]
        for p, w, change in zip(
            self.net.parameters(), self.weights, changes, strict=True
        ):
            change = torch.tensor(change, dtype=w.dtype)
            p.data = w + change.contiguous(memory_format=memory_format(w))

    def eval_loss(self):
        """As `evaluation.eval_loss`."""
        import torch

        criterion = torch.nn.CrossEntropyLoss()
        total = correct = images = 0
        with torch.no_grad():
            for inputs, targets in self.batches:
                outputs = self.net(inputs)
                total += criterion(outputs, targets).item() * len(targets)
                correct += outputs.max(1)[1].eq(targets).sum()
                images += len(targets)
        return total / images, 100.0 * correct / images

    def losses(self, x, y, clip):
        """The loss at each point of a grid."""
        found = np.empty((len(y), len(x)))
        for row, column in np.ndindex(found.shape):
            self.set_weights((float(x[column]), float(y[row])))
            found[row, column], _ = self.eval_loss()
        return found


def memory_format(tensor):
    """The order in which a tensor's values lie, as PyTorch names it."""
    import torch

    last = tensor.dim() == 4 and not tensor.is_contiguous()
    return torch.channels_last if last else torch.contiguous_format


def torch_kernel(kernel):
    """A kernel with its axes as PyTorch has them."""
    return np.ascontiguousarray(
        kernel.transpose(3, 2, 0, 1) if kernel.ndim == 4 else kernel.T
    )


def same_network(model):
    """akamaster's network with the weights of one of ours of its form."""
    import torch
    from keras.layers import BatchNormalization, Conv2D, Dense

    from tests.helpers.torch_references import Akamaster, AkamasterBlock

    functional = torch.nn.functional

    class Block(AkamasterBlock):
        """Its block, with all new channels of the shortcut behind the others."""

        def forward(self, x):
            y = functional.relu(self.bn1(self.conv1(x)))
            y = self.bn2(self.conv2(y))
            x = x[:, :, :: self.stride, :: self.stride]
            zeros = (0, 0, 0, 0, 0, y.shape[1] - x.shape[1])
            return functional.relu(y + functional.pad(x, zeros))

    def layers(kind):
        return [layer for layer in model.layers if isinstance(layer, kind)]

    net = Akamaster((len(layers(Conv2D)) - 1) // 6)
    net.conv1 = torch.nn.Conv2d(model.input_shape[-1], 16, 3, padding=1, bias=False)
    (dense,) = layers(Dense)
    net.linear = torch.nn.Linear(64, dense.units)
    modules = list(net.modules())
    for block in modules:
        if isinstance(block, AkamasterBlock):
            block.__class__ = Block
    for kind, ours in ((torch.nn.Conv2d, Conv2D), (torch.nn.Linear, Dense)):
        theirs = [module for module in modules if isinstance(module, kind)]
        for module, layer in zip(theirs, layers(ours), strict=True):
            module.weight.data = torch.tensor(torch_kernel(np.array(layer.kernel)))
            if layer.use_bias:
                module.bias.data = torch.tensor(np.array(layer.bias))
    norms = [m for m in modules if isinstance(m, torch.nn.BatchNorm2d)]
    for module, layer in zip(norms, layers(BatchNormalization), strict=True):
        module.eps = layer.epsilon
        module.weight.data = torch.tensor(np.array(layer.gamma))
        module.bias.data = torch.tensor(np.array(layer.beta))
        module.running_mean = torch.tensor(np.array(layer.moving_mean))
        module.running_var = torch.tensor(np.array(layer.moving_variance))
    return net


VARIANTS = {OURS: (Ours,), LOOP: (Loop, False), BETTER_LOOP: (Loop, True)}


def work(connection, name, options):
    """One variant in its process: measures a grid whenever it is asked to."""
    from keras_resnet.runs import environment

    kind, *arguments = VARIANTS[name]
    variant = kind(options, *arguments)
    variant.losses([0.0], [0.0], None)
    connection.send(environment.describe())
    while (asked := connection.recv()) is not None:
        started = time.perf_counter()
        losses = variant.losses(*asked)
        connection.send((time.perf_counter() - started, losses))


def start(options):
    """A connection to each variant's process, and what they are measured on."""
    # As the command line sets it: see docs/decisions/0016.
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.environ["CUDA_VISIBLE_DEVICES"] = "-1"  # All variants are on the CPU.
    context = multiprocessing.get_context("spawn")
    connections = {}
    for name in VARIANTS:
        connections[name], theirs = context.Pipe()
        context.Process(target=work, args=(theirs, name, options), daemon=True).start()
        theirs.close()  # Else nobody hears of a process that has failed.
        described = connections[name].recv()
        print(f"{name} is ready", flush=True)
    return connections, described


def a_round(connections, options):
    """Seconds of each variant by kind of grid, and the losses that they found there."""
    near = np.linspace(-0.05, 0.05, options.points)
    far = np.linspace(-1, 1, options.grid)
    grids = {"point": (near, near, None), "surface": (far, far, CLIP)}
    seconds, losses = {}, {}
    for kind, grid in grids.items():
        seconds[kind], losses[kind] = {}, {}
        for name, connection in connections.items():
            connection.send(grid)
            taken, losses[kind][name] = connection.recv()
            taken /= len(near) ** 2 if kind == "point" else 1
            seconds[kind][name] = round(taken, 4)
            print(f"{kind}, {name}: {taken:.3f} s", flush=True)
    return seconds, losses


def compared(losses):
    """What the losses of a round say, if all variants found the same.

    Returns:
        Of the surface, the share of points at or above the clip; of each grid, the
        greatest difference between ours and another variant's, as a part of the loss.
    """
    highest = {"point": np.inf, "surface": CLIP}
    differences = {}
    for kind, of_kind in losses.items():
        # A network of PyTorch that overflows gives NaN where ours gives the clip.
        told = {
            name: np.minimum(np.nan_to_num(found, nan=np.inf), highest[kind])
            for name, found in of_kind.items()
        }
        differences[kind] = max(
            float(np.max(np.abs(found / told[OURS] - 1))) for found in told.values()
        )
    if max(differences.values()) > TOLERANCE:
        raise SystemExit(
            f"The variants must find losses within {TOLERANCE} of each other. Received: "
            f"{differences}."
        )
    return {
        "share_at_or_above_clip": round(float(np.mean(told[OURS] >= CLIP)), 3),
        "greatest_relative_difference": differences,
    }


def result_of(rounds, options, described, losses):
    """What is kept of the rounds until now."""
    seconds = {
        kind: {name: [one[kind][name] for one in rounds] for name in VARIANTS}
        for kind in GOALS
    }
    medians = {
        kind: {name: statistics.median(times) for name, times in of_kind.items()}
        for kind, of_kind in seconds.items()
    }
    return {
        "date": time.strftime("%Y-%m-%d"),
        **described,
        "run": options.run.name,
        "images": options.images,
        "points": options.points**2,
        "grid": [options.grid, options.grid],
        "clip": CLIP,
        "batch_size": {"ours": options.batch_size, "theirs": BATCH_SIZE},
        "rounds": len(rounds),
        **compared(losses),
        "seconds": medians,
        "seconds_by_round": seconds,
        "times_faster": {
            kind: {
                name: round(times[name] / times[OURS], 2)
                for name in (LOOP, BETTER_LOOP)
            }
            for kind, times in medians.items()
        },
        "goals": GOALS,
    }


def main():
    """Times the variants in turn and writes the medians."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    run = ROOT / "saved_models" / "quickstart_seed0"
    parser.add_argument("--run", type=pathlib.Path, default=run)
    parser.add_argument("--data-dir", help="of the run's data, unless it is bundled")
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--points", type=int, default=4, help="on a side")
    parser.add_argument("--grid", type=int, default=11, help="points on a side")
    parser.add_argument("--batch-size", type=int, default=64, help="of ours")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--results", type=pathlib.Path, default=RESULTS)
    options = parser.parse_args()
    connections, described = start(options)
    rounds = []
    for number in range(1, options.rounds + 1):
        print(f"round {number} of {options.rounds}", flush=True)
        seconds, losses = a_round(connections, options)
        rounds.append(seconds)
        result = result_of(rounds, options, described, losses)
        options.results.write_text(json.dumps(result, indent=2) + "\n")
        print(json.dumps(result["times_faster"], indent=2), flush=True)
    for connection in connections.values():
        connection.send(None)
    for process in multiprocessing.active_children():
        process.join()


if __name__ == "__main__":
    main()
