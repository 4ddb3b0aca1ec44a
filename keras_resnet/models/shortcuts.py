"""What a residual is added to, and how: shortcuts, merges, and what is done to it.

A shortcut is a function (x, filters, stride, name) that brings ``x`` to the shape of
the residual; a merge joins the two, given the block's input; a transform changes the
residual before.
"""

from functools import partial

import keras
from keras import layers

from keras_resnet.config.spec import (
    ExclusiveGate,
    Scaling,
    ShortcutDropout,
    ShortcutGate,
)
from keras_resnet.models.layers import (
    batch_norm,
    channel_axis,
    channels,
    conv,
    conv_bn,
)

# --- Shortcuts (He et al. 2016a, sec. 3.3) ----------------------------------------


def zero_padding(x, filters, *, stride, name):
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


def projection(x, filters, *, stride, name, unit=conv_bn):
    """Option B: projects with a 1x1 convolution where shapes differ."""
    if stride == 1 and channels(x) == filters:
        return x
    return unit(x, filters, 1, stride=stride, name=f"{name}_shortcut")


def projection_always(x, filters, *, stride, name, unit=conv_bn):
    """Option C: projects in every block."""
    return unit(x, filters, 1, stride=stride, name=f"{name}_shortcut")


def average_projection(x, filters, *, stride, name, unit=conv_bn):
    """Option D: averages 2x2, then projects, so that no pixel is skipped.

    He et al. 2019, fig. 2c. An odd side's last row and column are averages of what
    there is, as in timm.
    """
    if stride > 1:
        x = layers.AveragePooling2D(
            stride, strides=stride, padding="same", name=f"{name}_shortcut_pool"
        )(x)
    return projection(x, filters, stride=1, name=name, unit=unit)


def dilated_average_projection(x, filters, *, stride, name, unit=conv_bn):
    """Option D where dilation has replaced the stride: averages on, as timm does.

    There zeros behind the last row and column count in the average.
    """
    if channels(x) == filters:
        return x
    border = ((0, 1), (0, 1))
    x = layers.ZeroPadding2D(border, name=f"{name}_shortcut_pad")(x)
    x = layers.AveragePooling2D(2, strides=1, name=f"{name}_shortcut_pool")(x)
    return projection(x, filters, stride=1, name=name, unit=unit)


def subsample_or_project(x, filters, *, stride, name):
    """keras.applications' v2: a biased projection, or every second pixel."""
    if channels(x) != filters:
        return conv(x, filters, 1, stride=stride, bias=True, name=f"{name}_shortcut")
    if stride > 1:
        x = layers.MaxPooling2D(1, strides=stride, name=f"{name}_shortcut")(x)
    return x


SHORTCUTS = {
    None: None,
    "A": zero_padding,
    "B": projection,
    "C": projection_always,
    "D": average_projection,
}


def shortcut_of(spec, stage, unit=conv_bn):
    """The function of a spec's shortcut in one of its stages, projecting by ``unit``."""
    if spec.shortcut in (None, "A"):
        return SHORTCUTS[spec.shortcut]
    if spec.shortcut == "D" and stage.dilation > 1:
        return partial(dilated_average_projection, unit=unit)
    return partial(SHORTCUTS[spec.shortcut], unit=unit)


def keras_v2_shortcut_of(spec, stage):
    """As `shortcut_of`, of keras.applications' v2, which has one of its own."""
    return subsample_or_project


# --- Merges (He et al. 2016b, sec. 3.1 and fig. 2) --------------------------------


def add(carried, residual, *, x, stride, name):
    """Adds them."""
    return layers.Add(name=f"{name}_add")([carried, residual])


def scaled_add(carried, residual, *, x, stride, name, scaling):
    """Adds them with constant factors."""
    carried = layers.Rescaling(scaling.shortcut, name=f"{name}_carried")(carried)
    residual = layers.Rescaling(scaling.residual, name=f"{name}_scaled")(residual)
    return layers.Add(name=f"{name}_add")([carried, residual])


def exclusive_gate(carried, residual, *, x, stride, name, gate):
    """``(1 - g) carried + g residual``, as ``carried + g (residual - carried)``."""
    g = _gate(x, channels(residual), stride, gate.bias, name, gate.kernel_size)
    change = layers.Subtract(name=f"{name}_change")([residual, carried])
    change = layers.Multiply(name=f"{name}_gated")([g, change])
    return layers.Add(name=f"{name}_add")([carried, change])


def shortcut_gate(carried, residual, *, x, stride, name, gate):
    """``(1 - g) carried + residual``."""
    g = _gate(x, channels(residual), stride, gate.bias, name)
    lost = layers.Multiply(name=f"{name}_gated")([g, carried])
    carried = layers.Subtract(name=f"{name}_carried")([carried, lost])
    return layers.Add(name=f"{name}_add")([carried, residual])


def dropped_add(carried, residual, *, x, stride, name, dropout):
    """Adds the residual to a shortcut with dropout.

    As in Caffe of that time the shortcut keeps a factor of ``1 - rate`` on the average,
    which is what the paper blames for the failure; Keras's dropout makes up for it.
    """
    carried = layers.Dropout(dropout.rate, name=f"{name}_dropout")(carried)
    carried = layers.Rescaling(1 - dropout.rate, name=f"{name}_carried")(carried)
    return layers.Add(name=f"{name}_add")([carried, residual])


def _gate(x, filters, stride, bias, name, kernel_size=1):
    return layers.Conv2D(
        filters,
        kernel_size,
        strides=stride,
        padding="same",
        activation="sigmoid",
        bias_initializer=keras.initializers.Constant(bias),
        name=f"{name}_gate",
    )(x)


def merge_of(spec):
    """The function of a spec's merge."""
    match spec.merge:
        case None:
            return add
        case Scaling():
            return partial(scaled_add, scaling=spec.merge)
        case ExclusiveGate():
            return partial(exclusive_gate, gate=spec.merge)
        case ShortcutGate():
            return partial(shortcut_gate, gate=spec.merge)
        case ShortcutDropout():
            return partial(dropped_add, dropout=spec.merge)


# --- Transforms of the residual ---------------------------------------------------


def squeeze_and_excite(x, *, ratio, name):
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


def drop_residual(x, *, rate, name):
    """Leaves the residual out for a random share of the images, in training.

    Huang et al. 2016, sec. 3: what is kept is scaled up in training here, instead of
    down in testing.
    """
    return layers.Dropout(
        rate, noise_shape=(None, 1, 1, 1), name=f"{name}_stochastic_depth"
    )(x)


def transform_of(spec, block, blocks):
    """What is done to the residual of block number ``block`` of ``blocks``, from 1."""
    rate = spec.stochastic_depth * block / blocks

    def transform(x, *, name):
        if spec.squeeze_excitation:
            x = squeeze_and_excite(x, ratio=spec.squeeze_excitation, name=name)
        if rate:
            x = drop_residual(x, rate=rate, name=name)
        return x

    return transform


def last_norm_of(spec):
    """The batch norm that ends a residual; with a scale of 0 at first if asked for."""
    return partial(batch_norm, gamma="zeros") if spec.zero_gamma else batch_norm
