"""How a run computes on its devices: precision, Keras's settings, XLA and determinism."""

import contextlib
import pathlib
from collections.abc import Iterator

import keras

from keras_resnet.config.spec import ResNetSpec
from keras_resnet.devices.describe import compute_capability
from keras_resnet.devices.find import Devices

PRECISIONS = ("auto", "float32", "mixed_bfloat16", "mixed_float16")


def choose_precision(request: str, devices: Devices, spec: ResNetSpec) -> str:
    """Chooses the Keras dtype policy to train in.

    ``"auto"`` is mixed_bfloat16 on GPUs that compute in it, mixed_float16 on other
    GPUs with tensor cores, and float32 on the CPU, except for ImageNet's networks of 50
    layers and more on TensorFlow where the CPU has bfloat16 instructions: ResNet-50
    trains 1.6 to 1.75 times as fast in it (docs/decisions/0016).

    Args:
        request: One of `PRECISIONS`.
        devices: What the run computes on.
        spec: The network.

    Raises:
        ValueError: If ``request`` is unknown or these devices can't honour it.
    """
    if request not in PRECISIONS:
        raise ValueError(
            f"`precision` must be one of {', '.join(PRECISIONS)}. "
            f"Received: precision={request!r}."
        )
    if request == "mixed_float16" and devices.kind == "cpu":
        raise ValueError(
            "'mixed_float16' needs a GPU: CPUs emulate it. Use 'mixed_bfloat16' or "
            "'float32'. Received: precision='mixed_float16' on the CPU."
        )
    if request != "auto":
        return request
    if devices.kind == "cpu":
        large = spec.dataset == "imagenet" and spec.depth >= 50
        faster = keras.backend.backend() == "tensorflow" and _cpu_has_bfloat16()
        return "mixed_bfloat16" if large and faster else "float32"
    capability = compute_capability(devices)
    if capability >= (8, 0):
        return "mixed_bfloat16"
    return "mixed_float16" if capability >= (7, 0) else "float32"


def _cpu_has_bfloat16() -> bool:
    cpuinfo = pathlib.Path("/proc/cpuinfo")
    return cpuinfo.exists() and "avx512_bf16" in cpuinfo.read_text()


@contextlib.contextmanager
def computing_in(policy: str) -> Iterator[None]:
    """A scope in which Keras computes as if there were no ``keras.json``.

    New layers get the dtype policy. What has no policy, such as inputs, losses, metrics
    and optimizers, is float32, images have their channels last, and `fit` is as long as it
    is told to be. What the user's file, variables or `keras.config` say instead is true
    again afterwards. It is a decorator as well.

    Args:
        policy: Name of a Keras dtype policy, such as ``"float32"``.
    """
    config = keras.config
    settings = (
        (config.dtype_policy, config.set_dtype_policy, policy),
        (config.floatx, config.set_floatx, "float32"),
        (config.epsilon, config.set_epsilon, 1e-7),
        (config.image_data_format, config.set_image_data_format, "channels_last"),
        (config.max_epochs, config.set_max_epochs, None),
        (config.max_steps_per_epoch, config.set_max_steps_per_epoch, None),
    )
    before = [read() for read, _, _ in settings]
    try:
        for _, change, value in settings:
            change(value)
        yield
    finally:
        for (_, change, _), value in zip(settings, before, strict=True):
            change(value)


def choose_xla(request: str, devices: Devices, synchronized: bool = False) -> bool:
    """Chooses whether to compile with XLA: ``jit_compile`` of `keras.Model.compile`.

    ``"auto"`` compiles on one GPU and on JAX (always compiled), not on the CPU, where
    TensorFlow trains a quarter to a half slower with it where oneDNN is used
    (docs/benchmarks.md), and not on several devices, where no GPUs were at hand to
    measure it on.

    Args:
        request: ``"auto"``, ``"on"`` or ``"off"``.
        devices: What the run computes on.
        synchronized: Whether batch norms take their statistics over all devices.

    Raises:
        ValueError: If ``request`` is unknown, or backend or devices can't honour it.
    """
    if request not in ("auto", "on", "off"):
        raise ValueError(
            f"`xla` must be 'auto', 'on' or 'off'. Received: xla={request!r}."
        )
    backend = keras.backend.backend()
    several = devices.replicas > 1
    if backend == "jax":
        if request == "off":
            raise ValueError(
                "JAX always compiles with XLA. Received: xla='off' on the JAX backend."
            )
        return True
    if backend == "torch":
        if request == "on":
            raise ValueError(
                "The PyTorch backend has no XLA. Use --backend tensorflow or jax. "
                "Received: xla='on'."
            )
        return False
    if several and synchronized and request == "on":
        raise ValueError(
            "On TensorFlow, XLA and synchronized batch norm exclude each other on "
            "several devices: compiled code can't ask the other devices. Leave out "
            "--xla on or --sync-batch-norm; --backend jax has both without either. "
            f"Received: xla='on', sync_batch_norm=True, {devices.replicas} devices."
        )
    return request == "on" or (
        request == "auto" and devices.kind == "gpu" and not several
    )


def check_deterministic(xla: str) -> None:
    """Raises `ValueError` unless the backend can compute the same bits each time.

    Args:
        xla: The request as of `choose_xla`. With XLA, TensorFlow would silently ignore
            that operations must be deterministic.
    """
    backend = keras.backend.backend()
    if backend != "tensorflow" or xla == "on":
        raise ValueError(
            "`deterministic` (--deterministic) needs the TensorFlow backend without XLA: "
            "use --backend tensorflow, and leave out --xla on. "
            f"Received: backend={backend!r}, xla={xla!r}."
        )


def be_deterministic() -> None:
    """Makes TensorFlow's operations deterministic until the process ends.

    Otherwise some of those on GPUs add in another order each time.
    """
    import tensorflow as tf

    tf.config.experimental.enable_op_determinism()
