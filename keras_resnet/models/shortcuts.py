"""What a residual is added to: shortcuts (He et al. 2016a, sec. 3.3).

A shortcut is a function (x, filters, stride, name) that brings ``x`` to the shape of
the residual.
"""

from functools import partial

import keras
from keras import layers

from keras_resnet.config.spec import ResNetSpec, Stage
from keras_resnet.models.layers import (
    TensorFunction,
    channels,
    conv,
    conv_bn,
    pad_channels,
)


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
        x = pad_channels(x, missing, name=f"{name}_shortcut_pad")
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
