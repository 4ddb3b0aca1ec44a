"""Stems: from the images to the first stage, in convolutions and a pooling.

A row holds two functions, since what lies between them is the first of a backbone's
feature maps.
"""

from dataclasses import dataclass
from functools import partial

import keras
from keras import layers

from keras_resnet.models.layers import (
    TensorFunction,
    conv,
    conv_bn_leaky,
    conv_bn_leaky_timm,
    conv_bn_relu,
    conv_relu,
    max_pool,
    max_pool_unpadded,
)


def single(
    x: keras.KerasTensor,
    filters: int,
    *,
    kernel_size: int,
    stride: int = 1,
    unit: TensorFunction = conv_bn_relu,
    bias: bool = False,
) -> keras.KerasTensor:
    """One convolution, with what follows it in ``unit``."""
    options = {"bias": True} if bias else {}
    return unit(x, filters, kernel_size, stride=stride, name="stem", **options)


def deep(x: keras.KerasTensor, filters: int) -> keras.KerasTensor:
    """Three 3x3 in place of the 7x7: ResNet-C and D (He et al. 2019, fig. 2b)."""
    x = conv_bn_relu(x, filters // 2, 3, stride=2, name="stem_1")
    x = conv_bn_relu(x, filters // 2, 3, name="stem_2")
    return conv_bn_relu(x, filters, 3, name="stem_3")


def no_pool(x: keras.KerasTensor) -> keras.KerasTensor:
    """The identity."""
    return x


def pool(x: keras.KerasTensor) -> keras.KerasTensor:
    """Max pooling with a border that never wins: 0 is the least behind a ReLU."""
    return max_pool(x, name="stem")


def pool_unrectified(x: keras.KerasTensor) -> keras.KerasTensor:
    """Max pooling with a border of minus infinity, as timm's where no ReLU comes."""
    return max_pool_unpadded(x, name="stem")


def pool_caffe(x: keras.KerasTensor) -> keras.KerasTensor:
    """Max pooling without padding that rounds up: a border at bottom and right."""
    x = layers.ZeroPadding2D(((0, 1), (0, 1)), name="stem_pool_pad")(x)
    return layers.MaxPooling2D(3, strides=2, name="stem_pool")(x)


@dataclass(frozen=True, kw_only=True)
class Stem:
    """The functions that make a stem.

    Attributes:
        convolutions: From the images and the number of filters to a feature map, a
            backbone's first one.
        pool: What follows it.
        activates: Whether the feature map is activated, so that a first block that
            begins with an activation needn't activate it again.
    """

    convolutions: TensorFunction
    pool: TensorFunction = no_pool
    activates: bool = True


_seven = partial(single, kernel_size=7, stride=2)
_three = partial(single, kernel_size=3)

STEMS: dict[str, Stem] = {
    "cifar": Stem(convolutions=_three),
    "imagenet": Stem(convolutions=_seven, pool=pool),
    "deep": Stem(convolutions=deep, pool=pool),
    "caffe": Stem(convolutions=_seven, pool=pool_caffe),
    "caffe_biased": Stem(convolutions=partial(_seven, bias=True), pool=pool_caffe),
    "bare": Stem(
        convolutions=partial(_seven, unit=conv), pool=pool_unrectified, activates=False
    ),
    # Its zeros do win over negative values: keras.applications pads so.
    "keras_v2": Stem(
        convolutions=partial(_seven, unit=conv, bias=True), pool=pool, activates=False
    ),
    "drn": Stem(convolutions=partial(single, kernel_size=7)),
    "darknet": Stem(convolutions=partial(_three, unit=conv_bn_leaky)),
    "darknet_timm": Stem(convolutions=partial(_three, unit=conv_bn_leaky_timm)),
    "highway": Stem(convolutions=partial(_three, unit=conv_relu)),
}
