"""Residual blocks: which convolutions, and in which order with norm and addition.

`CONVOLUTIONS` says what a block computes; a function for each order, how batch norm,
ReLU and the addition lie around it (He et al. 2016b, fig. 4). What else varies between
published networks, shortcut, merge and transform, comes in as functions of
`shortcuts.py`.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import keras

from keras_resnet.config.spec import Stage
from keras_resnet.models.layers import (
    TensorFunction,
    bn_relu,
    channels,
    conv,
    conv_bn,
    conv_bn_leaky,
    conv_bn_relu,
    conv_relu,
    relu,
)

# The arguments of `layers.conv` for each convolution of a block.
Convolutions: TypeAlias = tuple[dict[str, int], ...]

# --- What a block computes --------------------------------------------------------


def _three(
    filters: int, stride: int = 1, dilation: int = 1, groups: int = 1
) -> dict[str, int]:
    return {
        "filters": filters,
        "kernel_size": 3,
        "stride": stride,
        "dilation": dilation,
        "groups": groups,
    }


def _one(filters: int, stride: int = 1) -> dict[str, int]:
    return {"filters": filters, "kernel_size": 1, "stride": stride}


def basic(
    stage: Stage, stride: int, dilations: tuple[int, int], groups: int
) -> Convolutions:
    """3x3, 3x3 (He et al. 2016a, fig. 5 left)."""
    first, second = dilations
    return (
        _three(stage.filters, stride, first, groups),
        _three(stage.filters, 1, second, groups),
    )


def bottleneck(
    stage: Stage, stride: int, dilations: tuple[int, int], groups: int
) -> Convolutions:
    """1x1, 3x3, 1x1, the stride on the first (He et al. 2016a, fig. 5 right)."""
    return (
        _one(stage.filters, stride),
        _three(stage.filters, 1, dilations[0], groups),
        _one(stage.output_filters),
    )


def bottleneck_v1_5(
    stage: Stage, stride: int, dilations: tuple[int, int], groups: int
) -> Convolutions:
    """`bottleneck` with the stride on the 3x3 (fb.resnet.torch, torchvision)."""
    return (
        _one(stage.filters),
        _three(stage.filters, stride, dilations[0], groups),
        _one(stage.output_filters),
    )


def darknet_pair(
    stage: Stage, stride: int, dilations: tuple[int, int], groups: int
) -> Convolutions:
    """1x1 to half the filters, 3x3 (Redmon & Farhadi 2018, table 1)."""
    return (_one(stage.filters // 2), _three(stage.filters, stride))


def single(
    stage: Stage, stride: int, dilations: tuple[int, int], groups: int
) -> Convolutions:
    """3x3, without a shortcut: the ends of dilated residual networks."""
    return (_three(stage.filters, stride, dilations[0], groups),)


CONVOLUTIONS: dict[str, Callable[..., Convolutions]] = {
    "basic": basic,
    "bottleneck": bottleneck,
    "bottleneck_v1_5": bottleneck_v1_5,
    "darknet": darknet_pair,
    "conv": single,
}


# --- In which order ---------------------------------------------------------------


@dataclass(frozen=True)
class Parts:
    """The functions that make one network's blocks differ from another's.

    Attributes:
        shortcut: Brings a block's input to the shape of its residual.
        merge: Joins shortcut and residual.
        transform: Changes the residual before that.
        last_norm: The batch norm that ends an original residual.
        activate: What a pre-activation block begins with; the identity in a network's
            first block, whose input the stem has activated.
        between: What comes before a pre-activation block's last convolution.
    """

    shortcut: TensorFunction
    merge: TensorFunction
    transform: TensorFunction
    last_norm: TensorFunction
    activate: TensorFunction
    between: TensorFunction


def original(
    x: keras.KerasTensor, convolutions: Convolutions, parts: Parts, name: str
) -> keras.KerasTensor:
    """Conv-BN-ReLU, …, conv-BN, addition, ReLU: fig. 4a, ResNet v1.

    Args:
        x: Feature map, shape ``(batch, height, width, channels)``.
        convolutions: What the block computes, from one of `CONVOLUTIONS`.
        parts: The network's `Parts`.
        name: Prefix of the names of the block's layers, e.g. ``"stage2_block1"``.

    Returns:
        Feature map, shape ``(batch, height / stride, width / stride, filters)``, with
        the stride of the block and the filters of its last convolution.
    """
    residual = _all_but_last(conv_bn_relu, x, convolutions, name)
    last = f"{name}_{len(convolutions)}"
    residual = conv(residual, **convolutions[-1], name=last)
    residual = parts.last_norm(residual, name=last)
    return relu(_joined(x, residual, convolutions, parts, name), name=name)


def bn_after_addition(
    x: keras.KerasTensor, convolutions: Convolutions, parts: Parts, name: str
) -> keras.KerasTensor:
    """Conv-BN-ReLU, …, conv, addition, BN, ReLU: fig. 4b."""
    residual = _all_but_last(conv_bn_relu, x, convolutions, name)
    residual = conv(residual, **convolutions[-1], name=f"{name}_{len(convolutions)}")
    return bn_relu(_joined(x, residual, convolutions, parts, name), name=name)


def relu_before_addition(
    x: keras.KerasTensor, convolutions: Convolutions, parts: Parts, name: str
) -> keras.KerasTensor:
    """Conv-BN-ReLU, …, conv-BN-ReLU, addition: fig. 4c."""
    residual = _each(conv_bn_relu, x, convolutions, name)
    return _joined(x, residual, convolutions, parts, name)


def relu_only_preactivation(
    x: keras.KerasTensor, convolutions: Convolutions, parts: Parts, name: str
) -> keras.KerasTensor:
    """ReLU-conv-BN, …, ReLU-conv-BN, addition: fig. 4d."""
    activated = residual = relu(x, name=f"{name}_0")
    for number, convolution in enumerate(convolutions, start=1):
        if number > 1:
            residual = relu(residual, name=f"{name}_{number - 1}")
        residual = conv_bn(residual, **convolution, name=f"{name}_{number}")
    return _joined_from(activated, x, residual, convolutions, parts, name)


def preactivation(
    x: keras.KerasTensor, convolutions: Convolutions, parts: Parts, name: str
) -> keras.KerasTensor:
    """BN-ReLU-conv, …, BN-ReLU-conv, addition: fig. 4e, ResNet v2.

    A shortcut that changes the shape starts from the activated input, one that does
    not carries the input itself, untouched from end to end.
    """
    activated = parts.activate(x, name=f"{name}_0")
    residual = _all_but_last(conv_bn_relu, activated, convolutions, name)
    residual = parts.between(residual, name=name)
    residual = conv(residual, **convolutions[-1], name=f"{name}_{len(convolutions)}")
    return _joined_from(activated, x, residual, convolutions, parts, name)


def keras_v2(
    x: keras.KerasTensor, convolutions: Convolutions, parts: Parts, name: str
) -> keras.KerasTensor:
    """`preactivation` as in keras.applications.

    The last convolution has a bias, and a shortcut that subsamples starts from the
    block's input itself.
    """
    activated = parts.activate(x, name=f"{name}_0")
    residual = _all_but_last(conv_bn_relu, activated, convolutions, name)
    last = {**convolutions[-1], "bias": True}
    residual = conv(residual, **last, name=f"{name}_{len(convolutions)}")
    start = x if channels(x) == last["filters"] else activated
    return _joined_from(start, x, residual, convolutions, parts, name)


def darknet(
    x: keras.KerasTensor,
    convolutions: Convolutions,
    parts: Parts,
    name: str,
    unit: TensorFunction = conv_bn_leaky,
) -> keras.KerasTensor:
    """Conv-BN-leaky ReLU, twice, addition (Redmon & Farhadi 2018)."""
    residual = _each(unit, x, convolutions, name)
    return _joined(x, residual, convolutions, parts, name)


def highway(
    x: keras.KerasTensor, convolutions: Convolutions, parts: Parts, name: str
) -> keras.KerasTensor:
    """Conv-ReLU behind a gate; without one where the width changes.

    Srivastava et al. 2015, eq. 3, with biases and without batch norm.
    """
    y = _each(conv_relu, x, convolutions, name)
    if channels(x) != channels(y):
        return y
    return parts.merge(x, y, x=x, stride=1, name=name)


def plain(
    x: keras.KerasTensor, convolutions: Convolutions, parts: Parts, name: str
) -> keras.KerasTensor:
    """Conv-BN-ReLU, …, without a shortcut (He et al. 2016a, fig. 3 middle)."""
    return _each(conv_bn_relu, x, convolutions, name)


def _each(
    unit: TensorFunction,
    x: keras.KerasTensor,
    convolutions: Convolutions,
    name: str,
) -> keras.KerasTensor:
    for number, convolution in enumerate(convolutions, start=1):
        x = unit(x, **convolution, name=f"{name}_{number}")
    return x


def _all_but_last(
    unit: TensorFunction,
    x: keras.KerasTensor,
    convolutions: Convolutions,
    name: str,
) -> keras.KerasTensor:
    return _each(unit, x, convolutions[:-1], name)


def _joined(
    x: keras.KerasTensor,
    residual: keras.KerasTensor,
    convolutions: Convolutions,
    parts: Parts,
    name: str,
) -> keras.KerasTensor:
    """The shortcut from the block's input, and the residual."""
    return _joined_from(x, x, residual, convolutions, parts, name)


def _joined_from(
    activated: keras.KerasTensor,
    x: keras.KerasTensor,
    residual: keras.KerasTensor,
    convolutions: Convolutions,
    parts: Parts,
    name: str,
) -> keras.KerasTensor:
    """The shortcut from ``activated``, or ``x`` itself where it keeps its shape."""
    stride = math.prod(convolution["stride"] for convolution in convolutions)
    filters = convolutions[-1]["filters"]
    carried = parts.shortcut(activated, filters, stride=stride, name=name)
    carried = x if carried is activated else carried
    residual = parts.transform(residual, name=name)
    return parts.merge(carried, residual, x=x, stride=stride, name=name)
