"""The filters of a network's first layer as images."""

from dataclasses import dataclass

import keras
import numpy as np

from keras_resnet.analysis.batches import check_weights
from keras_resnet.analysis.graphs import clone


@dataclass(frozen=True, kw_only=True)
class FirstFilters:
    """What the first convolution multiplies the pixels with, as images.

    Attributes:
        layer: Name of the convolution.
        images: From 0 to 1, ``(filters, height, width, channels)``: 0.5 stands for a weight
            of 0, and 0 or 1 for the weight of the greatest absolute value of the filter.
        greatest: That absolute value of each filter, ``(filters,)``.
    """

    layer: str
    images: np.ndarray
    greatest: np.ndarray


def first_filters(model: keras.Model) -> FirstFilters:
    """Shows the filters of a network's first layer (Krizhevsky et al. 2012, fig. 3).

    Args:
        model: A functional model of images with 1 or 3 channels.

    Raises:
        ValueError: If the model is not functional, its first convolution does not take
            images of 1 or 3 channels, or a weight is NaN.
    """
    network = clone(model)
    check_weights(network)
    layers = [one for one in network.layers if isinstance(one, keras.layers.Conv2D)]
    if not layers or layers[0].kernel.shape[2] not in (1, 3):
        kernel = layers[0].kernel.shape if layers else None
        raise ValueError(
            "`model` must begin with a convolution of images with 1 or 3 channels. "
            f"Received: a model named {model.name!r} whose first convolution has a kernel "
            f"of shape {kernel}."
        )
    kernel = keras.ops.convert_to_numpy(layers[0].kernel).astype("float32")
    greatest = np.abs(kernel).max(axis=(0, 1, 2))
    scaled = 0.5 + 0.5 * kernel / np.where(greatest > 0, greatest, 1)
    return FirstFilters(
        layer=layers[0].name,
        images=np.moveaxis(scaled, -1, 0),
        greatest=greatest,
    )
