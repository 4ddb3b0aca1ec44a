"""Batch norm in training: faster, over all devices, averaged, and taken anew after it."""

from collections.abc import Callable, Iterable
from typing import Any

import keras
import numpy as np

from keras_resnet.devices import distribute
from keras_resnet.devices.find import Devices
from keras_resnet.training.callbacks import Logs


def batch_norms(model: keras.Model) -> list[keras.layers.BatchNormalization]:
    """The batch normalization layers of a functional model."""
    return [
        layer
        for layer in model.layers
        if isinstance(layer, keras.layers.BatchNormalization)
    ]


@keras.saving.register_keras_serializable(package="keras_resnet")
class FusedBatchNormalization(keras.layers.BatchNormalization):
    """Keras's batch normalization, in one operation of TensorFlow while it trains.

    Keras 3 takes the moments and normalizes in operations of their own, in float32
    whatever the images are in. This is one operation forward and one backward, which
    reads bfloat16 as it is; docs/LOG.md says how much faster it is. The moving averages
    are taken in it, too. It is for batches of images with their channels last. On other
    backends it is Keras's layer.
    """

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        on_tensorflow = keras.backend.backend() == "tensorflow"
        if not (training and self.trainable and on_tensorflow):
            return super().call(inputs, training=training, mask=mask)
        import tensorflow as tf

        # The operation's variance is the unbiased one; Keras keeps the batch's own.
        count = inputs.shape[:-1].num_elements()
        if count is None:
            count = tf.cast(tf.size(inputs) / tf.shape(inputs)[-1], "float32")
            unbiased = count / tf.maximum(count - 1, 1)
        else:
            unbiased = count / max(count - 1, 1)
        outputs, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
            x=inputs,
            scale=self.gamma,
            offset=self.beta,
            mean=self.moving_mean,
            variance=self.moving_variance * unbiased,
            epsilon=self.epsilon,
            exponential_avg_factor=1 - self.momentum,
            is_training=True,
        )
        self.moving_mean.assign(mean)
        self.moving_variance.assign(variance / unbiased)
        return outputs


def synchronize(model: keras.Model, synchronized: bool) -> None:
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


class AverageBatchNorm(keras.callbacks.Callback):
    """Gives every replica the mean of all replicas' batch-norm statistics.

    Under MirroredStrategy each replica keeps moving statistics of its own share of the
    batch, and saving takes the first replica's. This averages them before each
    validation and at the end of each epoch: place it before what saves.
    """

    def on_train_begin(self, logs: Logs = None) -> None:
        self.average: Callable[[], None] = averaging(self.model)

    def on_test_begin(self, logs: Logs = None) -> None:
        self.average()

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        self.average()


def replica_callbacks(devices: Devices) -> list[keras.callbacks.Callback]:
    """The callbacks that make replicas agree: none on one device or on JAX."""
    mirrored = devices.replicas > 1 and keras.backend.backend() == "tensorflow"
    return [AverageBatchNorm()] if mirrored else []


def average(model: keras.Model) -> None:
    """Averages a model's batch-norm statistics over its replicas, if it has several."""
    if any(distribute.replicas_of(variable) for variable in model.weights):
        averaging(model)()


def averaging(model: keras.Model) -> Callable[[], None]:
    """A function that averages batch-norm statistics over a mirrored model's replicas."""
    import tensorflow as tf

    variables = [
        variable
        for layer in batch_norms(model)
        for variable in (layer.moving_mean, layer.moving_variance)
        if distribute.replicas_of(variable)
    ]
    mirrored = model.distribute_strategy

    @tf.function
    def means():
        values = mirrored.run(
            lambda: [tf.convert_to_tensor(variable.value) for variable in variables]
        )
        return [mirrored.reduce("MEAN", value, axis=None) for value in values]

    def average():
        with mirrored.scope():
            for variable, mean in zip(
                variables, means() if variables else (), strict=True
            ):
                for replica in distribute.replicas_of(variable):
                    replica.assign(mean)

    return average


def recompute(model: keras.Model, batches: Iterable[Any]) -> None:
    """Takes batch-norm statistics over whole training images instead of moving ones.

    He et al. 2016a did so "after training" (KaimingHe/deep-residual-networks, README);
    by the name of "precise batch norm" it is Wu & Johnson 2021, sec. 3. All batches
    weigh alike, and each layer's inputs come from layers that normalize by the batch.
    Layers that are frozen keep their statistics, and normalize by them.

    Args:
        model: Functional; its moving means and variances are replaced.
        batches: Iterable of pairs whose first is a batch of images.

    Raises:
        ValueError: If there are no batches.
    """
    layers = [layer for layer in batch_norms(model) if layer.trainable]
    momenta = [layer.momentum for layer in layers]
    means = [0.0] * len(layers)
    squares = [0.0] * len(layers)
    count = 0
    try:
        for layer in layers:
            layer.momentum = 0.0  # What moves, moves to the batch's own.
        for images, *_ in batches:
            model(keras.ops.convert_to_tensor(images), training=True)
            count += 1
            for i, layer in enumerate(layers):
                mean = np.float64(keras.ops.convert_to_numpy(layer.moving_mean))
                variance = keras.ops.convert_to_numpy(layer.moving_variance)
                means[i] = means[i] + mean
                squares[i] = squares[i] + np.float64(variance) + mean**2
    finally:
        for layer, momentum in zip(layers, momenta, strict=True):
            layer.momentum = momentum
    if not count:
        raise ValueError("`batches` must hold at least one batch. Received: none.")
    for layer, total, squared in zip(layers, means, squares, strict=True):
        mean = total / count
        layer.moving_mean.assign(mean.astype("float32"))
        layer.moving_variance.assign((squared / count - mean**2).astype("float32"))
