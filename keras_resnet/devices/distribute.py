"""Computes on several devices: where to build and fit a model, and on which batches.

Also reads and writes variables of which each replica has its own value.
"""

from __future__ import annotations

import contextlib
import functools
import warnings
from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias

import keras
import numpy as np

from keras_resnet.devices import workers
from keras_resnet.devices.find import Devices
from keras_resnet.devices.host import Dataset

Scope: TypeAlias = contextlib.AbstractContextManager[Any]


def first_device(devices: Devices) -> Scope:
    """The scope in which to compute on the first of these devices alone."""
    if keras.backend.backend() == "tensorflow":
        return contextlib.nullcontext()  # `find_devices` has hidden the others.
    # PyTorch copies variables from "cpu" to "cpu:0", and then finds no gradients.
    return keras.device(devices.names[0].removesuffix(":0"))


def distribution(devices: Devices) -> Scope:
    """The scope in which to build and fit a model on these devices.

    One device: that device. Several: `tf.distribute.MirroredStrategy` on TensorFlow,
    `keras.distribution.DataParallel` on JAX. Several workers on TensorFlow:
    `tf.distribute.MultiWorkerMirroredStrategy`.

    Raises:
        WorkerLost: Inside of the scope, if another worker doesn't answer any more.
    """
    if devices.workers > 1:
        return _of_workers(devices)
    if devices.replicas == 1:
        return first_device(devices)
    if keras.backend.backend() == "jax":
        return _data_parallel(list(devices.names))
    return _mirrored(devices.kind, len(devices.names)).scope()


@functools.cache
def _mirrored(kind: str, count: int) -> Any:
    """The one strategy of these devices, since a second one's collectives can fail."""
    import tensorflow as tf

    names = [f"{kind}:{index}" for index in range(count)]
    # Those between CPU devices fail under several steps per execution as well.
    reduction = tf.distribute.ReductionToOneDevice() if kind == "cpu" else None
    return tf.distribute.MirroredStrategy(names, cross_device_ops=reduction)


@contextlib.contextmanager
def _of_workers(devices: Devices) -> Iterator[None]:
    """The scope of several workers, in which the loss of one raises `WorkerLost`."""
    if keras.backend.backend() == "jax":
        scope = _data_parallel(keras.distribution.list_devices(devices.kind))
    else:
        joined = workers.joined()
        if joined.num_replicas_in_sync != devices.replicas:
            raise RuntimeError(
                "All workers must have equally many devices, and TensorFlow's strategy "
                f"must use them. Received: {joined.num_replicas_in_sync} replicas for "
                f"{devices.replicas} devices of {devices.workers} workers."
            )
        scope = joined.scope()
    with workers.losses_named(devices.workers), scope:
        yield


def _data_parallel(names: Sequence[str]) -> Scope:
    return keras.distribution.DataParallel(
        devices=names, auto_shard_dataset=False
    ).scope()


def placed(batches: Dataset, devices: Devices) -> Any:
    """A worker's batches in the form that `fit` takes inside of `distribution`.

    Args:
        batches: `tf.data.Dataset` of this worker's share of each batch, which must
            divide by its devices.
        devices: What the model is trained on.

    Returns:
        ``batches``; on TensorFlow with several workers, a distributed data set of them,
        since Keras would otherwise let each worker take a part of its share.
    """
    if devices.workers == 1 or keras.backend.backend() != "tensorflow":
        return batches
    import tensorflow as tf

    # Each element goes to one of this worker's devices.
    here = len(devices.names)
    if here > 1:

        def split(part):  # Of unknown height and width where these change.
            parts = tf.reshape(part, tf.concat([[here, -1], tf.shape(part)[1:]], 0))
            return tf.ensure_shape(parts, (here, None, *part.shape[1:]))

        batches = batches.map(lambda *batch: tuple(map(split, batch))).unbatch()
        # Keras takes the number of elements for that of steps, and misses some.
        warnings.filterwarnings("ignore", "Your input ran out of data")
    return workers.joined().distribute_datasets_from_function(lambda context: batches)


def agree(number: int, devices: Devices, what: str) -> None:
    """Raises `ValueError` unless all workers have the same number.

    Args:
        number: This worker's.
        devices: What the run computes on.
        what: For the error: what the number is, and what to do if workers differ.
    """
    numbers = everyones(number, devices)
    if len(set(numbers)) > 1:
        raise ValueError(f"{what} Received: {numbers}, worker by worker.")


def everyones(number: int, devices: Devices) -> list[int]:
    """The numbers of all workers, in their order; every worker must call it.

    Args:
        number: This worker's.
        devices: What the run computes on.
    """
    if devices.workers == 1:
        return [number]
    if keras.backend.backend() == "jax":
        from jax.experimental import multihost_utils

        return multihost_utils.process_allgather(np.int32(number)).tolist()
    found = _gather_on_tensorflow()(number)
    local = workers.joined().experimental_local_results(found)
    return local[0].numpy().tolist()[:: len(devices.names)]


@functools.cache
def _gather_on_tensorflow() -> Any:
    import tensorflow as tf

    everyone = workers.joined()

    # Not int32, which TensorFlow keeps on the host also where GPUs compute.
    @tf.function(input_signature=[tf.TensorSpec((), tf.int64)])
    def gather(number):
        return everyone.run(
            lambda: tf.distribute.get_replica_context().all_gather(number[None], 0)
        )

    return gather


def end_together(devices: Devices) -> None:
    """Waits for all workers on TensorFlow, which takes one that ends first for lost.

    On JAX the workers have already left each other with `workers.leave`.
    """
    if devices.workers > 1 and keras.backend.backend() == "tensorflow":
        with workers.losses_named(devices.workers):
            everyones(0, devices)


def read(variable: keras.Variable) -> np.ndarray:
    """The value of a variable, or those of all replicas where they differ.

    Returns:
        Array of the variable's shape, or of the shape ``(replicas, *shape)``.
    """
    replicas = replicas_of(variable)
    if not replicas:
        return keras.ops.convert_to_numpy(variable)
    values = [replica.numpy() for replica in replicas]
    same = all(np.array_equal(values[0], value) for value in values[1:])
    return values[0] if same else np.stack(values)


def replicas_of(variable: keras.Variable) -> Sequence[Any]:
    """The variables of the replicas under `MirroredStrategy`; otherwise empty."""
    if keras.backend.backend() != "tensorflow":
        return ()  # A tensor of PyTorch has `values` of its own.
    return getattr(variable.value, "values", ())


def write(variable: keras.Variable, value: np.ndarray) -> None:
    """Assigns to a variable what `read` returned, perhaps on other devices.

    Where the number of replicas is another now, each gets the mean.

    Args:
        variable: Of the same shape as the one that was read.
        value: As of `read`.
    """
    replicas = replicas_of(variable) or [variable]
    if value.ndim == len(variable.shape):
        values = [value] * len(replicas)
    elif len(value) != len(replicas):
        values = [value.mean(0).astype(value.dtype)] * len(replicas)
    else:
        values = list(value)
    for replica, own in zip(replicas, values, strict=True):
        replica.assign(own)
