"""Devices, distribution, precision and XLA: what is asked for, or an error.

The only module of `training` that knows backends.
"""

import contextlib
import pathlib
import re
from dataclasses import dataclass

import keras

PRECISIONS = ("auto", "float32", "mixed_bfloat16", "mixed_float16")


@dataclass(frozen=True)
class Devices:
    """What a run computes on.

    Attributes:
        kind: ``"cpu"`` or ``"gpu"``.
        names: Of the devices, in the backend's spelling.
    """

    kind: str
    names: tuple[str, ...]


def find_devices(request="all"):
    """Finds the devices that are asked for; call it before anything computes.

    Args:
        request: ``"all"`` (every GPU, else the CPU), ``"gpu:0,1"`` (these), or
            ``"cpu:2"`` (two logical devices on the CPU, for trying distribution out).

    Raises:
        ValueError: If ``request`` is not understood or there are no such devices.
    """
    match = re.fullmatch(r"all|cpu(?::(\d+))?|gpu(?::(\d+(?:,\d+)*))?", request)
    if match is None:
        raise ValueError(
            "`devices` must be 'all', 'cpu', 'cpu:COUNT', 'gpu' or 'gpu:INDEX,INDEX'. "
            f"Received: devices={request!r}."
        )
    backend = keras.backend.backend()
    if request.startswith("cpu"):
        return _cpus(backend, int(match[1] or 1))
    gpus = _gpus(backend)
    if request == "all" and not gpus:
        return _cpus(backend, 1)
    indices = map(int, match[2].split(",")) if match[2] else range(len(gpus))
    try:
        chosen = tuple(gpus[index] for index in dict.fromkeys(indices))
    except IndexError:
        chosen = ()
    if not chosen:
        raise ValueError(
            f"`devices` names GPUs that {backend} does not see: it sees {len(gpus)}. "
            f"Received: devices={request!r}."
        )
    if backend == "tensorflow":
        _hide_other_gpus(chosen)
    return _checked(backend, Devices("gpu", chosen))


def _checked(backend, devices):
    if backend == "torch" and len(devices.names) > 1:
        raise ValueError(
            "On the PyTorch backend training uses one device: Keras has no data "
            "parallelism there. Use --backend tensorflow or jax, or name one device. "
            f"Received: {len(devices.names)} devices."
        )
    return devices


def _cpus(backend, count):
    if count < 1:
        raise ValueError("`devices` must name at least one CPU. Received: 'cpu:0'.")
    names = tuple(f"cpu:{index}" for index in range(count))
    devices = _checked(backend, Devices("cpu", names))
    if backend == "tensorflow":
        _logical_cpus(count)
    elif backend == "jax" and count > 1:
        import jax

        jax.config.update("jax_num_cpu_devices", count)
    return devices


def _logical_cpus(count):
    import tensorflow as tf

    tf.config.set_visible_devices([], "GPU")
    if count == 1:
        return
    cpu = tf.config.list_physical_devices("CPU")[0]
    try:
        tf.config.set_logical_device_configuration(
            cpu, [tf.config.LogicalDeviceConfiguration()] * count
        )
    except RuntimeError as error:
        if len(tf.config.list_logical_devices("CPU")) != count:
            raise ValueError(
                f"'cpu:{count}' must be asked for before TensorFlow computes anything. "
                f"TensorFlow said: {error}"
            ) from error


def _gpus(backend):
    if backend == "tensorflow":
        import tensorflow as tf

        return [
            f"gpu:{i}" for i, _ in enumerate(tf.config.list_physical_devices("GPU"))
        ]
    if backend == "jax":
        import jax

        try:
            return [f"gpu:{device.id}" for device in jax.devices("gpu")]
        except RuntimeError:
            return []
    import torch

    return [f"gpu:{i}" for i in range(torch.cuda.device_count())]


def _hide_other_gpus(chosen):
    import tensorflow as tf

    physical = tf.config.list_physical_devices("GPU")
    tf.config.set_visible_devices(
        [physical[int(name.removeprefix("gpu:"))] for name in chosen], "GPU"
    )


def first_device(devices):
    """The scope in which to compute on the first of these devices alone."""
    if keras.backend.backend() == "tensorflow":
        return contextlib.nullcontext()  # `find_devices` has hidden the others.
    # PyTorch copies variables from "cpu" to "cpu:0", and then finds no gradients.
    return keras.device(devices.names[0].removesuffix(":0"))


def distribution(devices):
    """The scope in which to build and fit a model on these devices.

    One device: that device. Several: `tf.distribute.MirroredStrategy` on TensorFlow,
    `keras.distribution.DataParallel` on JAX.
    """
    if len(devices.names) == 1:
        return first_device(devices)
    if keras.backend.backend() == "jax":
        parallel = keras.distribution.DataParallel(devices=list(devices.names))
        return parallel.scope()
    import tensorflow as tf

    names = [f"{devices.kind}:{index}" for index in range(len(devices.names))]
    # Collectives between CPU devices fail at the second strategy of a process.
    reduction = tf.distribute.ReductionToOneDevice() if devices.kind == "cpu" else None
    return tf.distribute.MirroredStrategy(names, cross_device_ops=reduction).scope()


def choose_precision(request, devices, spec):
    """The Keras dtype policy to train under.

    ``"auto"`` is mixed_bfloat16 on GPUs that compute in it, mixed_float16 on other
    GPUs with tensor cores, and float32 on the CPU, except for ImageNet's bottleneck
    nets where the CPU has bfloat16 instructions: there it gave 12.6 images/s instead
    of 10-12 for ResNet-50, and nothing for ResNet-20 (docs/decisions/0005).

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
        return "mixed_bfloat16" if large and _cpu_has_bfloat16() else "float32"
    capability = _compute_capability()
    if capability >= (8, 0):
        return "mixed_bfloat16"
    return "mixed_float16" if capability >= (7, 0) else "float32"


def _cpu_has_bfloat16():
    cpuinfo = pathlib.Path("/proc/cpuinfo")
    return cpuinfo.exists() and "avx512_bf16" in cpuinfo.read_text()


def _compute_capability():
    """Of the first GPU; tensor cores since (7, 0), bfloat16 since (8, 0)."""
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        gpu = tf.config.get_visible_devices("GPU")[0]
        details = tf.config.experimental.get_device_details(gpu)
        return details.get("compute_capability", (0, 0))
    if backend == "jax":
        import jax

        capability = getattr(jax.devices("gpu")[0], "compute_capability", "0.0")
        return tuple(int(part) for part in str(capability).split("."))
    import torch

    return torch.cuda.get_device_capability()


def choose_xla(request, devices):
    """Whether to compile with XLA; `keras.Model.compile`'s ``jit_compile``.

    ``"auto"`` compiles on one GPU and on JAX (always compiled), not on the CPU, where
    it halves TensorFlow's training speed where oneDNN is used (docs/decisions/0005).

    Raises:
        ValueError: If it can't be had as asked.
    """
    if request not in ("auto", "on", "off"):
        raise ValueError(
            f"`xla` must be 'auto', 'on' or 'off'. Received: xla={request!r}."
        )
    backend = keras.backend.backend()
    several = len(devices.names) > 1
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
    if several and request == "on":
        raise ValueError(
            "XLA can't be used under MirroredStrategy: TensorFlow fails on variables of "
            "other devices. Use one device, or --backend jax. Received: xla='on' with "
            f"{len(devices.names)} devices."
        )
    return request == "on" or (
        request == "auto" and devices.kind == "gpu" and not several
    )


def synchronize_batch_norm(model, synchronized):
    """Makes batch norms take their statistics over all replicas, or no longer.

    Raises:
        ValueError: On other backends than TensorFlow. (JAX's `DataParallel` always
            takes them over the global batch.)
    """
    if keras.backend.backend() != "tensorflow":
        raise ValueError(
            "Synchronized batch norm is TensorFlow's; JAX's DataParallel takes the "
            "statistics over the global batch anyway. Received: the "
            f"{keras.backend.backend()} backend."
        )
    for layer in batch_norms(model):
        layer.synchronized = synchronized


def batch_norms(model):
    """The batch normalization layers of a functional model."""
    return [
        layer
        for layer in model.layers
        if isinstance(layer, keras.layers.BatchNormalization)
    ]


class AverageBatchNorm(keras.callbacks.Callback):
    """Gives every replica the mean of all replicas' batch-norm statistics.

    Under MirroredStrategy each replica keeps moving statistics of its own share of the
    batch, and saving takes the first replica's. This averages them before each
    validation, at the end of each epoch and of training: place it before what saves.
    """

    def on_test_begin(self, logs=None):
        average_batch_norm(self.model)

    def on_epoch_end(self, epoch, logs=None):
        average_batch_norm(self.model)

    def on_train_end(self, logs=None):
        average_batch_norm(self.model)


def replica_callbacks(devices):
    """What `fit` needs so that replicas agree: nothing on one device or on JAX."""
    mirrored = len(devices.names) > 1 and keras.backend.backend() == "tensorflow"
    return [AverageBatchNorm()] if mirrored else []


def average_batch_norm(model):
    """Averages moving means and variances over the replicas of a mirrored model."""
    import tensorflow as tf

    for layer in batch_norms(model):
        for variable in (layer.moving_mean, layer.moving_variance):
            replicas = getattr(variable.value, "values", None)
            if replicas:
                mean = tf.reduce_mean([replica.read_value() for replica in replicas], 0)
                for replica in replicas:
                    replica.assign(mean)
