"""What `gpu.py` times: our ResNet-50 and those of others, each as its users train it."""

import os
from dataclasses import dataclass

PRODUCTS = 50  # Of matrices, in a round.


@dataclass(frozen=True)
class Size:
    """What is trained, and how much of it.

    Attributes:
        device: "gpu" or "cpu".
        network: Key of `ARCHITECTURES`; the others have ResNet-50 alone.
        side: Of the images, in pixels.
        images: In a round, at least one batch of them.
        matrix: Side of the matrices.
    """

    device: str = "gpu"
    network: str = "resnet50_v1_5"
    side: int = 224
    images: int = 6_400
    matrix: int = 8_192


FULL = Size()
DRY = Size("cpu", "resnet20", side=32, images=4, matrix=64)


class Jax:
    """Our network on Keras's JAX backend."""

    def __init__(self, size, batch_size):
        # The others' processes need memory on the same device.
        os.environ["XLA_PYTHON_CLIENT_PREALLOCATE"] = "false"
        self.model, self.batch = ours("jax", size, batch_size, xla=True)
        import jax

        self.model.optimizer.build(self.model.trainable_variables)
        variables = (
            self.model.trainable_variables,
            self.model.non_trainable_variables,
            self.model.optimizer.variables,
            self.model.metrics_variables,
        )
        self.state = tuple([v.value for v in each] for each in variables)
        # What `fit` compiles; it reuses the memory of the variables too.
        self.step = jax.jit(self.model.train_step, donate_argnums=0)

        # Products of these keep their deviation. Zeros, to which they would shrink, or
        # infinities draw less power and let the clock rise.
        keys = jax.random.split(jax.random.key(0))
        shape = (size.matrix, size.matrix)
        self.x, w = (jax.random.normal(key, shape, "bfloat16") for key in keys)
        self.w = w / size.matrix**0.5
        self.product = jax.jit(lambda x, w: x @ w)

    def update(self):
        """Begins an update; `wait` ends it."""
        logs, self.state = self.step(self.state, self.batch)
        self.loss = logs["loss"]

    def wait(self):
        """Waits for all that was begun; gives the loss."""
        return float(self.loss)

    def multiply(self):
        """Computes the round's products."""
        x = self.x
        for _ in range(PRODUCTS):
            x = self.product(x, self.w)
        float(x[0, 0])

    def rest(self):
        """Gives memory back to the others: JAX keeps what it has."""

    def device(self, kind):
        """Name of the GPU, "CPU" without, and the most bytes that were in use."""
        return described_device(kind)


class Torch:
    """What the variants on PyTorch have in common."""

    def begin(self, size):
        """Makes the matrices."""
        import torch

        self.gpu = size.device == "gpu"
        on = {"device": "cuda" if self.gpu else "cpu", "dtype": torch.bfloat16}
        self.x = torch.randn(size.matrix, size.matrix, **on)
        self.w = torch.randn(size.matrix, size.matrix, **on) / size.matrix**0.5

    def wait(self):
        """As `Jax.wait`."""
        return float(self.loss)

    def multiply(self):
        """As `Jax.multiply`."""
        x = self.x
        for _ in range(PRODUCTS):
            x = x @ self.w
        float(x[0, 0])

    def rest(self):
        """Gives memory back to the others."""
        import torch

        if self.gpu:
            torch.cuda.empty_cache()


class KerasTorch(Torch):
    """Our network on Keras's PyTorch backend."""

    def __init__(self, size, batch_size, compiled=False):
        self.model, self.batch = ours("torch", size, batch_size, xla=False)
        import torch

        self.begin(size)

        def step():  # Of this form is what Keras compiles with `jit_compile=True`.
            return self.model.train_step(self.batch)

        self.step = torch.compile(step) if compiled else step

    def update(self):
        """As `Jax.update`."""
        self.loss = self.step()["loss"]

    def device(self, kind):
        """As `Jax.device`."""
        return described_device(kind)


class Theirs(Torch):
    """A network of torchvision or timm under `torch.compile`."""

    def __init__(self, size, batch_size, package):
        import torch

        if size.device == "gpu" and not torch.cuda.is_available():
            raise RuntimeError("PyTorch sees no GPU.")
        torch.set_float32_matmul_precision("high")
        torch.backends.cudnn.benchmark = True  # XLA looks for the fastest kernels too.
        self.begin(size)
        self.kind = self.x.device.type
        last = {"device": self.kind, "memory_format": torch.channels_last}
        self.model = theirs(package).to(**last).train()
        self.compiled = torch.compile(self.model)
        self.optimizer = torch.optim.SGD(
            self.model.parameters(), 0.1, momentum=0.9, nesterov=True, weight_decay=1e-4
        )
        self.images = torch.randn(batch_size, 3, size.side, size.side).to(**last)
        self.labels = torch.randint(0, 1000, (batch_size,), device=self.kind)

    def update(self):
        """As `Jax.update`."""
        import torch

        with torch.autocast(self.kind, torch.bfloat16):
            logits = self.compiled(self.images)
            loss = torch.nn.functional.cross_entropy(logits, self.labels)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()
        self.loss = loss.detach()

    def device(self, kind):
        """As `Jax.device`."""
        import torch

        if kind == "cpu":
            return "CPU", None
        return torch.cuda.get_device_name(), torch.cuda.max_memory_allocated()


def ours(backend, size, batch_size, *, xla):
    """Our compiled model on a backend, and a batch on the device."""
    os.environ["KERAS_BACKEND"] = backend
    import keras
    import numpy as np

    from keras_resnet.applications import create
    from keras_resnet.config.recipes import RECIPES
    from keras_resnet.devices.find import find_devices
    from keras_resnet.training.fit import compile_model

    find_devices("gpu:0" if size.device == "gpu" else "cpu")  # Or an error.
    keras.config.set_dtype_policy("mixed_bfloat16")
    model = create(size.network, input_shape=(size.side, size.side, 3))
    compile_model(model, RECIPES["resnet50_fb_imagenet"], xla=xla)
    rng = np.random.default_rng(0)
    images = rng.normal(size=(batch_size, size.side, size.side, 3))
    labels = rng.integers(0, model.output_shape[-1], batch_size)
    return model, (
        keras.ops.convert_to_tensor(images, "float32"),
        keras.ops.convert_to_tensor(labels, "int32"),
    )


def theirs(package):
    """torchvision's or timm's ResNet-50."""
    from benchmarks import peers

    torchvision = peers.torchvision(classes=1000)  # timm imports it, too.
    if package == "torchvision":
        return torchvision
    import timm

    return timm.create_model("resnet50", num_classes=1000)


def described_device(kind):
    """What Keras's backend says for `Jax.device`."""
    from keras_resnet.devices import describe
    from keras_resnet.devices.find import Devices

    devices = Devices(kind, (f"{kind}:0",))
    names = describe.accelerators(devices)
    return (names or ["CPU"])[0], describe.peak_memory(devices)


OURS = "keras_resnet, JAX"
VARIANTS = {
    OURS: (Jax, {}),
    "keras_resnet, PyTorch": (KerasTorch, {}),
    "torchvision, compiled, channels last": (Theirs, {"package": "torchvision"}),
    "timm, compiled, channels last": (Theirs, {"package": "timm"}),
    # Only where it is asked for, since Keras compiles nothing on PyTorch by default.
    "keras_resnet, PyTorch, compiled": (KerasTorch, {"compiled": True}),
}
USUAL = tuple(VARIANTS)[:-1]


def is_ours(name):
    """Whether a variant is one of ours."""
    return VARIANTS[name][0] is not Theirs
