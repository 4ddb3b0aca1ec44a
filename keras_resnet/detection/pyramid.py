"""The feature pyramid (Lin et al. 2017, sec. 3): coarse maps added to finer ones."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import layers, ops

from keras_resnet.models.layers import batch_norm


def fan_in_uniform() -> keras.initializers.Initializer:
    """Uniform with the variance 1 / fan_in: the pyramid's and the dense layers'."""
    return keras.initializers.VarianceScaling(1.0, "fan_in", "uniform")


@keras.saving.register_keras_serializable(package="keras_resnet")
class UpsampleAdd(layers.Layer):
    """Doubles the sides of a map, repeating its values, and adds it to a finer one.

    Where the finer map has an odd side, the last row or column is cut off.
    """

    def call(self, inputs: Sequence[Any]) -> Any:
        """Adds.

        Args:
            inputs: The finer and the coarser map, ``(batch, height, width, channels)``.
        """
        finer, coarser = inputs
        doubled = ops.repeat(ops.repeat(coarser, 2, axis=1), 2, axis=2)
        height, width = ops.shape(finer)[1:3]
        return finer + doubled[:, :height, :width]

    def compute_output_shape(self, input_shape: Sequence[Any]) -> Any:
        """The finer map's shape."""
        return input_shape[0]


def feature_pyramid(
    maps: Sequence[keras.KerasTensor], *, filters: int, norm: bool
) -> list[keras.KerasTensor]:
    """Builds a pyramid on a network's feature maps.

    Args:
        maps: From the finest to the coarsest, each half as large as the one before.
        filters: Of all maps that are returned.
        norm: Whether its convolutions have batch norm, instead of a bias.

    Returns:
        A map for each of ``maps``, of the same size, and the coarsest one with every
        second row and column.
    """

    def convolution(x, kernel_size, name):
        x = layers.Conv2D(
            filters,
            kernel_size,
            padding="same",
            use_bias=not norm,
            kernel_initializer=fan_in_uniform(),
            name=f"{name}_conv",
        )(x)
        return batch_norm(x, name=name) if norm else x

    pyramid, above = [], None
    for number, features in reversed(list(enumerate(maps, start=1))):
        inner = convolution(features, 1, f"fpn_inner{number}")
        if above is not None:
            inner = UpsampleAdd(name=f"fpn_add{number}")([inner, above])
        above = inner
        pyramid.insert(0, convolution(inner, 3, f"fpn_layer{number}"))
    last = layers.MaxPooling2D(1, strides=2, name="fpn_subsample")(pyramid[-1])
    return [*pyramid, last]
