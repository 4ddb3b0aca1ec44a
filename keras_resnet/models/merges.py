"""How shortcut and residual are joined (He et al. 2016b, sec. 3.1 and fig. 2).

A merge is a function of the two, given the block's input ``x``, its stride and name.
"""

from functools import partial

import keras
from keras import layers

from keras_resnet.config.merges import (
    ExclusiveGate,
    Scaling,
    ShortcutDropout,
    ShortcutGate,
)
from keras_resnet.config.spec import ResNetSpec
from keras_resnet.models.layers import TensorFunction, channels


def add(
    carried: keras.KerasTensor,
    residual: keras.KerasTensor,
    *,
    x: keras.KerasTensor,
    stride: int,
    name: str,
) -> keras.KerasTensor:
    """Adds them."""
    return layers.Add(name=f"{name}_add")([carried, residual])


def scaled_add(
    carried: keras.KerasTensor,
    residual: keras.KerasTensor,
    *,
    x: keras.KerasTensor,
    stride: int,
    name: str,
    scaling: Scaling,
) -> keras.KerasTensor:
    """Adds them with constant factors."""
    carried = layers.Rescaling(scaling.shortcut, name=f"{name}_carried")(carried)
    residual = layers.Rescaling(scaling.residual, name=f"{name}_scaled")(residual)
    return layers.Add(name=f"{name}_add")([carried, residual])


def exclusive_gate(
    carried: keras.KerasTensor,
    residual: keras.KerasTensor,
    *,
    x: keras.KerasTensor,
    stride: int,
    name: str,
    gate: ExclusiveGate,
) -> keras.KerasTensor:
    """``(1 - g) carried + g residual``, as ``carried + g (residual - carried)``."""
    g = _gate(x, channels(residual), stride, gate.bias, name, gate.kernel_size)
    change = layers.Subtract(name=f"{name}_change")([residual, carried])
    change = layers.Multiply(name=f"{name}_gated")([g, change])
    return layers.Add(name=f"{name}_add")([carried, change])


def shortcut_gate(
    carried: keras.KerasTensor,
    residual: keras.KerasTensor,
    *,
    x: keras.KerasTensor,
    stride: int,
    name: str,
    gate: ShortcutGate,
) -> keras.KerasTensor:
    """``(1 - g) carried + residual``."""
    g = _gate(x, channels(residual), stride, gate.bias, name)
    lost = layers.Multiply(name=f"{name}_gated")([g, carried])
    carried = layers.Subtract(name=f"{name}_carried")([carried, lost])
    return layers.Add(name=f"{name}_add")([carried, residual])


def dropped_add(
    carried: keras.KerasTensor,
    residual: keras.KerasTensor,
    *,
    x: keras.KerasTensor,
    stride: int,
    name: str,
    dropout: ShortcutDropout,
) -> keras.KerasTensor:
    """Adds the residual to a shortcut with dropout.

    As in Caffe of that time the shortcut keeps a factor of ``1 - rate`` on the average,
    which is what the paper blames for the failure; Keras's dropout makes up for it.
    """
    carried = layers.Dropout(dropout.rate, name=f"{name}_dropout")(carried)
    carried = layers.Rescaling(1 - dropout.rate, name=f"{name}_carried")(carried)
    return layers.Add(name=f"{name}_add")([carried, residual])


def _gate(
    x: keras.KerasTensor,
    filters: int,
    stride: int,
    bias: float,
    name: str,
    kernel_size: int = 1,
) -> keras.KerasTensor:
    return layers.Conv2D(
        filters,
        kernel_size,
        strides=stride,
        padding="same",
        activation="sigmoid",
        # Ours: not that of the other kernels, since no ReLU follows.
        kernel_initializer="glorot_uniform",
        bias_initializer=keras.initializers.Constant(bias),
        name=f"{name}_gate",
    )(x)


def merge_of(spec: ResNetSpec) -> TensorFunction:
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
