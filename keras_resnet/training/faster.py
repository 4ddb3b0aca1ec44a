"""Layers that train faster than Keras's own on TensorFlow, with the same weights."""

from __future__ import annotations

from typing import Any

import keras

from keras_resnet.training.batch_norm import FusedBatchNormalization


@keras.saving.register_keras_serializable(package="keras_resnet")
class PointwiseConv2D(keras.layers.Conv2D):
    """Keras's 1x1 convolution, whose kernel's gradient is a product of matrices.

    In bfloat16 on CPUs, where oneDNN as TensorFlow builds it takes two to four times as
    long for that gradient as for the product that it is (with AMX; docs/LOG.md,
    2026-12-01). Otherwise, and with larger kernels, strides, groups or channels first, it
    is Keras's layer.
    """

    computes_as: type[keras.layers.Layer] = keras.layers.Conv2D  # For `export.fold`.

    def convolution_op(self, inputs: Any, kernel: Any) -> Any:
        """Convolves; see `keras.layers.Conv2D`."""
        if not (_is_pointwise(self) and _only_cpus()):
            return super().convolution_op(inputs, kernel)
        import tensorflow as tf

        shared = {"strides": [1] * 4, "padding": "VALID"}

        @tf.custom_gradient
        def convolved(x, kernel):
            def gradients(upstream):
                to_inputs = tf.raw_ops.Conv2DBackpropInput(
                    input_sizes=tf.shape(x),
                    filter=kernel,
                    out_backprop=upstream,
                    **shared,
                )
                seen = tf.reshape(x, (-1, x.shape[-1]))
                above = tf.reshape(upstream, (-1, kernel.shape[-1]))
                to_kernel = tf.matmul(seen, above, transpose_a=True)
                return to_inputs, tf.reshape(to_kernel, kernel.shape)

            return tf.raw_ops.Conv2D(input=x, filter=kernel, **shared), gradients

        # A variable would be taken for one that the function captures.
        return convolved(inputs, tf.convert_to_tensor(kernel))


def faster(model: keras.Model) -> keras.Model:
    """A functional model with the same weights, that trains faster on TensorFlow.

    Its batch norms are `FusedBatchNormalization`, and its 1x1 convolutions without
    strides in bfloat16 `PointwiseConv2D`, where their channels are last. On other
    backends, the model itself.
    """
    if keras.backend.backend() != "tensorflow":
        return model

    def copy(layer):
        return _faster_class(layer).from_config(layer.get_config())

    clone = keras.models.clone_model(model, clone_function=copy)
    clone.set_weights(model.get_weights())
    return clone


def _faster_class(layer):
    """What to make a layer anew of: its own class, or one that does the same faster."""
    kind = type(layer)
    if kind is keras.layers.BatchNormalization and (
        layer.input_spec.ndim == 4
        and layer.axis in (-1, 3)
        and layer.center
        and layer.scale
        and not layer.renorm
    ):
        return FusedBatchNormalization
    if kind is keras.layers.Conv2D and _is_pointwise(layer):
        return PointwiseConv2D
    return kind


def _is_pointwise(layer):
    """Whether the gradient of a convolution's kernel is taken as a product of matrices."""
    return (
        keras.backend.backend() == "tensorflow"
        and layer.compute_dtype == "bfloat16"
        and layer.kernel_size == layer.strides == (1, 1)
        and layer.groups == 1
        and layer.data_format == "channels_last"
    )


def _only_cpus():
    return all("cpu" in device.lower() for device in keras.distribution.list_devices())
