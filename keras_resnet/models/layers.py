"""The pieces that blocks are made of: convolution, batch norm, activation.

Every feature map is (batch, height, width, channels), or with the channels first
where Keras is configured so. The constants of the framework are written here, once.
"""

import contextlib
import contextvars
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, TypeAlias

import keras
from keras import layers

TensorFunction: TypeAlias = Callable[..., keras.KerasTensor]


def channel_axis() -> int:
    """The axis of the channels under Keras's configured data format."""
    return -1 if keras.config.image_data_format() == "channels_last" else 1


def channels(x: keras.KerasTensor) -> int:
    """Number of channels of a feature map."""
    return x.shape[channel_axis()]


def initializer() -> keras.initializers.Initializer:
    """N(0, 2 / fan_in), He et al. 2015 ("MSRA"): Keras's HeNormal is truncated."""
    return keras.initializers.VarianceScaling(2.0, "fan_in", "untruncated_normal")


_apart = contextvars.ContextVar("groups_apart", default=False)


@contextlib.contextmanager
def groups_apart() -> Iterator[None]:
    """Has graphs that are traced here convolve each group by itself, on GPUs too.

    Whatever serves or converts a graph would have to compile Keras's grouped
    convolution with XLA: ONNX can't, and a server would for every size of a batch.
    """
    token = _apart.set(True)
    try:
        yield
    finally:
        _apart.reset(token)


@keras.saving.register_keras_serializable(package="keras_resnet")
class GroupedConv2D(layers.Conv2D):
    """A grouped convolution that CPUs train in reasonable time.

    `keras.layers.Conv2D` compiles grouped convolutions with XLA, whose gradient for them
    takes seconds on a CPU (docs/LOG.md: 18 s instead of 0.03 s for 32 groups of 4
    channels). On CPUs each group is convolved by itself here, and inside of
    `groups_apart`; on GPUs and on PyTorch it is Keras's layer. Weights and results are
    the same.
    """

    computes_as: type[keras.layers.Layer] = layers.Conv2D  # What `export.fold` asks.

    def convolution_op(self, inputs: Any, kernel: Any) -> Any:
        """Convolves; see `keras.layers.Conv2D`."""
        on_torch = keras.backend.backend() == "torch"
        if on_torch or not (_apart.get() or _only_cpus()):
            return super().convolution_op(inputs, kernel)
        axis = -1 if self.data_format == "channels_last" else 1
        convolved = [
            super(GroupedConv2D, self).convolution_op(part, filters)
            for part, filters in zip(
                keras.ops.split(inputs, self.groups, axis=axis),
                keras.ops.split(kernel, self.groups, axis=-1),
                strict=True,
            )
        ]
        return keras.ops.concatenate(convolved, axis=axis)


def _only_cpus() -> bool:
    """Whether Keras (on TensorFlow or JAX) computes on CPUs alone."""
    return all("cpu" in device.lower() for device in keras.distribution.list_devices())


def unchanged(x: keras.KerasTensor, *, name: str) -> keras.KerasTensor:
    """Returns its input."""
    return x


def conv(
    x: keras.KerasTensor,
    filters: int,
    kernel_size: int,
    *,
    stride: int = 1,
    dilation: int = 1,
    groups: int = 1,
    bias: bool = False,
    name: str,
) -> keras.KerasTensor:
    """Applies a convolution, padded symmetrically; without bias unless told.

    Symmetric as in Caffe and PyTorch: Keras's "same" pads a strided convolution at
    the bottom right only, which shifts what converted weights see.
    """
    padding = "same"
    if stride > 1 and kernel_size > 1:
        x = layers.ZeroPadding2D(kernel_size // 2, name=f"{name}_pad")(x)
        padding = "valid"
    layer = layers.Conv2D if groups == 1 else GroupedConv2D
    return layer(
        filters,
        kernel_size,
        strides=stride,
        padding=padding,
        dilation_rate=dilation,
        groups=groups,
        use_bias=bias,
        kernel_initializer=initializer(),
        name=f"{name}_conv",
    )(x)


@keras.saving.register_keras_serializable(package="keras_resnet")
class FrozenBatchNormalization(layers.BatchNormalization):
    """Batch normalization that keeps its statistics and its scales, come what may.

    Keras's layer with ``trainable=False`` trains again once ``trainable = True`` is set on
    a model around it, as is usual between the two phases of fine-tuning. This layer's
    ``trainable`` is always `False`: in training it computes what it computes in inference.
    Weights and results are those of `keras.layers.BatchNormalization`.
    """

    computes_as: type[keras.layers.Layer] = layers.BatchNormalization

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs | {"trainable": False})

    @property
    def trainable(self) -> bool:
        """`False`."""
        return False

    @trainable.setter
    def trainable(self, value: bool) -> None:
        """Changes nothing, whatever the value."""


# Keras's files address weights by the names of the layers' classes: by this name, files
# of networks with frozen and with other batch norms can be loaded into each other.
FrozenBatchNormalization.__name__ = "BatchNormalization"

_frozen = contextvars.ContextVar("frozen_batch_norms", default=False)


@contextlib.contextmanager
def frozen_batch_norms() -> Iterator[None]:
    """Has `batch_norm` build layers that are frozen for good."""
    token = _frozen.set(True)
    try:
        yield
    finally:
        _frozen.reset(token)


def batch_norm(
    x: keras.KerasTensor, *, name: str, gamma: str = "ones"
) -> keras.KerasTensor:
    """Applies batch normalization with the constants of Caffe and Torch."""
    layer = FrozenBatchNormalization if _frozen.get() else layers.BatchNormalization
    return layer(
        axis=channel_axis(),
        momentum=0.9,
        epsilon=1e-5,
        gamma_initializer=gamma,
        name=f"{name}_bn",
    )(x)


def relu(x: keras.KerasTensor, *, name: str) -> keras.KerasTensor:
    """Applies ReLU."""
    return layers.ReLU(name=f"{name}_relu")(x)


def bn_relu(x: keras.KerasTensor, *, name: str) -> keras.KerasTensor:
    """Applies batch normalization, then ReLU."""
    return relu(batch_norm(x, name=name), name=name)


def conv_bn(
    x: keras.KerasTensor, filters: int, kernel_size: int, *, name: str, **options: Any
) -> keras.KerasTensor:
    """Applies a convolution, then batch normalization."""
    return batch_norm(conv(x, filters, kernel_size, name=name, **options), name=name)


def conv_bn_relu(
    x: keras.KerasTensor, filters: int, kernel_size: int, *, name: str, **options: Any
) -> keras.KerasTensor:
    """Applies a convolution, batch normalization and ReLU, in the order of v1.

    Batch normalization sits right after each convolution and before the
    activation (He et al. 2016a, sec. 3.4), so the convolution carries no bias.
    """
    return bn_relu(conv(x, filters, kernel_size, name=name, **options), name=name)


def conv_relu(
    x: keras.KerasTensor, filters: int, kernel_size: int, *, name: str, **options: Any
) -> keras.KerasTensor:
    """Applies a biased convolution and ReLU, as before there was batch norm."""
    return relu(
        conv(x, filters, kernel_size, bias=True, name=name, **options), name=name
    )


def conv_bn_leaky(
    x: keras.KerasTensor,
    filters: int,
    kernel_size: int,
    *,
    name: str,
    slope: float = 0.1,
    **options: Any,
) -> keras.KerasTensor:
    """As `conv_bn_relu`, with DarkNet's leaky ReLU."""
    x = conv_bn(x, filters, kernel_size, name=name, **options)
    return layers.LeakyReLU(negative_slope=slope, name=f"{name}_relu")(x)


# timm's darknet53 has the default slope of PyTorch's leaky ReLU.
conv_bn_leaky_timm: TensorFunction = partial(conv_bn_leaky, slope=0.01)


# The graphs are of Keras's layers alone, not of functions of `keras.ops`: models with
# such functions can't be loaded from .h5 files. Padding and cropping layers work on the
# channels where they are told the data format that isn't the real one.


def pad_channels(x: keras.KerasTensor, count: int, *, name: str) -> keras.KerasTensor:
    """Appends ``count`` channels of zeros after the others."""
    if channel_axis() == -1:
        padding, data_format = ((0, 0), (0, count)), "channels_first"
    else:
        padding, data_format = ((0, count), (0, 0)), "channels_last"
    return layers.ZeroPadding2D(padding, data_format=data_format, name=name)(x)


def one_channel(
    x: keras.KerasTensor, index: int, *, name: str, dtype: str | None = None
) -> keras.KerasTensor:
    """The channel ``index`` of a feature map, as a map of one channel."""
    around = (index, channels(x) - 1 - index)
    if channel_axis() == -1:
        cropping, data_format = ((0, 0), around), "channels_first"
    else:
        cropping, data_format = (around, (0, 0)), "channels_last"
    return layers.Cropping2D(cropping, data_format=data_format, name=name, dtype=dtype)(
        x
    )


def max_pool(x: keras.KerasTensor, *, name: str) -> keras.KerasTensor:
    """Applies 3x3 max pooling of stride 2 to a map with a border of zeros all around."""
    x = layers.ZeroPadding2D(1, name=f"{name}_pool_pad")(x)
    return layers.MaxPooling2D(3, strides=2, name=f"{name}_pool")(x)


def max_pool_unpadded(x: keras.KerasTensor, *, name: str) -> keras.KerasTensor:
    """As `max_pool`, with a border of minus infinity, which never wins.

    Keras's own "same" padding is such a border, and symmetric where the stride is 1:
    the stride comes in a pooling of its own.
    """
    x = layers.MaxPooling2D(3, strides=1, padding="same", name=f"{name}_pool_max")(x)
    return layers.MaxPooling2D(1, strides=2, name=f"{name}_pool")(x)
