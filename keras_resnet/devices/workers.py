"""Joins and leaves the other processes that train together; names the loss of one."""

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from typing import Any

import keras

from keras_resnet.devices.cluster import Workers


def join(workers: Workers) -> None:
    """Joins the other workers and waits for them; call it before anything computes.

    Raises:
        ValueError: If the backend can't train with these workers.
    """
    if workers.count == 1:
        return
    backend = keras.backend.backend()
    if backend == "torch":
        raise ValueError(
            "On the PyTorch backend one process trains alone: use --backend tensorflow "
            f"or jax. Received: an environment that names {workers.count} workers."
        )
    if backend == "tensorflow" and len(workers.addresses) < workers.count:
        raise ValueError(
            "TensorFlow needs the addresses of all workers: set KERAS_RESNET_WORKERS or "
            "TF_CONFIG, or use --backend jax. Received: JAX_COORDINATOR_ADDRESS alone."
        )
    if workers.gpus is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = workers.gpus
    # An framework that waits says nothing, and hears no signal but SIGKILL.
    print(f"Waiting for {_others(workers)}.", file=sys.stderr, flush=True)
    if backend == "jax":
        import jax

        # Not Keras's: it lets JAX take but one GPU of all that a task of SLURM has.
        jax.distributed.initialize(
            workers.addresses[0],
            workers.count,
            workers.index,
            cluster_detection_method="deactivate",
        )
    else:
        mirrored(workers.addresses, workers.index)
    # Both frameworks have just made SIGTERM do nothing.
    if threading.current_thread() == threading.main_thread():
        signal.signal(signal.SIGTERM, signal.getsignal(signal.SIGTERM))


def _others(workers: Workers) -> str:
    """The workers that this one waits for, in words."""
    own = f"this is number {workers.index} of {workers.count}"
    if len(workers.addresses) == workers.count:
        others = [
            f"{number} at {address}"
            for number, address in enumerate(workers.addresses)
            if number != workers.index
        ]
        return f"the other workers, {', '.join(others)} ({own})"
    return f"the other workers, who meet at {workers.addresses[0]} ({own})"


def mirrored(addresses: Sequence[str], index: int) -> Any:
    """The one `tf.distribute.MultiWorkerMirroredStrategy` of these workers.

    It must be made before TensorFlow computes anything.

    Args:
        addresses: ``host:port`` of all workers.
        index: Number of this one among them.
    """
    global _strategy
    if _strategy is not None:
        return _strategy
    import tensorflow as tf

    # The strategy counts GPUs by itself only where TF_CONFIG names the workers.
    gpus = tf.config.get_visible_devices("GPU")
    resolver = tf.distribute.cluster_resolver.SimpleClusterResolver(
        tf.train.ClusterSpec({"worker": list(addresses)}),
        task_type="worker",
        task_id=index,
        num_accelerators={"GPU": len(gpus)},
        rpc_layer="grpc",
    )
    _strategy = tf.distribute.MultiWorkerMirroredStrategy(resolver)
    return _strategy


_strategy: Any = None


def joined() -> Any:
    """The strategy that `join` made on TensorFlow."""
    return _strategy


class WorkerLost(RuntimeError):
    """Another worker doesn't answer any more, so that this one can only end."""


@contextlib.contextmanager
def losses_named(count: int) -> Iterator[None]:
    """Turns the framework's error at the loss of another worker into `WorkerLost`.

    The loss of a process is noticed within seconds, by its closed connections; that of a
    host by its missing heartbeat, after 100 s by default on JAX.

    Args:
        count: Number of workers.
    """
    try:
        yield
    except Exception as error:
        if count == 1 or not _of_the_framework(error):
            raise
        lines = [line for line in str(error).splitlines() if line.strip()]
        cause = lines[:1] if keras.backend.backend() == "jax" else lines[-1:]
        raise WorkerLost(
            f"One of the {count} workers was lost. Start all of them again with the same "
            "command: training goes on from the last checkpoint. "
            f"{keras.backend.backend()} said: {''.join(cause)}"
        ) from error


def _of_the_framework(error: Exception) -> bool:
    """Whether a collective operation failed, as it does when another worker is gone."""
    if keras.backend.backend() == "jax":
        # JAX raises ValueError too, where the failure shows when a value is read.
        words = ("Gloo", "NCCL", "UNAVAILABLE", "heartbeat", "coordination service")
        return any(word in str(error) for word in words)
    from tensorflow import errors

    return isinstance(
        error,
        errors.UnavailableError
        | errors.AbortedError
        | errors.CancelledError
        | errors.DeadlineExceededError
        | errors.InternalError,
    )


def leave(count: int) -> None:
    """Leaves the other workers when training is done.

    Without it, JAX would have the others wait at their end while the chief measures.

    Args:
        count: Number of workers.
    """
    if count > 1 and keras.backend.backend() == "jax":
        import jax

        jax.distributed.shutdown()
