"""What a residual is added to, and what is done to it before.

A shortcut is a function (x, filters, stride, name) that brings ``x`` to the shape of
the residual; a transform changes the residual.
"""

from functools import partial

import keras
from keras import layers

from keras_resnet.config.spec import ResNetSpec, Stage
from keras_resnet.models.layers import (
    TensorFunction,
    batch_norm,
    channel_axis,
    channels,
    conv,
    conv_bn,
)

# --- Shortcuts (He et al. 2016a, sec. 3.3) ----------------------------------------


def zero_padding(
    x: keras.KerasTensor, filters: int, *, stride: int, name: str
) -> keras.KerasTensor:
    """Option A: subsamples, and pads the channels with zeros after the others.

    As fb.resnet.torch does it; it has no parameters.
    """
    if stride > 1:
        x = layers.AveragePooling2D(1, strides=stride, name=f"{name}_shortcut")(x)
    missing = filters - channels(x)
    if missing > 0:
        padding = [(0, 0)] * 4
        padding[channel_axis()] = (0, missing)
        x = keras.ops.pad(x, padding)
    return x


def projection(
    x: keras.KerasTensor,
    filters: int,
    *,
    stride: int,
    name: str,
    unit: TensorFunction = conv_bn,
) -> keras.KerasTensor:
    """Option B: projects with a 1x1 convolution where shapes differ."""
    if stride == 1 and channels(x) == filters:
        return x
    return unit(x, filters, 1, stride=stride, name=f"{name}_shortcut")


def projection_always(
    x: keras.KerasTensor,
    filters: int,
    *,
    stride: int,
    name: str,
    unit: TensorFunction = conv_bn,
) -> keras.KerasTensor:
    """Option C: projects in every block."""
    return unit(x, filters, 1, stride=stride, name=f"{name}_shortcut")


def average_projection(
    x: keras.KerasTensor,
    filters: int,
    *,
    stride: int,
    name: str,
    unit: TensorFunction = conv_bn,
) -> keras.KerasTensor:
    """Option D: averages 2x2, then projects, so that no pixel is skipped.

    He et al. 2019, fig. 2c. An odd side's last row and column are averages of what
    there is, as in timm.
    """
    if stride > 1:
        x = layers.AveragePooling2D(
            stride, strides=stride, padding="same", name=f"{name}_shortcut_pool"
        )(x)
    return projection(x, filters, stride=1, name=name, unit=unit)


def dilated_average_projection(
    x: keras.KerasTensor,
    filters: int,
    *,
    stride: int,
    name: str,
    unit: TensorFunction = conv_bn,
) -> keras.KerasTensor:
    """Option D where dilation has replaced the stride: averages on, as timm does.

    There zeros behind the last row and column count in the average.
    """
    if channels(x) == filters:
        return x
    border = ((0, 1), (0, 1))
    x = layers.ZeroPadding2D(border, name=f"{name}_shortcut_pad")(x)
    x = layers.AveragePooling2D(2, strides=1, name=f"{name}_shortcut_pool")(x)
    return projection(x, filters, stride=1, name=name, unit=unit)


def subsample_or_project(
    x: keras.KerasTensor, filters: int, *, stride: int, name: str
) -> keras.KerasTensor:
    """keras.applications' v2: a biased projection, or every second pixel."""
    if channels(x) != filters:
        return conv(x, filters, 1, stride=stride, bias=True, name=f"{name}_shortcut")
    if stride > 1:
        x = layers.MaxPooling2D(1, strides=stride, name=f"{name}_shortcut")(x)
    return x


SHORTCUTS: dict[str | None, TensorFunction | None] = {
    None: None,
    "A": zero_padding,
    "B": projection,
    "C": projection_always,
    "D": average_projection,
}


def shortcut_of(
    spec: ResNetSpec, stage: Stage, unit: TensorFunction = conv_bn
) -> TensorFunction:
    """The function of a spec's shortcut in one of its stages, projecting by ``unit``."""
    if spec.shortcut in (None, "A"):
        return SHORTCUTS[spec.shortcut]
    if spec.shortcut == "D" and stage.dilation > 1:
        return partial(dilated_average_projection, unit=unit)
    return partial(SHORTCUTS[spec.shortcut], unit=unit)


def keras_v2_shortcut_of(spec: ResNetSpec, stage: Stage) -> TensorFunction:
    """As `shortcut_of`, of keras.applications' v2, which has one of its own."""
    return subsample_or_project


# --- Transforms of the residual ---------------------------------------------------


def squeeze_and_excite(
    x: keras.KerasTensor, *, ratio: int, name: str
) -> keras.KerasTensor:
    """Scales each channel by what a small net makes of all channels' averages.

    Hu et al. 2018, sec. 3; the reduced channels are rounded to multiples of 8, as in
    timm.
    """
    filters = channels(x)
    reduced = max(8, (filters // ratio + 4) // 8 * 8)
    s = layers.GlobalAveragePooling2D(keepdims=True, name=f"{name}_se_pool")(x)
    s = conv(s, reduced, 1, bias=True, name=f"{name}_se_1")
    s = layers.ReLU(name=f"{name}_se_1_relu")(s)
    s = conv(s, filters, 1, bias=True, name=f"{name}_se_2")
    s = layers.Activation("sigmoid", name=f"{name}_se_2_sigmoid")(s)
    return layers.Multiply(name=f"{name}_se")([x, s])


def drop_residual(x: keras.KerasTensor, *, rate: float, name: str) -> keras.KerasTensor:
    """Leaves the residual out for a random share of the images, in training.

    Huang et al. 2016, sec. 3: what is kept is scaled up in training here, instead of
    down in testing.
    """
    return layers.Dropout(
        rate, noise_shape=(None, 1, 1, 1), name=f"{name}_stochastic_depth"
    )(x)


def transform_of(spec: ResNetSpec, block: int, blocks: int) -> TensorFunction:
    """What is done to the residual of block number ``block`` of ``blocks``, from 1."""
    rate = spec.stochastic_depth * block / blocks

    def transform(x: keras.KerasTensor, *, name: str) -> keras.KerasTensor:
        if spec.squeeze_excitation:
            x = squeeze_and_excite(x, ratio=spec.squeeze_excitation, name=name)
        if rate:
            x = drop_residual(x, rate=rate, name=name)
        return x

    return transform


def last_norm_of(spec: ResNetSpec) -> TensorFunction:
    """The batch norm that ends a residual; with a scale of 0 at first if asked for."""
    return partial(batch_norm, gamma="zeros") if spec.zero_gamma else batch_norm
