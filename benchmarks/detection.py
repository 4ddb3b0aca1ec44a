"""Time and memory of Faster R-CNN with ResNet-50-FPN: ours beside torchvision's.

    python -m benchmarks.detection [--rounds 5] [--updates 2] [--train-side 320]
        [--height 800] [--width 1333]

An update of two images of 320x320 pixels with eight boxes each (SGD with momentum, the
stem and the first stage frozen, batch norm frozen), and the detection on one image of
800x1333 pixels, from pixels to boxes. Both have the same random weights, proposals and
samples per image, and two threads. Ours: `fit` and `predict` on TensorFlow, with oneDNN
and without: which is faster depends on the processor and on the task. Theirs: torchvision's
model and a loop in PyTorch, as it comes and with channels last.

Each variant lives in a process of its own, and they take turns. The first update and the
first detection, which trace graphs, aren't timed. All must find the same objects, or
nothing is kept. Writes results/detection.json after each round: medians, every round, and
the most memory that each process had (its resident set).
"""

import argparse
import json
import multiprocessing
import os
import pathlib
import resource
import statistics
import sys
import tempfile
import time

import numpy as np

RESULTS = pathlib.Path(__file__).parent / "results" / "detection.json"
NAME, CLASSES, BOXES, THREADS = "fasterrcnn_resnet50_fpn", 90, 8, 2
TASKS = ("training", "inference")
GOALS = {"required": 1.0, "wanted": 1.3}  # How many times as fast as theirs.
RATE = 1e-5  # So small that all rounds train the same network, but for rounding.
AGREED = 0.8  # Of the objects that torchvision finds, that ours finds as well.


def batch(height, width, images):
    """Images and true boxes, the same in all variants."""
    rng = np.random.default_rng(0)
    small = rng.uniform(0, 255, (images, height // 8 + 1, width // 8 + 1, 3))
    pixels = small.repeat(8, axis=1).repeat(8, axis=2)[:, :height, :width]
    sides = rng.uniform(0.1, 0.5, (images, BOXES, 2)) * (width, height)
    begin = rng.uniform(0, 0.5, (images, BOXES, 2)) * (width, height)
    boxes = np.concatenate([begin, begin + sides], axis=-1)
    labels = rng.integers(0, CLASSES, (images, BOXES))
    return pixels.astype("float32"), boxes.astype("float32"), labels


def sizes(task, options):
    """Height, width and number of the images of a task."""
    if task == "training":
        return options.train_side, options.train_side, 2
    return options.height, options.width, 1


class Ours:
    """Our detector on TensorFlow, by `fit` and `predict`."""

    def __init__(self, task, options, onednn):
        os.environ["TF_ENABLE_ONEDNN_OPTS"] = str(int(onednn))
        os.environ["KERAS_BACKEND"] = "tensorflow"
        import keras
        import tensorflow as tf

        from keras_resnet.data.threads import without_autotuning
        from keras_resnet.detection import FasterRCNN

        tf.config.threading.set_intra_op_parallelism_threads(THREADS)
        tf.config.threading.set_inter_op_parallelism_threads(THREADS)
        weights = pathlib.Path(options.weights) / "ours.weights.h5"
        self.model = FasterRCNN(NAME, num_classes=CLASSES, weights=weights, frozen=True)
        self.images, boxes, labels = batch(*sizes(task, options))
        truth = {"boxes": boxes, "classes": labels.astype("float32")}
        data = {"images": self.images, "bounding_boxes": truth}
        steps = options.updates + 1
        self.data = tf.data.Dataset.from_tensors(data).repeat(steps)
        # With tf.data's autotuning about half of the calls of `predict` on arrays stood
        # still until 5.15 s had passed: docs/decisions/0012.
        self.data = without_autotuning(self.data)
        only_images = tf.data.Dataset.from_tensors(self.images)
        self.image_data = without_autotuning(only_images)
        self.model.compile(keras.optimizers.SGD(RATE, momentum=0.9))
        self.clock = keras.callbacks.LambdaCallback(
            on_train_batch_end=lambda step, logs: self.times.append(time.perf_counter())
        )

    def training(self):
        """Seconds per update, and the loss."""
        self.times = []
        past = self.model.fit(self.data, callbacks=[self.clock], verbose=0).history
        seconds = (self.times[-1] - self.times[0]) / (len(self.times) - 1)
        return seconds, past["loss"][0]

    def inference(self):
        """Seconds for all images, and what is found on the first one."""
        started = time.perf_counter()
        found = self.model.predict(self.image_data, verbose=0)
        seconds = time.perf_counter() - started
        valid = found["valid"][0]
        return seconds, found["boxes"][0][valid], found["classes"][0][valid]


class Theirs:
    """torchvision's detector, by a loop in PyTorch."""

    def __init__(self, task, options, channels_last):
        import torch

        torch.set_num_threads(THREADS)
        self.torch, self.updates = torch, options.updates
        self.model = their_model(task, options)
        state = torch.load(pathlib.Path(options.weights) / "theirs.pth")
        self.model.load_state_dict(state)
        if channels_last:
            self.model = self.model.to(memory_format=torch.channels_last)
        images, boxes, labels = batch(*sizes(task, options))
        self.images = list(torch.from_numpy(images).permute(0, 3, 1, 2) / 255)
        self.targets = [
            {"boxes": torch.from_numpy(b), "labels": torch.from_numpy(c) + 1}
            for b, c in zip(boxes, labels, strict=True)
        ]
        trained = [p for p in self.model.parameters() if p.requires_grad]
        self.optimizer = torch.optim.SGD(trained, RATE, momentum=0.9)

    def training(self):
        """As `Ours.training`."""
        self.model.train()
        times, total = [], 0.0
        for _ in range(self.updates + 1):
            loss = sum(self.model(self.images, self.targets).values())
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            times.append(time.perf_counter())
            total += loss.item()
        return (times[-1] - times[0]) / (len(times) - 1), total / len(times)

    def inference(self):
        """As `Ours.inference`."""
        self.model.eval()
        with self.torch.inference_mode():
            started = time.perf_counter()
            found = self.model(self.images)[0]
            seconds = time.perf_counter() - started
        return seconds, found["boxes"].numpy(), found["labels"].numpy() - 1


def their_model(task, options):
    """torchvision's detector with frozen batch norms, as its weights are fine-tuned."""
    from tests.helpers.torchvision_operators import stand_in_for_cuda

    # A folder for each process: another one must not write what this one loads.
    stand_in_for_cuda(pathlib.Path(tempfile.mkdtemp(dir=options.weights)))
    import torchvision
    from torchvision.models.detection import FasterRCNN, backbone_utils

    frozen = torchvision.ops.FrozenBatchNorm2d
    network = torchvision.models.resnet50(weights=None, norm_layer=frozen)
    # torchvision makes them for its weights alone, which nothing here downloads.
    backbone = backbone_utils._resnet_fpn_extractor(network, 3)
    sides = sizes(task, options)[:2]  # Images keep their size.
    return FasterRCNN(backbone, CLASSES + 1, min_size=min(sides), max_size=max(sides))


def write_weights(task, options):
    """Writes random weights in both forms, with scores that are far from each other."""
    import torch

    torch.manual_seed(0)
    model = their_model(task, options).eval()
    said = {}
    rpn, head = model.rpn.head, model.roi_heads.box_predictor
    rpn.register_forward_hook(lambda m, x, y: said.update(rpn=y))
    head.register_forward_hook(lambda m, x, y: said.update(head=y))
    images, _, _ = batch(*sizes(task, options))
    images = list(torch.from_numpy(images).permute(0, 3, 1, 2) / 255)
    layers = (
        (rpn.cls_logits, "rpn", 0, 2.0),
        (rpn.bbox_pred, "rpn", 1, 0.2),
        (head.cls_score, "head", 0, 3.0),
        (head.bbox_pred, "head", 1, 1.0),
    )
    with torch.no_grad():
        for name, norm in model.named_modules():
            if name.endswith("bn3"):  # Else what blocks add up to would explode.
                norm.weight.fill_(0.2)
        for layer, part, index, deviation in layers:
            model(images)
            outputs = said[part][index]
            outputs = (
                outputs
                if torch.is_tensor(outputs)
                else torch.cat([one.flatten() for one in outputs])
            )
            layer.weight *= deviation / outputs.std()
    folder = pathlib.Path(options.weights)
    torch.save(model.state_dict(), folder / "theirs.pth")

    from keras_resnet.detection import FasterRCNN

    ours = FasterRCNN(
        NAME, num_classes=CLASSES, weights=model.state_dict(), frozen=True
    )
    ours.save_weights(folder / "ours.weights.h5")


VARIANTS = {
    "keras_resnet, oneDNN": (Ours, True),
    "keras_resnet, without oneDNN": (Ours, False),
    "torchvision": (Theirs, False),
    "torchvision, channels last": (Theirs, True),
}


def is_ours(name):
    """Whether a variant is one of ours."""
    return VARIANTS[name][0] is Ours


def work(connection, name, task, options):
    """One variant in its process: makes a round whenever it is asked to."""
    kind, setting = VARIANTS[name]
    variant = kind(task, options, setting)
    call = getattr(variant, task)
    call()
    connection.send("ready")
    while connection.recv():
        connection.send((call(), peak_memory()))


def peak_memory():
    """The most memory that this process had, in GiB."""
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / (2**30 if sys.platform == "darwin" else 2**20)


def start(task, options):
    """A connection to each variant's process, all of which are ready."""
    context = multiprocessing.get_context("spawn")
    writer = context.Process(target=write_weights, args=(task, options))
    writer.start()
    writer.join()
    if writer.exitcode:
        raise SystemExit("The weights couldn't be written: see above.")
    connections = {}
    for name in VARIANTS:
        connections[name], theirs = context.Pipe()
        arguments = (theirs, name, task, options)
        context.Process(target=work, args=arguments, daemon=True).start()
        theirs.close()  # Else nobody hears of a process that has failed.
    for name, connection in connections.items():
        print(f"{task}, {name} is {connection.recv()}", flush=True)
    return connections


def measure(task, options, keep):
    """Times the variants of a task in turn; gives ``keep`` what is known each round."""
    connections = start(task, options)
    seconds = {name: [] for name in VARIANTS}
    memory, found = {}, {}
    for _ in range(options.rounds):
        for name, connection in connections.items():
            connection.send(True)
            (taken, *found[name]), memory[name] = connection.recv()
            seconds[name].append(round(taken, 4))
            print(f"{task}, {name}: {taken:.3f} s", flush=True)
        keep(seconds, memory, compared(task, found))
    for connection in connections.values():
        connection.send(False)
    for process in multiprocessing.active_children():
        process.join()


def compared(task, found):
    """What the variants found, if it is the same; else raises `SystemExit`."""
    if task == "training":
        losses = {name: float(loss) for name, (loss,) in found.items()}
        # Both draw their samples at random.
        if max(losses.values()) > 1.5 * min(losses.values()):
            raise SystemExit(f"The losses must be alike. Received: {losses}.")
        return {"losses": losses}
    boxes, classes = found["torchvision"]
    shares = {}
    for name, (other, labels) in found.items():
        near = np.abs(boxes[:, None] - other[None]).max(-1) < 1.0
        near &= classes[:, None] == labels[None]
        shares[name] = float(near.any(axis=1).mean()) if len(other) else 0.0
    if not len(boxes) or min(shares.values()) < AGREED:
        raise SystemExit(
            f"The variants must find {AGREED:.0%} of the objects that torchvision finds. "
            f"Received: {shares} of {len(boxes)}."
        )
    return {"objects": len(boxes), "share_found_too": shares}


def result_of(task, seconds, memory, alike, options):
    """What is kept of a task's rounds until now."""
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    best = {
        side: min((n for n in medians if is_ours(n) == ours), key=medians.get)
        for side, ours in (("ours", True), ("theirs", False))
    }
    height, width, images = sizes(task, options)
    return {
        "images": images,
        "height": height,
        "width": width,
        "rounds": min(map(len, seconds.values())),
        "seconds": medians,
        "seconds_by_round": seconds,
        "peak_gib": {name: round(value, 2) for name, value in memory.items()},
        "best": best,
        "times_as_fast": round(medians[best["theirs"]] / medians[best["ours"]], 2),
        **alike,
    }


def main():
    """Times both tasks and writes the medians."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--updates", type=int, default=2, help="timed ones, in a round")
    parser.add_argument("--train-side", type=int, default=320)
    parser.add_argument("--height", type=int, default=800)
    parser.add_argument("--width", type=int, default=1333)
    parser.add_argument("--only", choices=TASKS)
    parser.add_argument("--note", help="a sentence to keep with the results")
    parser.add_argument("--results", type=pathlib.Path, default=RESULTS)
    options = parser.parse_args()
    os.environ["CUDA_VISIBLE_DEVICES"] = "-1"  # All variants are on the CPU.
    os.environ["OMP_NUM_THREADS"] = str(THREADS)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

    from keras_resnet.runs import environment

    path = options.results
    for task in [options.only] if options.only else TASKS:

        def keep(seconds, memory, alike, task=task):
            results = json.loads(path.read_text()) if path.exists() else {}
            results |= {"threads": THREADS, "goals": GOALS}
            results |= {"note": options.note} if options.note else {}
            about = {"date": time.strftime("%Y-%m-%d"), **environment.describe()}
            results[task] = about | result_of(task, seconds, memory, alike, options)
            path.write_text(json.dumps(results, indent=2) + "\n")

        with tempfile.TemporaryDirectory() as options.weights:
            measure(task, options, keep)
    print(json.dumps(json.loads(path.read_text()), indent=2))


if __name__ == "__main__":
    main()
