"""What the devices of a run are: their names, what they can, the memory they have used."""

import sys

import keras

from keras_resnet.devices.find import Devices


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
