"""Joins and leaves the other processes that train together; names the loss of one."""

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import keras

from keras_resnet.config.words import seconds_of
from keras_resnet.devices import agreement, meeting
from keras_resnet.devices.cluster import WAIT, WAITING, Workers
from keras_resnet.devices.links import WorkerLost
from keras_resnet.devices.log_lines import without_log_lines


def join(
    workers: Workers, wait: str = WAIT, asked: Mapping[str, Any] | None = None
) -> None:
    """Joins the other workers and waits for them; call it before anything computes.

    Args:
        workers: As of `cluster.find_workers`.
        wait: How long at most, as of `words.seconds_of`.
        asked: What all workers must have the same, by names for the message.

    Raises:
        ValueError: If the backend can't train with these workers, or if they haven't
            the same in ``asked``.
        WorkerLost: If they don't come in time.
    """
    seconds = seconds_of(wait, "wait")
    if workers.count == 1:
        return
    backend = keras.backend.backend()
    if backend == "torch":
        raise ValueError(
            "On the PyTorch backend one process trains alone: use --backend tensorflow "
            f"or jax. Received: an environment that names {workers.count} workers."
            f"{workers.advice}"
        )
    if backend == "tensorflow" and len(workers.addresses) < workers.count:
        raise ValueError(
            "TensorFlow needs the addresses of all workers: set KERAS_RESNET_WORKERS or "
            "TF_CONFIG, or use --backend jax. Received: JAX_COORDINATOR_ADDRESS alone."
        )
    if workers.gpus is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = workers.gpus
    print(
        f"Waiting for {_others(workers)}, for {wait} at the most.",
        file=sys.stderr,
        flush=True,
    )
    links = meeting.meet(workers, seconds)
    if links is not None:
        agreement.begin(links, workers)
        agreement.must_agree(asked or {})
    if links is None or not _framework_joins(workers, seconds):
        raise WorkerLost(
            f"All {workers.count} workers must meet within {wait}, and this one still "
            f"waits for {_others(workers)}. See that all of them run and reach each "
            "other's addresses, then start them again; --wait gives more time."
            f"{workers.advice}"
        )
    _hear_sigterm()


def _framework_joins(workers: Workers, seconds: float) -> bool:
    """Has the framework join the workers, who have met; whether it did so in time."""
    if keras.backend.backend() == "jax":
        return _in_time(lambda: _meet_on_jax(workers, seconds), seconds)
    mirrored(workers.addresses, workers.index)
    return True


def _hear_sigterm() -> None:
    """Sets Python's handler again: both frameworks make SIGTERM do nothing."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, signal.getsignal(signal.SIGTERM))


def _meet_on_jax(workers: Workers, seconds: float) -> None:
    import jax

    # Not Keras's: it lets JAX take but one GPU of all that a task of SLURM has.
    jax.distributed.initialize(
        workers.addresses[0],
        workers.count,
        workers.index,
        cluster_detection_method="deactivate",
        # JAX ends the process when its own time is over: ours comes first.
        initialization_timeout=int(seconds) + 60,
    )


def _in_time(function: Callable[[], object], seconds: float) -> bool:
    """Calls a function that hears no signal in a thread; whether it ended in time.

    JAX waits in C++, where Python can't act on SIGINT, and makes SIGTERM do nothing.
    Here, the main thread acts on both at once.
    """
    failed: list[BaseException] = []

    def call() -> None:
        try:
            function()
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=call, name=WAITING, daemon=True)
    thread.start()
    end = time.monotonic() + seconds
    while thread.is_alive() and time.monotonic() < end:
        thread.join(0.2)
        _hear_sigterm()
    if failed:
        raise failed[0]
    return not thread.is_alive()


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
    with without_log_lines():  # Where it has none.
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
