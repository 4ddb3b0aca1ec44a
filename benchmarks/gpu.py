"""ResNet-50 training at 224x224 in bfloat16 on a GPU, ours against torchvision's.

    python benchmarks/gpu.py [--batch-size 256] [--steps 50] [--rounds 5] [--output FILE]

Ours: `resnet50_v1_5`, compiled with XLA, on the JAX or TensorFlow backend, whichever
sees a GPU, by `train_on_batch`: what `fit` does of an update, without its input. Theirs:
torchvision's resnet50 under `torch.compile`, channels last, autocast, cuDNN's fastest
kernels sought. Random images lie on the device, so that the network is what is timed.
The two take turns in processes of their own; each also times a product of two matrices
of 8192x8192 in bfloat16, of which its speed is given a share: 3 times the multiply-adds
of the forward pass, twice as many operations.

Writes images/s, share and memory as JSON to FILE, results/gpu.json by default.
Exits with 1 and says so where no GPU is seen.
"""

import argparse
import json
import multiprocessing
import os
import pathlib
import statistics
import sys
import time

SIDE = 8_192  # Of the matrices.
# Its root: products of normal numbers keep their deviation. Zeros, to which they would
# shrink, draw less power and let the clock rise.
SCALE = SIDE**0.5


class Ours:
    """Keras on JAX or TensorFlow."""

    def __init__(self, batch_size, steps):
        # The peer's process needs memory on the same device.
        os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
        os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
        if "KERAS_BACKEND" not in os.environ:
            os.environ["KERAS_BACKEND"] = _backend_with_gpu()
        import keras
        import numpy as np

        from keras_resnet.applications import create
        from keras_resnet.config.recipes import RECIPES
        from keras_resnet.devices.find import find_devices
        from keras_resnet.training import batch_norm
        from keras_resnet.training.fit import compile_model

        find_devices("gpu:0")  # Or an error.
        keras.config.set_dtype_policy("mixed_bfloat16")
        self.backend = keras.backend.backend()
        self.model = batch_norm.fused(create("resnet50_v1_5"))  # As every run has it.
        compile_model(self.model, RECIPES["resnet50_fb_imagenet"], xla=True)
        rng = np.random.default_rng(0)
        images = rng.normal(size=(batch_size, 224, 224, 3)).astype("float32")
        batch = (
            keras.ops.convert_to_tensor(images),
            keras.ops.convert_to_tensor(rng.integers(0, 1000, batch_size)),
        )
        self.batch, self.steps = batch, steps

    def round(self):
        """Trains the round's updates."""
        for _ in range(self.steps):
            loss = self.model.train_on_batch(*self.batch)
        float(loss[0] if isinstance(loss, list) else loss)

    def multiply(self, times):
        """Operations per second of so many products."""
        import keras

        def product(x, w):
            return x @ w / SCALE

        x, w = (keras.random.normal((SIDE, SIDE), dtype="bfloat16") for _ in range(2))
        if self.backend == "jax":
            import jax

            product = jax.jit(product)
        else:
            import tensorflow as tf

            product = tf.function(product, jit_compile=True)
        return _timed(product, x, w, times)

    def device(self):
        """Name of the GPU."""
        from keras_resnet.devices.describe import accelerators
        from keras_resnet.devices.find import Devices

        return accelerators(Devices("gpu", ("gpu:0",)))[0]

    def memory(self):
        """Bytes at the most."""
        from keras_resnet.devices.describe import peak_memory
        from keras_resnet.devices.find import Devices

        return peak_memory(Devices("gpu", ("gpu:0",)))


class Torchvision:
    """torchvision under torch.compile."""

    def __init__(self, batch_size, steps):
        import torch
        import torchvision

        if not torch.cuda.is_available():
            raise RuntimeError("PyTorch sees no GPU.")
        torch.set_float32_matmul_precision("high")
        torch.backends.cudnn.benchmark = True  # XLA looks for the fastest kernels too.
        self.backend = "torch"
        last = {"device": "cuda", "memory_format": torch.channels_last}
        self.model = torchvision.models.resnet50().to(**last).train()
        self.compiled = torch.compile(self.model)
        self.optimizer = torch.optim.SGD(
            self.model.parameters(), 0.1, momentum=0.9, nesterov=True, weight_decay=1e-4
        )
        self.x = torch.randn(batch_size, 3, 224, 224).to(**last)
        self.y = torch.randint(0, 1000, (batch_size,), device="cuda")
        self.steps = steps

    def round(self):
        """Trains the round's updates."""
        import torch

        for _ in range(self.steps):
            with torch.autocast("cuda", torch.bfloat16):
                loss = torch.nn.functional.cross_entropy(self.compiled(self.x), self.y)
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()
            self.optimizer.step()
        float(loss)

    def multiply(self, times):
        """Operations per second of so many products."""
        import torch

        x, w = (
            torch.randn(SIDE, SIDE, device="cuda", dtype=torch.bfloat16)
            for _ in range(2)
        )
        return _timed(lambda x, w: x @ w / SCALE, x, w, times)

    def device(self):
        """Name of the GPU."""
        import torch

        return torch.cuda.get_device_name()

    def memory(self):
        """Bytes at the most."""
        import torch

        return torch.cuda.max_memory_allocated()


def _backend_with_gpu():
    try:
        import jax

        jax.devices("gpu")
        return "jax"
    except (ImportError, RuntimeError):
        return "tensorflow"


def _timed(product, x, w, times):
    float(product(x, w)[0, 0])
    started = time.perf_counter()
    for _ in range(times):
        x = product(x, w)
    float(x[0, 0])
    return times * 2 * SIDE**3 / (time.perf_counter() - started)


def work(connection, kind, batch_size, steps):
    """One side in its process: makes a round whenever it is asked to."""
    try:
        side = kind(batch_size, steps)
        side.round()
        rate = side.multiply(50)
    except Exception as error:
        connection.send({"error": f"{type(error).__name__}: {error}".splitlines()[0]})
        return
    connection.send(
        {"backend": side.backend, "device": side.device(), "matrix_rate": rate}
    )
    while connection.recv():
        started = time.perf_counter()
        side.round()
        connection.send(steps * batch_size / (time.perf_counter() - started))
    connection.send(side.memory())


def main():
    """Times both in turn and writes the medians."""
    from keras_resnet.applications import list_models
    from keras_resnet.runs import environment

    multiply_adds = list_models(details=True)["resnet50_v1_5"]["multiply_adds"]
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=5)
    default = pathlib.Path(__file__).parent / "results" / "gpu.json"
    parser.add_argument("--output", type=pathlib.Path, default=default)
    options = parser.parse_args()
    context = multiprocessing.get_context("spawn")
    rows, connections = {}, {}
    for name, kind in {"keras_resnet": Ours, "torchvision": Torchvision}.items():
        connections[name], theirs = context.Pipe()
        context.Process(
            target=work,
            args=(theirs, kind, options.batch_size, options.steps),
            daemon=True,
        ).start()
        theirs.close()  # Else nobody hears of a process that was killed for memory.
        rows[name] = connections[name].recv()
        print(name, rows[name], flush=True)
        if "error" in rows[name]:
            return 1
    speeds = {name: [] for name in rows}
    for _ in range(options.rounds):
        for name, connection in connections.items():
            connection.send(True)
            speeds[name].append(connection.recv())
            print(name, round(speeds[name][-1]), flush=True)
    for name, row in rows.items():
        connections[name].send(False)
        row["memory_bytes"] = connections[name].recv()
        row["images_per_second"] = round(statistics.median(speeds[name]), 1)
        operations = 2 * 3 * multiply_adds * row["images_per_second"]
        row["share_of_matrix_rate"] = round(operations / row["matrix_rate"], 3)
    result = {
        "date": time.strftime("%Y-%m-%d"),
        **environment.describe([rows["keras_resnet"]["device"]]),
        "batch_size": options.batch_size,
        "rows": rows,
    }
    options.output.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(rows, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
