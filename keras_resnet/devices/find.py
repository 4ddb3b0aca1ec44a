"""Finds the CPUs and GPUs that a run is asked to compute on, and describes them."""

import re
import sys
from dataclasses import dataclass

import keras

from keras_resnet.devices import workers
from keras_resnet.devices.cluster import WAIT, Workers, find_workers


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


def find_devices(request: str = "all", wait: str = WAIT) -> Devices:
    """Finds the devices that are asked for; call it before anything computes.

    Where the environment names several workers, it joins them: see `devices.cluster`.

    Args:
        request: ``"all"`` (every GPU, else the CPU), ``"gpu:0,1"`` (these), or
            ``"cpu:2"`` (two logical devices on the CPU, for trying distribution out).
        wait: How long to wait for the other workers, such as ``"10m"``.

    Raises:
        ValueError: If ``request`` is not understood, there are no such devices, or the
            backend has begun to compute on others.
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
    if others.count > 1:
        return _of_worker(request, match, others, wait)
    try:
        return _local(request, match, backend)
    except RuntimeError as error:
        raise ValueError(
            f"{request!r} must be asked for before {backend} computes anything: begin a "
            f"new process. {backend} said: {error}"
        ) from error


def _of_worker(
    request: str, match: re.Match[str], others: Workers, wait: str
) -> Devices:
    """This worker's devices, after it has joined the others."""
    backend = keras.backend.backend()
    cpus = int(match[1] or 1) if request.startswith("cpu") else 0
    if request.startswith("gpu") or (backend == "tensorflow" and cpus > 1):
        raise ValueError(
            "With several workers each takes all the GPUs that it sees, else its CPU: "
            "leave out `devices` (--devices), and set CUDA_VISIBLE_DEVICES for fewer; "
            "'cpu:COUNT' is for JAX, as TensorFlow's strategy takes one CPU a worker. "
            f"Received: devices={request!r} and {others.count} workers."
        )
    if cpus:
        _cpus(backend, cpus)
    workers.join(others, wait)
    if backend == "jax":
        import jax

        local = jax.local_devices(backend="cpu" if cpus else None)
        kind = "cpu" if local[0].platform == "cpu" else "gpu"
        names = tuple(f"{kind}:{device.id}" for device in local)
    else:
        names = () if cpus else tuple(_gpus(backend))
        kind = "gpu" if names else "cpu"
        names = names or ("cpu:0",)
    return Devices(kind, names, others.count, others.index)


def _local(request: str, match: re.Match[str], backend: str) -> Devices:
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
            f"`devices` names GPUs that {backend} does not see: it sees {len(gpus)}. For "
            "NVIDIA's, TensorFlow needs the extra `gpu` (in the checkout: pip install "
            "'.[gpu]'), JAX jax[cuda12], PyTorch a build for CUDA. "
            f"Received: devices={request!r}."
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


def _hide_other_gpus(chosen: tuple[str, ...]) -> None:
    import tensorflow as tf

    physical = tf.config.list_physical_devices("GPU")
    tf.config.set_visible_devices(
        [physical[int(name.removeprefix("gpu:"))] for name in chosen], "GPU"
    )


def compute_capability(devices: Devices) -> tuple[int, ...]:
    """The compute capability of the first of these GPUs, major and minor version.

    NVIDIA's have tensor cores since (7, 0) and compute in bfloat16 since (8, 0).
    """
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        gpu = tf.config.get_visible_devices("GPU")[0]  # The others are hidden.
        details = tf.config.experimental.get_device_details(gpu)
        return details.get("compute_capability", (0, 0))
    if backend == "jax":
        import jax

        first = _indices(devices)[0]
        gpu = next(gpu for gpu in jax.local_devices() if gpu.id == first)
        capability = getattr(gpu, "compute_capability", "0.0")
        return tuple(int(part) for part in str(capability).split("."))
    import torch

    return torch.cuda.get_device_capability(_indices(devices)[0])


def _indices(devices: Devices) -> list[int]:
    return [int(name.rpartition(":")[2]) for name in devices.names]


def accelerators(devices: Devices) -> list[str]:
    """The names of the GPUs of all workers, e.g. "NVIDIA H200", for a record."""
    if devices.kind == "cpu":
        return []
    backend = keras.backend.backend()
    indices = _indices(devices)
    if backend == "tensorflow":
        import tensorflow as tf

        # Those that are not used are hidden.
        gpus = tf.config.get_visible_devices("GPU")
        details = map(tf.config.experimental.get_device_details, gpus)
        names = [found.get("device_name", "GPU") for found in details]
    elif backend == "jax":
        import jax

        kinds = {gpu.id: gpu.device_kind for gpu in jax.local_devices()}
        names = [kinds[index] for index in indices]
    else:
        import torch

        names = [torch.cuda.get_device_name(index) for index in indices]
    return devices.workers * names


def peak_memory(devices: Devices) -> int | None:
    """The largest number of bytes that have been in use at a time.

    Returns:
        On a CPU, of the whole process; on GPUs, of the device with the most; `None`
        where the backend or the system doesn't say.
    """
    if devices.kind == "cpu":
        try:
            import resource
        except ImportError:  # Windows.
            return None
        # In KiB on Linux, in bytes on macOS.
        unit = 1 if sys.platform == "darwin" else 1024
        return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        names = [f"GPU:{index}" for index in range(len(devices.names))]
        return max(tf.config.experimental.get_memory_info(n)["peak"] for n in names)
    if backend == "jax":
        import jax

        stats = [device.memory_stats() or {} for device in jax.local_devices()]
        return max(stat.get("peak_bytes_in_use", 0) for stat in stats) or None
    import torch

    return torch.cuda.max_memory_allocated(_indices(devices)[0])
