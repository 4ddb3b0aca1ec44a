"""Computing on several devices: where to build, what `fit` reads, what replicas hold."""

import contextlib
import functools
import warnings

import keras
import numpy as np

from keras_resnet.devices import workers


def first_device(devices):
    """The scope in which to compute on the first of these devices alone."""
    if keras.backend.backend() == "tensorflow":
        return contextlib.nullcontext()  # `find_devices` has hidden the others.
    # PyTorch copies variables from "cpu" to "cpu:0", and then finds no gradients.
    return keras.device(devices.names[0].removesuffix(":0"))


def distribution(devices):
    """The scope in which to build and fit a model on these devices.

    One device: that device. Several: `tf.distribute.MirroredStrategy` on TensorFlow,
    `keras.distribution.DataParallel` on JAX. Several workers on TensorFlow:
    `tf.distribute.MultiWorkerMirroredStrategy`, and `WorkerLost` if another one does
    not answer any more.
    """
    if devices.workers > 1:
        return _of_workers(devices)
    if devices.replicas == 1:
        return first_device(devices)
    if keras.backend.backend() == "jax":
        return _data_parallel(list(devices.names))
    return _mirrored(devices.kind, len(devices.names)).scope()


@functools.cache
def _mirrored(kind, count):
    """The strategy of these devices, the only one: a second one's collectives can fail."""
    import tensorflow as tf

    names = [f"{kind}:{index}" for index in range(count)]
    # Those between CPU devices fail under several steps per execution as well.
    reduction = tf.distribute.ReductionToOneDevice() if kind == "cpu" else None
    return tf.distribute.MirroredStrategy(names, cross_device_ops=reduction)


@contextlib.contextmanager
def _of_workers(devices):
    """The scope of several workers, in which the loss of one is named as such."""
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


def _data_parallel(names):
    return keras.distribution.DataParallel(
        devices=names, auto_shard_dataset=False
    ).scope()


def placed(batches, devices):
    """A worker's batches as `fit` takes them, inside of `distribution`.

    Args:
        batches: `tf.data.Dataset` of this worker's share of each batch, which must
            divide by its devices.
        devices: `Devices`.

    Returns:
        ``batches``, but on TensorFlow with several workers distributed already: Keras
        would let each worker take a part of its share.
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


def agree(number, devices, what):
    """Raises `ValueError` unless all workers have the same number.

    Args:
        number: Of this worker, an int.
        devices: `Devices`.
        what: What the number is, and what to do if workers differ: for the error.
    """
    numbers = everyones(number, devices)
    if len(set(numbers)) > 1:
        raise ValueError(f"{what} Received: {numbers}, worker by worker.")


def require(holds, devices, message):
    """Raises `ValueError` on all workers unless something holds on each of them.

    Args:
        holds: Whether it does on this worker.
        devices: `Devices`.
        message: What must hold, and what to do.
    """
    answers = everyones(int(holds), devices)
    if not all(answers):
        lacking = [number for number, answer in enumerate(answers) if not answer]
        raise ValueError(f"{message} Received: not so on the workers {lacking}.")


def everyones(number, devices):
    """A number of each worker, in their order; all of them must ask for it.

    Args:
        number: Of this worker, an int.
        devices: `Devices`.

    Returns:
        List of ints.
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
def _gather_on_tensorflow():
    import tensorflow as tf

    everyone = workers.joined()

    # Not int32, which TensorFlow keeps on the host also where GPUs compute.
    @tf.function(input_signature=[tf.TensorSpec((), tf.int64)])
    def gather(number):
        return everyone.run(
            lambda: tf.distribute.get_replica_context().all_gather(number[None], 0)
        )

    return gather


def end_together(devices):
    """Waits for all workers on TensorFlow, which counts one that ends first as lost.

    On JAX they have parted, with `workers.leave`.
    """
    if devices.workers > 1 and keras.backend.backend() == "tensorflow":
        with workers.losses_named(devices.workers):
            everyones(0, devices)


def read(variable):
    """A Keras variable's value; where replicas have their own, all of them, stacked.

    Returns:
        NumPy array of the variable's shape, or ``(replicas, *shape)``.
    """
    replicas = replicas_of(variable)
    if not replicas:
        return keras.ops.convert_to_numpy(variable)
    values = [replica.numpy() for replica in replicas]
    same = all(np.array_equal(values[0], value) for value in values[1:])
    return values[0] if same else np.stack(values)


def replicas_of(variable):
    """The variables of the replicas under MirroredStrategy, else nothing."""
    if keras.backend.backend() != "tensorflow":
        return ()  # A tensor of PyTorch has `values` of its own.
    return getattr(variable.value, "values", ())


def write(variable, value):
    """Gives a Keras variable what `read` returned, also on other devices.

    The replicas get the mean where there are more or fewer of them now.
    """
    replicas = replicas_of(variable) or [variable]
    if value.ndim == len(variable.shape):
        value = [value] * len(replicas)
    elif len(value) != len(replicas):
        value = [value.mean(0).astype(value.dtype)] * len(replicas)
    for replica, own in zip(replicas, value, strict=True):
        replica.assign(own)
