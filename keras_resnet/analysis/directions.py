"""Directions in the space of a network's weights: random, or to another network.

A direction is a list of arrays with the shapes of ``model.get_weights()``, in its order.
"""

from collections.abc import Sequence
from typing import Any, TypeAlias

import keras
import numpy as np

from keras_resnet.analysis.batches import check_weights

Direction: TypeAlias = list[np.ndarray]
# Layers whose kernels have a filter for each pair of the last two axes, and its name.
_DEPTHWISE = {
    keras.layers.DepthwiseConv1D: "kernel",
    keras.layers.DepthwiseConv2D: "kernel",
    keras.layers.SeparableConv1D: "depthwise_kernel",
    keras.layers.SeparableConv2D: "depthwise_kernel",
}


def random_direction(
    model: keras.Model, seed: int, *, filter_normalized: bool = True
) -> Direction:
    """Draws a Gaussian direction in which each filter is as long as the network's own.

    A filter is a slice of the kernel along its last axis: what leads to one output of a
    convolution or dense layer. (Of a depthwise convolution, along the last two.) Its
    direction ``d`` becomes ``d * |w| / (|d| + 1e-10)`` with ``w`` the network's filter, so
    that networks whose kernels differ in scale can be compared (Li et al. 2018,
    "Visualizing the loss landscape of neural nets", sec. 4).
    Biases, batch norm and other tensors of one dimension have the direction zero.

    A network whose batch norms are folded into the layers before them
    (`export.fold_batch_norm`) computes the same landscape in less time: the fold
    multiplies a filter and its direction by one factor, that of the batch norm. The same
    seed gives the same landscape where all factors are positive. A negative one turns the
    filter's direction round, which has the same distribution. It is not the same where a
    batch norm is folded into the layer behind it, as before a dense layer.

    Args:
        model: A built `keras.Model`; it stays as it is.
        seed: Of the draw. Kernels of the same shapes get the same numbers.
        filter_normalized: Whether filters are scaled; else they are standard normal.

    Raises:
        ValueError: If weights are NaN or infinite, or none has two dimensions or more.
    """
    check_weights(model)
    random = np.random.default_rng(seed)
    depthwise = _depthwise(model)
    direction = []
    for variable, weight in zip(model.weights, model.get_weights(), strict=True):
        if not is_kernel(weight):
            direction.append(np.zeros_like(weight))
            continue
        drawn = random.standard_normal(weight.shape)
        if filter_normalized:
            kept = 2 if id(variable) in depthwise else 1
            axes = tuple(range(weight.ndim - kept))
            drawn *= _norms(weight, axes) / (_norms(drawn, axes) + 1e-10)
        direction.append(drawn.astype(weight.dtype))
    if not any(is_kernel(weight) for weight in direction):
        raise ValueError(
            "`model` must have weights of two or more dimensions. Received: a model named "
            f"{model.name!r} without any."
        )
    return direction


def direction_to(model: keras.Model, weights: Sequence[Any]) -> Direction:
    """The direction from a network's weights to those of another one of the same layers.

    Batch norm's parameters and moving statistics are a part of it. Seeds are not.

    Args:
        model: A built `keras.Model`.
        weights: Of the other network, as its ``get_weights()`` gives them.

    Raises:
        ValueError: If weights are NaN or infinite, or differ from the model's in number
            or shape.
    """
    check_weights(model)
    own = model.get_weights()
    other = checked_weights("weights", weights, like=own)
    return [
        b.astype(a.dtype) - a if is_float(a) else np.zeros_like(a)
        for a, b in zip(own, other, strict=True)
    ]


def cosine(first: Direction, second: Direction) -> float:
    """The cosine of the angle between two directions, in -1 ... 1.

    Two random directions are nearly at a right angle, since they have many dimensions.

    Args:
        first: A direction.
        second: A direction of the same network.

    Raises:
        ValueError: If they differ in shape, or one is zero.
    """
    second = checked_weights("second", second, like=first)
    a, b = (
        np.concatenate([np.ravel(part).astype("float64") for part in direction])
        for direction in (first, second)
    )
    lengths = np.linalg.norm(a) * np.linalg.norm(b)
    if not lengths:
        raise ValueError("Directions must not be zero. Received: one that is.")
    return float(a @ b / lengths)


def checked_weights(
    name: str, weights: Sequence[Any], like: Sequence[np.ndarray]
) -> list[np.ndarray]:
    """Weights or a direction as arrays, if they are finite and shaped as others.

    Raises:
        ValueError: If they are not.
    """
    arrays = [np.asarray(weight) for weight in weights]
    if len(arrays) != len(like):
        raise ValueError(
            f"`{name}` must hold an array for each of the network's {len(like)} weights. "
            f"Received: {len(arrays)} arrays."
        )
    for number, (array, expected) in enumerate(zip(arrays, like, strict=True)):
        if array.shape != expected.shape:
            raise ValueError(
                f"`{name}` must have the shapes of the network's weights. Received: array "
                f"{number} of shape {array.shape} instead of {expected.shape}."
            )
    for number, array in enumerate(arrays):
        if is_float(array) and not np.isfinite(array.astype("float64")).all():
            raise ValueError(
                f"`{name}` must hold finite numbers. Received: NaN or infinite ones in "
                f"array {number}, of shape {array.shape}."
            )
    return arrays


def is_float(weight: np.ndarray) -> bool:
    """Whether a weight is made of floats, of bfloat16 too, and no seed or counter."""
    return keras.backend.is_float_dtype(keras.backend.standardize_dtype(weight.dtype))


def is_kernel(weight: np.ndarray) -> bool:
    """Whether it is a kernel, rather than a bias or a parameter of batch norm."""
    return weight.ndim > 1 and is_float(weight)


def _norms(tensor: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
    """Euclidean norms over axes, which stay with length 1."""
    squares = np.square(tensor.astype("float64"))
    return np.sqrt(squares.sum(axis=axes, keepdims=True))


def _depthwise(model: keras.Model) -> set[int]:
    """Identities of the kernels of depthwise convolutions, of nested models too."""
    found = set()
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            found |= _depthwise(layer)
        for kind, name in _DEPTHWISE.items():
            if isinstance(layer, kind):
                found.add(id(getattr(layer, name)))
    return found
