"""Finds the CPUs and GPUs that a run is asked to compute on."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import keras

from keras_resnet.devices import agreement, cards, launchers, workers
from keras_resnet.devices.cluster import EVALUATOR, WAIT, Workers, find_workers


@dataclass(frozen=True)
class Devices:
    """What a run computes on.

    Attributes:
        kind: ``"cpu"`` or ``"gpu"``.
        names: This worker's devices, in the backend's spelling.
        workers: Number of processes that train together.
        worker: Number of this process among them, from 0.
    """

    kind: str
    names: tuple[str, ...]
    workers: int = 1
    worker: int = 0

    @property
    def replicas(self) -> int:
        """Number of the devices of all workers."""
        return self.workers * len(self.names)

    @property
    def all_names(self) -> list[str]:
        """Names of the devices of all workers, for the record."""
        if self.workers == 1:
            return list(self.names)
        return [
            f"worker {n} {name}" for n in range(self.workers) for name in self.names
        ]

    @property
    def chief(self) -> bool:
        """Whether this worker is the one that writes files."""
        return self.worker == 0


ALONE: Devices = Devices("cpu", ("cpu:0",))


def find_devices(
    request: str = "all", wait: str = WAIT, asked: Mapping[str, Any] | None = None
) -> Devices:
    """Finds the devices that are asked for; call it before anything computes.

    Where the environment names several workers, it joins them: see `devices.cluster`.

    Args:
        request: ``"all"`` (every GPU, else the CPU), ``"gpu:0,1"`` (these), or
            ``"cpu:2"`` (two logical devices on the CPU, for trying distribution out).
        wait: How long to wait for the other workers, such as ``"10m"``.
        asked: What all workers must have the same, by names for the message.

    Raises:
        ValueError: If ``request`` is not understood, there are no such devices, the
            backend has begun to compute on others, or the workers differ.
        WorkerLost: If the other workers don't come in time.
    """
    words = request if isinstance(request, str) else ""
    match = re.fullmatch(r"all|cpu(?::(\d+))?|gpu(?::(\d+(?:,\d+)*))?", words)
    if match is None:
        raise ValueError(
            "`devices` must be 'all', 'cpu', 'cpu:COUNT', 'gpu' or 'gpu:INDEX,INDEX'. "
            f"Received: devices={request!r}."
        )
    backend = keras.backend.backend()
    others = find_workers()
    if others.evaluator:
        raise ValueError(EVALUATOR)
    if others.count > 1:
        cpus = _cpus_of_worker(request, match, others)
        workers.join(others, wait, asked)
        return _of_worker(others, cpus)
    launchers.warn_of_unread()
    try:
        return _local(request, match, backend)
    except RuntimeError as error:
        raise ValueError(
            f"{request!r} must be asked for before {backend} computes anything: begin a "
            f"new process. {backend} said: {error}"
        ) from error


def _cpus_of_worker(request: str, match: re.Match[str], others: Workers) -> int:
    """Makes the CPU devices that are asked for; their number, 0 for all GPUs."""
    backend = keras.backend.backend()
    cpus = int(match[1] or 1) if request.startswith("cpu") else 0
    if request.startswith("gpu") or (backend == "tensorflow" and cpus > 1):
        raise ValueError(
            "With several workers each takes all the GPUs that it sees, else its CPU: "
            "leave out `devices` (--devices), and set CUDA_VISIBLE_DEVICES for fewer; "
            "'cpu:COUNT' is for JAX, as TensorFlow's strategy takes one CPU a worker. "
            f"Received: devices={request!r} and {others.count} workers.{others.advice}"
        )
    if cpus:
        _cpus(backend, cpus)
    return cpus


def _of_worker(others: Workers, cpus: int) -> Devices:
    """This worker's devices, after it has joined the others."""
    backend = keras.backend.backend()
    if backend == "jax":
        import jax

        local = jax.local_devices(backend="cpu" if cpus else None)
        kind = "cpu" if local[0].platform == "cpu" else "gpu"
        names = tuple(f"{kind}:{device.id}" for device in local)
    else:
        names = () if cpus else tuple(_gpus(backend))
        kind = "gpu" if names else "cpu"
        names = names or ("cpu:0",)
    agreement.must_agree({"devices": f"{len(names)} of kind {kind}"})
    if kind == "cpu" and not cpus:
        cards.warn_of_unused(backend)
    return Devices(kind, names, others.count, others.index)


def _local(request: str, match: re.Match[str], backend: str) -> Devices:
    if request.startswith("cpu"):
        return _cpus(backend, int(match[1] or 1))
    gpus = _gpus(backend)
    if request == "all" and not gpus:
        cards.warn_of_unused(backend)
        return _cpus(backend, 1)
    indices = map(int, match[2].split(",")) if match[2] else range(len(gpus))
    try:
        chosen = tuple(gpus[index] for index in dict.fromkeys(indices))
    except IndexError:
        chosen = ()
    if not chosen:
        raise ValueError(
            f"`devices` names GPUs that {backend} does not see: it sees {len(gpus)}. "
            f"{cards.INSTALL}. Received: devices={request!r}."
        )
    if backend == "tensorflow":
        _hide_other_gpus(chosen)
    return _checked(backend, Devices("gpu", chosen))


def _checked(backend: str, devices: Devices) -> Devices:
    if backend == "torch" and len(devices.names) > 1:
        raise ValueError(
            "On the PyTorch backend training uses one device: Keras has no data "
            "parallelism there. Use --backend tensorflow or jax, or name one device. "
            f"Received: {len(devices.names)} devices."
        )
    return devices


def _cpus(backend: str, count: int) -> Devices:
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


def _logical_cpus(count: int) -> None:
    import tensorflow as tf

    tf.config.set_visible_devices([], "GPU")
    if count == 1:
        return
    cpu = tf.config.list_physical_devices("CPU")[0]
    try:
        tf.config.set_logical_device_configuration(
            cpu, [tf.config.LogicalDeviceConfiguration()] * count
        )
    except RuntimeError:
        if len(tf.config.list_logical_devices("CPU")) != count:
            raise


def _gpus(backend: str) -> list[str]:
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


def warn_of_unused_card() -> None:
    """Warns as `find_devices` does where the backend sees no GPU though a card is here."""
    backend = keras.backend.backend()
    if not _gpus(backend):
        cards.warn_of_unused(backend)


def _hide_other_gpus(chosen: tuple[str, ...]) -> None:
    import tensorflow as tf

    physical = tf.config.list_physical_devices("GPU")
    tf.config.set_visible_devices(
        [physical[int(name.removeprefix("gpu:"))] for name in chosen], "GPU"
    )
