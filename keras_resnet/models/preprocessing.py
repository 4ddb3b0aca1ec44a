"""Preprocessing inside a network's graph: images with values from 0 to 255 go in."""

import keras
import numpy as np

from keras_resnet.config.preprocessing import Preprocessing
from keras_resnet.models.layers import channel_axis, channels, one_channel


def normalized(
    images: keras.KerasTensor, preprocessing: Preprocessing
) -> keras.KerasTensor:
    """Puts channels in order, subtracts the mean, divides by the standard deviation.

    In float32 whatever Keras's dtype policy is: half precision would round the images.

    Args:
        images: Batch of RGB or grey images in Keras's data format, values from 0 to 255.
        preprocessing: What the network's weights expect.

    Returns:
        Tensor of the same shape.

    Raises:
        ValueError: If the mean is of images of another shape.
    """
    if channels(images) != preprocessing.channels:
        raise ValueError(
            "With `include_preprocessing` the images must have the channels that the "
            f"weights expect, {preprocessing.channels}. Received: images of shape "
            f"{tuple(images.shape[1:])}. Leave it out and normalize them before."
        )
    mean = np.asarray(preprocessing.mean, "float32")
    variance = np.broadcast_to(np.asarray(preprocessing.std) ** 2, mean.shape)
    axes: tuple[int, ...] = (channel_axis(),)
    if mean.ndim == 3:
        mean, variance, axes = (
            _in_data_format(mean),
            _in_data_format(variance),
            (1, 2, 3),
        )
        if mean.shape != tuple(images.shape[1:]):
            raise ValueError(
                "With `include_preprocessing` the images must have the size of the "
                f"weights' mean image, {preprocessing.size}. Received: images of shape "
                f"{tuple(images.shape[1:])}."
            )
    if preprocessing.channel_order == "bgr":
        images = _reversed(images)
    return keras.layers.Normalization(
        axis=axes, mean=mean, variance=variance, dtype="float32", name="preprocessing"
    )(images)


def _reversed(images: keras.KerasTensor) -> keras.KerasTensor:
    """The channels of RGB images in the order B, G, R, without rounding the images."""
    parts = [
        one_channel(images, index, name=f"preprocessing_{color}", dtype="float32")
        for index, color in ((2, "blue"), (1, "green"), (0, "red"))
    ]
    return keras.layers.Concatenate(
        axis=channel_axis(), dtype="float32", name="preprocessing_bgr"
    )(parts)


def _in_data_format(image: np.ndarray) -> np.ndarray:
    return image if channel_axis() == -1 else np.moveaxis(image, -1, 0)
