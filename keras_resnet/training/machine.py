"""What there is to compute on: devices, and the precision and XLA that suit them.

What is asked for, or an error.
"""

import pathlib
import re
import sys
from dataclasses import dataclass

import keras

from keras_resnet.training import workers

PRECISIONS = ("auto", "float32", "mixed_bfloat16", "mixed_float16")


@dataclass(frozen=True)
class Devices:
    """What a run computes on.

    Attributes:
        kind: ``"cpu"`` or ``"gpu"``.
        names: Of this worker's devices, in the backend's spelling.
        workers: Processes that train together.
        worker: Number of this one among them, from 0.
    """

    kind: str
    names: tuple[str, ...]
    workers: int = 1
    worker: int = 0

    @property
    def replicas(self):
        """Devices of all workers."""
        return self.workers * len(self.names)

    @property
    def all_names(self):
        """Of the devices of all workers, for the record."""
        if self.workers == 1:
            return list(self.names)
        return [
            f"worker {n} {name}" for n in range(self.workers) for name in self.names
        ]

    @property
    def chief(self):
        """Whether this worker is the one that writes files."""
        return self.worker == 0


ALONE = Devices("cpu", ("cpu:0",))


def find_devices(request="all"):
    """Finds the devices that are asked for; call it before anything computes.

    Args:
        request: ``"all"`` (every GPU, else the CPU), ``"gpu:0,1"`` (these), or
            ``"cpu:2"`` (two logical devices on the CPU, for trying distribution out).

    Raises:
        ValueError: If ``request`` is not understood or there are no such devices.

    Where the environment names several workers, it joins them: see `workers`.
    """
    match = re.fullmatch(r"all|cpu(?::(\d+))?|gpu(?::(\d+(?:,\d+)*))?", request)
    if match is None:
        raise ValueError(
            "`devices` must be 'all', 'cpu', 'cpu:COUNT', 'gpu' or 'gpu:INDEX,INDEX'. "
            f"Received: devices={request!r}."
        )
    backend = keras.backend.backend()
    others = workers.find()
    if others.count > 1:
        return _of_worker(request, match, others, backend)
    return _local(request, match, backend)


def _of_worker(request, match, others, backend):
    """This worker's devices, after it has joined the others."""
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
    workers.join(others)
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


def _local(request, match, backend):
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


def accelerators(devices):
    """The names of the GPUs of all workers, e.g. "NVIDIA H200", for a record."""
    if devices.kind == "cpu":
        return []
    backend = keras.backend.backend()
    indices = [int(name.removeprefix("gpu:")) for name in devices.names]
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


def choose_xla(request, devices, synchronized=False):
    """Whether to compile with XLA; `keras.Model.compile`'s ``jit_compile``.

    ``"auto"`` compiles on one GPU and on JAX (always compiled), not on the CPU, where
    it halves TensorFlow's training speed where oneDNN is used (docs/decisions/0005),
    and not on several devices, where no GPUs were at hand to measure it on.

    Args:
        request: ``"auto"``, ``"on"`` or ``"off"``.
        devices: `Devices`.
        synchronized: Whether batch norms take their statistics over all devices.

    Raises:
        ValueError: If it can't be had as asked.
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
            "--xla on or --sync-batch-norm, or use --backend jax, which has both. "
            f"Received: xla='on', sync_batch_norm=True, {devices.replicas} devices."
        )
    return request == "on" or (
        request == "auto" and devices.kind == "gpu" and not several
    )


def be_deterministic(xla):
    """Has TensorFlow's operations give the same bits each time, until the process ends.

    On GPUs some sum in another order each time otherwise.

    Args:
        xla: As asked of `choose_xla`.

    Raises:
        ValueError: If it can't be had: on other backends, and with XLA, which TensorFlow
            would leave out without a word.
    """
    backend = keras.backend.backend()
    if backend != "tensorflow" or xla == "on":
        raise ValueError(
            "`deterministic` (--deterministic) needs the TensorFlow backend without XLA: "
            "use --backend tensorflow, and leave out --xla on. "
            f"Received: backend={backend!r}, xla={xla!r}."
        )
    import tensorflow as tf

    tf.config.experimental.enable_op_determinism()


def peak_memory(devices):
    """Bytes that were in use at the most so far.

    Returns:
        Of the whole process on a CPU, of the device with the most on GPUs, `None` where
        the backend or the system doesn't say.
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

    return torch.cuda.max_memory_allocated()
