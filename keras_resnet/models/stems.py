"""Stems: from the images to the first stage, in convolutions and a pooling.

Each is a pair of functions of (feature map, filters), since what lies between them
is the first of a backbone's feature maps.
"""

from functools import partial

from keras import layers

from keras_resnet.models.layers import (
    conv,
    conv_bn_leaky,
    conv_bn_leaky_timm,
    conv_bn_relu,
    conv_relu,
    max_pool,
)


def single(x, filters, *, kernel_size, stride=1, unit=conv_bn_relu, bias=False):
    """One convolution, with what follows it in ``unit``."""
    options = {"bias": True} if bias else {}
    return unit(x, filters, kernel_size, stride=stride, name="stem", **options)


def deep(x, filters):
    """Three 3x3 in place of the 7x7: ResNet-C and D (He et al. 2019, fig. 2b)."""
    x = conv_bn_relu(x, filters // 2, 3, stride=2, name="stem_1")
    x = conv_bn_relu(x, filters // 2, 3, name="stem_2")
    return conv_bn_relu(x, filters, 3, name="stem_3")


def no_pool(x):
    """The identity."""
    return x


def pool(x):
    """Max pooling with a border that never wins: 0 is the least behind a ReLU."""
    return max_pool(x, border=0, name="stem")


def pool_unrectified(x):
    """Max pooling with a border of minus infinity, as timm's where no ReLU comes."""
    return max_pool(x, border=float("-inf"), name="stem")


def pool_caffe(x):
    """Max pooling without padding that rounds up: a border at bottom and right."""
    x = layers.ZeroPadding2D(((0, 1), (0, 1)), name="stem_pool_pad")(x)
    return layers.MaxPooling2D(3, strides=2, name="stem_pool")(x)


_seven = partial(single, kernel_size=7, stride=2)

STEMS = {
    "cifar": (partial(single, kernel_size=3), no_pool),
    "imagenet": (_seven, pool),
    "deep": (deep, pool),
    "caffe": (_seven, pool_caffe),
    "caffe_biased": (partial(_seven, bias=True), pool_caffe),
    "bare": (partial(_seven, unit=conv), pool_unrectified),
    # Its zeros do win over negative values: keras.applications pads so.
    "keras_v2": (partial(_seven, unit=conv, bias=True), pool),
    "drn": (partial(single, kernel_size=7), no_pool),
    "darknet": (partial(single, kernel_size=3, unit=conv_bn_leaky), no_pool),
    "darknet_timm": (partial(single, kernel_size=3, unit=conv_bn_leaky_timm), no_pool),
    "highway": (partial(single, kernel_size=3, unit=conv_relu), no_pool),
}
