"""Residual blocks and shortcuts: functions from feature map to feature map.

Every feature map is (batch, height, width, channels), or with the channels first
where Keras is configured so. ``stride`` divides height and width. A block holds
no options: what varies between published networks comes in as a function.
"""

import keras
from keras import layers


def channel_axis():
    """The axis of the channels under Keras's configured data format."""
    return -1 if keras.config.image_data_format() == "channels_last" else 1


def initializer():
    """N(0, 2 / fan_in), He et al. 2015 ("MSRA"): Keras's HeNormal is truncated."""
    return keras.initializers.VarianceScaling(2.0, "fan_in", "untruncated_normal")


def conv(x, filters, kernel_size, *, stride=1, name):
    """Applies a convolution without bias, padded symmetrically.

    Symmetric as in Caffe and PyTorch: Keras's "same" pads a strided convolution at
    the bottom right only, which shifts what converted weights see.
    """
    padding = "same"
    if stride > 1 and kernel_size > 1:
        x = layers.ZeroPadding2D(kernel_size // 2, name=f"{name}_pad")(x)
        padding = "valid"
    return layers.Conv2D(
        filters,
        kernel_size,
        strides=stride,
        padding=padding,
        use_bias=False,
        kernel_initializer=initializer(),
        name=f"{name}_conv",
    )(x)


def batch_norm(x, *, name):
    """Applies batch normalization with the constants of Caffe and Torch."""
    return layers.BatchNormalization(
        axis=channel_axis(), momentum=0.9, epsilon=1e-5, name=f"{name}_bn"
    )(x)


def bn_relu(x, *, name):
    """Applies batch normalization, then ReLU."""
    return layers.ReLU(name=f"{name}_relu")(batch_norm(x, name=name))


def conv_bn(x, filters, kernel_size, *, stride=1, name):
    """Applies a convolution, then batch normalization."""
    x = conv(x, filters, kernel_size, stride=stride, name=name)
    return batch_norm(x, name=name)


def conv_bn_relu(x, filters, kernel_size, *, stride=1, name):
    """Applies a convolution, batch normalization and ReLU, in the order of v1.

    Batch normalization sits right after each convolution and before the
    activation (He et al. 2016a, sec. 3.4), so the convolution carries no bias.
    """
    x = conv(x, filters, kernel_size, stride=stride, name=name)
    return bn_relu(x, name=name)


# Shortcuts: bring `x` to the shape that the residual has. He et al. 2016a, sec. 3.3.


def zero_padding(x, filters, *, stride, name):
    """Option A: subsamples, and pads the channels with zeros after the others.

    As fb.resnet.torch does it; it has no parameters.
    """
    if stride > 1:
        x = layers.AveragePooling2D(1, strides=stride, name=f"{name}_shortcut")(x)
    missing = filters - x.shape[channel_axis()]
    if missing > 0:
        padding = [(0, 0)] * 4
        padding[channel_axis()] = (0, missing)
        x = keras.ops.pad(x, padding)
    return x


def projection(x, filters, *, stride, name):
    """Option B: projects with a 1x1 convolution where shapes differ."""
    if stride == 1 and x.shape[channel_axis()] == filters:
        return x
    return projection_always(x, filters, stride=stride, name=name)


def projection_always(x, filters, *, stride, name):
    """Option C: projects in every block."""
    return conv_bn(x, filters, 1, stride=stride, name=f"{name}_shortcut")


def convolution_projection(x, filters, *, stride, name):
    """Option B of the pre-activation nets: a 1x1 convolution, without batch norm."""
    if stride == 1 and x.shape[channel_axis()] == filters:
        return x
    return convolution_projection_always(x, filters, stride=stride, name=name)


def convolution_projection_always(x, filters, *, stride, name):
    """Option C of the pre-activation nets."""
    return conv(x, filters, 1, stride=stride, name=f"{name}_shortcut")


# Blocks. `shortcut` is one of the functions above.


def plain(x, filters, *, stride, shortcut, name):
    """Two 3x3 convolutions and no shortcut (He et al. 2016a, fig. 3 middle)."""
    x = conv_bn_relu(x, filters, 3, stride=stride, name=f"{name}_1")
    return conv_bn_relu(x, filters, 3, name=f"{name}_2")


def basic(x, filters, *, stride, shortcut, name):
    """Basic residual block: 3x3, 3x3 (He et al. 2016a, fig. 5 left).

    Args:
        x: Feature map, shape ``(batch, height, width, channels)``.
        filters: Channels of both convolutions and of the output.
        stride: Stride of the first convolution and of the shortcut.
        shortcut: Function that brings ``x`` to the shape of the residual.
        name: Prefix of the names of the block's layers, e.g. ``"stage2_block1"``.

    Returns:
        Feature map, shape ``(batch, height / stride, width / stride, filters)``.
    """
    residual = conv_bn_relu(x, filters, 3, stride=stride, name=f"{name}_1")
    residual = conv_bn(residual, filters, 3, name=f"{name}_2")
    x = shortcut(x, filters, stride=stride, name=name)
    x = layers.Add(name=f"{name}_add")([x, residual])
    return layers.ReLU(name=f"{name}_relu")(x)


def bottleneck(x, filters, *, stride, shortcut, name, strides=None):
    """Bottleneck residual block: 1x1, 3x3, 1x1 (He et al. 2016a, fig. 5 right).

    The stride sits on the first 1x1 convolution, as in the paper's models.

    Arguments and return value as for `basic`, except that the output has
    ``4 * filters`` channels.
    """
    first, second = strides or (stride, 1)
    residual = conv_bn_relu(x, filters, 1, stride=first, name=f"{name}_1")
    residual = conv_bn_relu(residual, filters, 3, stride=second, name=f"{name}_2")
    residual = conv_bn(residual, 4 * filters, 1, name=f"{name}_3")
    x = shortcut(x, 4 * filters, stride=stride, name=name)
    x = layers.Add(name=f"{name}_add")([x, residual])
    return layers.ReLU(name=f"{name}_relu")(x)


def bottleneck_v1_5(x, filters, *, stride, shortcut, name):
    """`bottleneck` with the stride on the 3x3 (fb.resnet.torch, torchvision)."""
    return bottleneck(
        x, filters, stride=stride, shortcut=shortcut, name=name, strides=(1, stride)
    )


def basic_v2(x, filters, *, stride, shortcut, name, activate=bn_relu):
    """Pre-activation basic block (He et al. 2016b, fig. 1b and appendix).

    A shortcut that changes the shape starts from the activated input, one that does
    not carries the input itself, untouched from end to end.

    Arguments and return value as for `basic`, and ``activate``: batch norm and ReLU before
    the first convolution; the identity in a network's first block, whose input the stem
    has activated already.
    """
    activated = activate(x, name=f"{name}_0")
    residual = conv(activated, filters, 3, stride=stride, name=f"{name}_1")
    residual = bn_relu(residual, name=f"{name}_1")
    residual = conv(residual, filters, 3, name=f"{name}_2")
    x = shortcut_v2(x, activated, filters, stride, shortcut, name)
    return layers.Add(name=f"{name}_add")([x, residual])


def bottleneck_v2(x, filters, *, stride, shortcut, name, activate=bn_relu):
    """Pre-activation bottleneck block, stride on the 3x3 (fb.resnet.torch).

    Arguments as for `basic_v2`; the output has ``4 * filters`` channels.
    """
    activated = activate(x, name=f"{name}_0")
    residual = conv(activated, filters, 1, name=f"{name}_1")
    residual = bn_relu(residual, name=f"{name}_1")
    residual = conv(residual, filters, 3, stride=stride, name=f"{name}_2")
    residual = bn_relu(residual, name=f"{name}_2")
    residual = conv(residual, 4 * filters, 1, name=f"{name}_3")
    x = shortcut_v2(x, activated, 4 * filters, stride, shortcut, name)
    return layers.Add(name=f"{name}_add")([x, residual])


def shortcut_v2(x, activated, filters, stride, shortcut, name):
    """The shortcut of a pre-activation block: from ``x`` if that keeps its shape."""
    carried = shortcut(activated, filters, stride=stride, name=name)
    return x if carried is activated else carried


def already_activated(x, *, name):
    """The identity, for the ``activate`` of a network's first v2 block."""
    return x
