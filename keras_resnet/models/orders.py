"""The orders of convolutions, normalization, ReLU and addition, one row for each.

A row holds the functions that make a network of this order, so that the builder asks the
row for what it does. What such a network can have is in `config.spec.ORDERS`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import keras
from keras import layers

from keras_resnet.config.spec import Stage
from keras_resnet.models import blocks, shortcuts
from keras_resnet.models.layers import (
    TensorFunction,
    bn_relu,
    conv,
    conv_bn_leaky,
    conv_bn_leaky_timm,
    conv_relu,
    relu,
    unchanged,
)

# --- Which block of a stage has its stride ----------------------------------------


def first_block(stage: Stage) -> list[int]:
    """The strides of a stage's blocks: the first one has the stage's."""
    return [stage.stride] + [1] * (stage.repeats - 1)


def last_block(stage: Stage) -> list[int]:
    """The strides of a stage's blocks: the last one has the stage's."""
    return [1] * (stage.repeats - 1) + [stage.stride]


def no_block(stage: Stage) -> list[int]:
    """The strides of a stage's blocks, where the feature map shrinks before them."""
    return [1] * stage.repeats


# --- What comes before a stage's blocks -------------------------------------------


def nothing(x: keras.KerasTensor, stage: Stage, *, name: str) -> keras.KerasTensor:
    """Returns its input: the blocks have the stride."""
    return x


def strided_convolution(
    x: keras.KerasTensor,
    stage: Stage,
    *,
    name: str,
    unit: TensorFunction = conv_bn_leaky,
) -> keras.KerasTensor:
    """Applies a 3x3 convolution with the stage's stride and output filters."""
    return unit(
        x, stage.output_filters, 3, stride=stage.stride, name=f"{name}_downsample"
    )


def max_pooling(x: keras.KerasTensor, stage: Stage, *, name: str) -> keras.KerasTensor:
    """Applies max pooling with the stage's stride, if it has one."""
    if stage.stride == 1:
        return x
    return layers.MaxPooling2D(stage.stride, name=f"{name}_pool")(x)


# --- The rows ---------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Order:
    """The functions that make a network of one order.

    Attributes:
        block: Makes a block; a function of `blocks`.
        single: Makes a block of one convolution, which has no shortcut.
        strides: Gives the strides of a stage's blocks.
        downsample: Comes before the blocks of a stage.
        shortcut_of: Gives the shortcut of a `ResNetSpec` in one of its stages.
        end: Comes after the last block, in most cases an activation it leaves out.
    """

    block: TensorFunction
    single: TensorFunction = blocks.plain
    strides: Callable[[Stage], list[int]] = first_block
    downsample: TensorFunction = nothing
    shortcut_of: Callable[..., TensorFunction] = shortcuts.shortcut_of
    end: TensorFunction = unchanged


def _darknet(unit: TensorFunction) -> Order:
    return Order(
        block=partial(blocks.darknet, unit=unit),
        strides=no_block,
        downsample=partial(strided_convolution, unit=unit),
    )


# Where the residual ends without batch norm, its projection has none either.
_bare_projection = partial(shortcuts.shortcut_of, unit=conv)

ORDERS: dict[str, Order] = {
    "plain": Order(block=blocks.plain),
    "original": Order(block=blocks.original),
    "bn_after_addition": Order(
        block=blocks.bn_after_addition, shortcut_of=_bare_projection
    ),
    "relu_before_addition": Order(block=blocks.relu_before_addition),
    "relu_only_preactivation": Order(block=blocks.relu_only_preactivation, end=relu),
    "preactivation": Order(
        block=blocks.preactivation, shortcut_of=_bare_projection, end=bn_relu
    ),
    "keras_v2": Order(
        block=blocks.keras_v2,
        strides=last_block,
        shortcut_of=shortcuts.keras_v2_shortcut_of,
        end=bn_relu,
    ),
    "darknet": _darknet(conv_bn_leaky),
    "darknet_timm": _darknet(conv_bn_leaky_timm),
    "highway": Order(
        block=blocks.highway,
        single=blocks.highway,
        strides=no_block,
        downsample=max_pooling,
        # Of the FitNet's fully connected layer of 500 units; see _highway in
        # config/architectures.py.
        end=partial(conv_relu, filters=500, kernel_size=1),
    ),
}
