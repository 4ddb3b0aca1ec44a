"""Counts a network's parameters and multiply-adds, as the papers do, and its outputs."""

import math
from typing import Any, TypeAlias

import keras
from keras import layers

Shape: TypeAlias = tuple[int | None, ...]

CONVOLUTIONS: tuple[type[keras.Layer], ...] = (
    layers.Conv1D,
    layers.Conv2D,
    layers.Conv3D,
    layers.DepthwiseConv1D,
    layers.DepthwiseConv2D,
)
SEPARABLE: tuple[type[keras.Layer], ...] = (
    layers.SeparableConv1D,
    layers.SeparableConv2D,
)
TRANSPOSED: tuple[type[keras.Layer], ...] = (
    layers.Conv1DTranspose,
    layers.Conv2DTranspose,
    layers.Conv3DTranspose,
)


def parameters(model: keras.Model) -> int:
    """Counts the trainable parameters of a model.

    Batch norm's moving statistics are not among them, nor is what has been
    frozen with ``trainable = False``. Papers print this number as "# params".

    Args:
        model: A built model.
    """
    return sum(math.prod(weight.shape) for weight in model.trainable_weights)


def multiply_adds(model: keras.Model) -> int:
    """Counts the multiply-adds of the convolutions and dense layers, for one image.

    This is what the residual papers call "FLOPs" (He et al. 2016a, table 1); biases,
    batch norm, pooling and additions are not counted. A layer or nested model that is
    called twice counts twice.

    Args:
        model: A functional or sequential model whose input height and width are
            known.

    Raises:
        ValueError: If a spatial size is unknown, also of a network inside of the model.
    """
    # Keras has no public way to walk over the calls in a graph: `layer.output` is the
    # first call's only. A model made anew has the same calls, sequential or not.
    depths = keras.Model(model.inputs, model.outputs)._nodes_by_depth.values()
    return sum(_call(node) for nodes in depths for node in nodes if not node.is_input)


def output_sizes(model: keras.Model) -> list[int]:
    """Counts the numbers that each call of a layer gives, for one image.

    Times the bytes of a number this is the memory that they take, all together where
    gradients are computed.

    Args:
        model: A functional or sequential model.

    Returns:
        In no particular order; without what has an unknown size.
    """
    sizes = []
    depths = keras.Model(model.inputs, model.outputs)._nodes_by_depth.values()
    for node in (node for nodes in depths for node in nodes):
        if isinstance(node.operation, keras.Model):
            sizes += output_sizes(node.operation)
            continue
        shapes = [tensor.shape[1:] for tensor in node.output_tensors]
        sizes += [math.prod(shape) for shape in shapes if None not in shape]
    return sizes


def _call(node: Any) -> int:
    layer = node.operation
    if isinstance(layer, keras.Model):
        return multiply_adds(layer)
    # Positions of the output times the weights that each of them meets. A kernel
    # has the shape (*window, channels / groups, filters), or for a depthwise one
    # (*window, channels, multiplier), so groups need no case of their own.
    if isinstance(layer, layers.Dense):
        shape = _known(layer, node.output_tensors[0].shape)
        return math.prod(shape[1:-1]) * math.prod(layer.kernel.shape)
    if isinstance(layer, TRANSPOSED):
        positions = _positions(layer, node.input_tensors[0].shape)
        return positions * math.prod(layer.kernel.shape)
    if isinstance(layer, SEPARABLE):
        kernels = layer.depthwise_kernel, layer.pointwise_kernel
        weights = sum(math.prod(kernel.shape) for kernel in kernels)
        return _positions(layer, node.output_tensors[0].shape) * weights
    if isinstance(layer, CONVOLUTIONS):
        positions = _positions(layer, node.output_tensors[0].shape)
        return positions * math.prod(layer.kernel.shape)
    return 0


def _positions(layer: keras.Layer, shape: Shape) -> int:
    shape = _known(layer, shape)
    first = layer.data_format == "channels_first"
    return math.prod(shape[2:] if first else shape[1:-1])


def _known(layer: keras.Layer, shape: Shape) -> Shape:
    if None in shape[1:]:
        raise ValueError(
            "Multiply-adds need the height and width of the images: build the model "
            "with a complete `input_shape`, e.g. (224, 224, 3). "
            f"Received: layer={layer.name!r} with the shape {tuple(shape)}."
        )
    return shape
