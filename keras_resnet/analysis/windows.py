"""The window of pixels that a unit of a feature map depends on, along a graph."""

from typing import Any, TypeAlias

import keras
import numpy as np

from keras_resnet.analysis.graphs import tensors

# Of one axis: the pixels from one unit to the next, and the first and last pixel that unit
# number 0 depends on, which may lie beyond the border.
Span: TypeAlias = tuple[int, int, int]

# Layers whose units depend on what has their place in the input alone.
_POINTWISE = (
    keras.layers.Activation,
    keras.layers.BatchNormalization,
    keras.layers.Dropout,
    keras.layers.ELU,
    keras.layers.GaussianNoise,
    keras.layers.Identity,
    keras.layers.LeakyReLU,
    keras.layers.Normalization,
    keras.layers.PReLU,
    keras.layers.ReLU,
    keras.layers.Rescaling,
    keras.layers.SpatialDropout2D,
)
_MERGES = (
    keras.layers.Add,
    keras.layers.Average,
    keras.layers.Concatenate,
    keras.layers.Maximum,
    keras.layers.Multiply,
    keras.layers.Subtract,
)
_POOLINGS = (keras.layers.AveragePooling2D, keras.layers.MaxPooling2D)
_CONVOLUTIONS = (
    keras.layers.Conv2D,
    keras.layers.DepthwiseConv2D,
    keras.layers.SeparableConv2D,
)


class Windows:
    """Notes the window of each feature map while a network is cloned.

    What it does not know has no window, nor has anything that depends on it.
    """

    def __init__(self) -> None:
        # By the `id` of a tensor, which is kept, or its `id` comes again: of its axes.
        self._spans: dict[int, tuple[Any, list[Span] | None]] = {}

    def sides(self, tensor: keras.KerasTensor) -> tuple[int, int] | None:
        """Height and width of the window of a unit of feature maps, if it is known."""
        spans = self._spans[id(tensor)][1]
        if spans is None:
            return None
        height, width = (last - first + 1 for _, first, last in spans)
        return height, width

    def note(self, operation: Any, arguments: Any, output: keras.KerasTensor) -> None:
        """Notes the call of an operation."""
        inputs = list(tensors(arguments))
        spans = [self._of(tensor) for tensor in inputs]
        found = None
        if spans and None not in spans and len(output.shape) == 4:
            found = _behind(operation, inputs, spans)
        self._spans.setdefault(id(output), (output, found))

    def _of(self, tensor: keras.KerasTensor) -> list[Span] | None:
        if id(tensor) not in self._spans:  # The images.
            alone = [(1, 0, 0)] * 2 if len(tensor.shape) == 4 else None
            self._spans[id(tensor)] = tensor, alone
        return self._spans[id(tensor)][1]


def _behind(
    operation: Any, inputs: list[keras.KerasTensor], spans: list[Any]
) -> list[Span] | None:
    """The spans of both axes behind an operation, if they are known."""
    (first, *_) = spans
    if isinstance(operation, _MERGES) or type(operation).__name__ == "Add":
        return _merged(spans)
    if isinstance(operation, _POINTWISE):
        return first
    if type(operation).__name__ == "Pad":  # `keras.ops.pad`, which has no public class.
        axes = (1, 2) if keras.config.image_data_format() == "channels_last" else (2, 3)
        beside = [operation.pad_width[axis] for axis in axes]
        # Channels alone, as in option A's shortcuts of runs of before.
        return first if not np.any(beside) else None
    if isinstance(operation, keras.layers.ZeroPadding2D):
        return _padded(operation, first)
    if isinstance(operation, _POOLINGS):
        kernel, dilation = operation.pool_size, (1, 1)
    elif isinstance(operation, _CONVOLUTIONS):
        kernel, dilation = operation.kernel_size, operation.dilation_rate
    else:
        return None
    last = operation.data_format == "channels_last"
    sizes = inputs[0].shape[1:3] if last else inputs[0].shape[2:]
    return [
        _strided(span, size, dilated * (side - 1) + 1, stride, operation.padding)
        for span, size, side, dilated, stride in zip(
            first, sizes, kernel, _pair(dilation), _pair(operation.strides), strict=True
        )
    ]


def _pair(value: Any) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else tuple(value)


def _merged(spans: list[list[Span]]) -> list[Span] | None:
    """The least spans that hold those of all inputs, where their strides are one."""
    merged = []
    for steps, firsts, lasts in (
        zip(*of_axis, strict=True) for of_axis in zip(*spans, strict=True)
    ):
        if len(set(steps)) > 1:
            return None
        merged.append((steps[0], min(firsts), max(lasts)))
    return merged


def _padded(layer: keras.layers.ZeroPadding2D, spans: list[Span]) -> list[Span]:
    """What a border of zeros moves."""
    if layer.data_format != keras.config.image_data_format():
        return spans  # Zeros behind the channels, as in shortcuts of option A.
    return [
        (step, first - before * step, last - before * step)
        for (step, first, last), (before, _) in zip(spans, layer.padding, strict=True)
    ]


def _strided(
    span: Span, size: int | None, kernel: int, stride: int, padding: str
) -> Span:
    """The span behind a kernel, whose ``padding`` is that of Keras."""
    step, first, last = span
    before = 0
    if padding == "same":
        # With sides that are not known, those that the stride divides.
        units = -(-(size or stride) // stride)
        before = max((units - 1) * stride + kernel - (size or stride), 0) // 2
    begin = first - before * step
    return step * stride, begin, begin + last - first + (kernel - 1) * step
