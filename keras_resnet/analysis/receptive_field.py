"""What part of an image a unit of a layer can see, and what part it does see."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import keras
import numpy as np

from keras_resnet.analysis.batches import check_weights, checked_images
from keras_resnet.analysis.differentiation import (
    as_array,
    as_tensors,
    stateless,
    value_and_gradients,
)
from keras_resnet.analysis.dissection import dissect
from keras_resnet.analysis.windows import Windows

Progress: TypeAlias = Callable[[int, int], object]


@dataclass(frozen=True, kw_only=True)
class ReceptiveField:
    """The receptive field of the unit at the centre of a layer's feature maps.

    Attributes:
        layer: Name of the layer.
        gradient: How much the unit depends on each pixel: the absolute gradient of the sum
            of its channels, summed over the image's channels, averaged over the images and
            divided by its greatest value, ``(height, width)``.
        radius: Root of the mean squared distance of the pixels from their centre, both
            weighted by the gradient, in pixels; a disc of even weight and radius r has
            r / √2. It is NaN where the gradient is 0.
        theoretical: Height and width of the rectangle of pixels, as if there were pixels
            beyond the image's border, that the unit can depend on; `None` where a layer
            before it takes the whole image, as squeeze-and-excitation, or is not known.
        images: Number of images.
    """

    layer: str
    gradient: np.ndarray
    radius: float
    theoretical: tuple[int, int] | None
    images: int

    def side(self, share: float = 0.0455) -> float:
        """The side of a square as large as the pixels that matter (Luo et al. 2016).

        Args:
            share: Of the greatest gradient, that a pixel which matters has at least; by
                default what lies beyond two standard deviations of a normal distribution.

        Returns:
            Root of their number, in pixels.
        """
        return float(np.sqrt(np.count_nonzero(self.gradient >= max(share, 1e-30))))


def effective_receptive_field(
    model: keras.Model,
    images: np.ndarray,
    *,
    layer: str | None = None,
    batch_size: int = 32,
    progress: Progress | None = None,
) -> ReceptiveField:
    """Measures how much the centre of a layer's feature maps depends on each pixel.

    Luo et al. 2016, "Understanding the effective receptive field in deep convolutional
    neural networks", sec. 2 and 3. Batch norm normalizes by its moving statistics. Of a map
    with even sides it is the unit below and to the right of the middle.

    Args:
        model: A functional model of images.
        images: ``(n, height, width, channels)``, as the model takes them.
        layer: Name of the layer; by default that whose feature maps are pooled for the
            classifier or, without pooling, the last one with feature maps.
        batch_size: How many images are computed at a time.
        progress: Called with the number of images done and that of all.

    Raises:
        ValueError: If the model is not functional or has NaN in its weights, or if the
            layer gives no feature maps or images do not fit the model.
    """
    windows = Windows()
    network = dissect(model, note=windows.note)
    layer = network.maps(layer)
    check_weights(network.model)
    images = checked_images(network.model, images)
    part = keras.Model(network.model.input, network.tensors[layer])
    called = stateless(lambda x: part(x, training=False))
    channel = -1 if keras.config.image_data_format() == "channels_last" else 1

    def centre(values: list[Any]) -> Any:
        maps = keras.ops.moveaxis(called([], values[0]), channel, -1)
        height, width = maps.shape[1:3]
        return keras.ops.sum(maps[:, height // 2, width // 2])

    total: Any = 0.0
    for start in range(0, len(images), batch_size):
        (pixels,) = as_tensors([images[start : start + batch_size]])
        pixels = keras.ops.cast(pixels, network.model.inputs[0].dtype)
        gradient = as_array(value_and_gradients(centre)([pixels])[1][0])
        total = total + np.abs(gradient.astype("float64")).sum(axis=(0, channel))
        if progress:
            progress(min(start + batch_size, len(images)), len(images))
    return ReceptiveField(
        layer=layer,
        gradient=total / (total.max() or 1.0),
        radius=_radius(total),
        theoretical=windows.sides(network.tensors[layer]),
        images=len(images),
    )


def _radius(weights: np.ndarray) -> float:
    """The root of the mean squared distance from the centre, of weighted pixels."""
    if not weights.any():
        return float("nan")
    variance = 0.0
    for axis in (0, 1):
        along = weights.sum(axis=1 - axis) / weights.sum()
        places = np.arange(len(along))
        variance += along @ (places - along @ places) ** 2
    return float(np.sqrt(variance))


def theoretical_receptive_field(
    model: keras.Model, *, layer: str | None = None
) -> tuple[int, int] | None:
    """The height and width of what a unit of a layer can see, by strides and kernels.

    Args:
        model: A functional model of images.
        layer: As of `effective_receptive_field`.

    Returns:
        Pixels, as if there were some beyond the image's border; `None` where a layer before
        it takes the whole image, or is not known.

    Raises:
        ValueError: If the model is not functional or the layer gives no feature maps.
    """
    windows = Windows()
    network = dissect(model, note=windows.note)
    return windows.sides(network.tensors[network.maps(layer)])
