"""How a network's signal grows from block to block, as it is initialised."""

from dataclasses import dataclass

import keras
import numpy as np

from keras_resnet.analysis.batches import check_weights, checked_images
from keras_resnet.analysis.differentiation import outputs
from keras_resnet.analysis.graphs import without_xla
from keras_resnet.analysis.routing import Routed, residual_network


@dataclass(frozen=True, kw_only=True)
class SignalPropagation:
    """The statistics of the feature maps at a network's additions.

    Attributes:
        names: Of the blocks, in the order of the network.
        stages: The stage of each block, from 1, integers of shape ``(blocks,)``.
        squared_mean: Of the additions' outputs, the squared mean of a channel over images
            and positions, averaged over the channels, ``(blocks,)``.
        variance: Of the additions' outputs, the variance of a channel over images and
            positions, averaged over the channels, ``(blocks,)``.
        residual_variance: The same of the residuals that are added, ``(blocks,)``.
        images: Number of images.
        training: Whether batch norm normalized by the batch.
    """

    names: tuple[str, ...]
    stages: np.ndarray
    squared_mean: np.ndarray
    variance: np.ndarray
    residual_variance: np.ndarray
    images: int
    training: bool


def signal_propagation(
    model: keras.Model | Routed, images: np.ndarray, *, training: bool = True
) -> SignalPropagation:
    """Measures how the signal grows from block to block.

    Brock et al. 2021, "Characterizing signal propagation to close the performance gap in
    unnormalized ResNets", sec. 3. What is measured is the output of the addition, in v1
    before the ReLU behind it.

    Args:
        model: A functional model with residual additions, or a `routing.Routed`; for the
            plots of the paper as it is initialised.
        images: ``(n, height, width, channels)``, as the model takes them, or of normal
            random numbers. They are one batch.
        training: Whether batch norm normalizes by the batch, as it must before there are
            moving statistics; else by these.

    Raises:
        ValueError: If the model has no residual additions or NaN in its weights, or if
            the images do not fit it.
    """
    routed = residual_network(model)
    check_weights(routed.model)
    images = checked_images(routed.model, images)
    layers = [routed.addition(block) for block in routed.blocks]
    residuals = [layer.input[1 - layer.shortcut] for layer in layers]
    measured = [_statistics(x) for x in [*(one.output for one in layers), *residuals]]
    network = without_xla(keras.Model(routed.model.input, measured))
    (found,) = outputs(network, [images], training=training)
    at_additions, of_residuals = np.split(np.float64(np.stack(found)), 2)
    return SignalPropagation(
        names=tuple(block.name for block in routed.blocks),
        stages=np.array([block.stage for block in routed.blocks]),
        squared_mean=at_additions[:, 0, 0],
        variance=at_additions[:, 0, 1],
        residual_variance=of_residuals[:, 0, 1],
        images=len(images),
        training=training,
    )


def _statistics(x: keras.KerasTensor) -> keras.KerasTensor:
    """Mean over channels of the squared mean and of the variance, ``(1, 2)``."""
    last = keras.config.image_data_format() == "channels_last"
    channel = len(x.shape) - 1 if last else 1
    axes = tuple(axis for axis in range(len(x.shape)) if axis != channel)
    x = keras.ops.cast(x, keras.config.floatx())
    squared_mean = keras.ops.mean(keras.ops.square(keras.ops.mean(x, axis=axes)))
    variance = keras.ops.mean(keras.ops.var(x, axis=axes))
    return keras.ops.reshape(keras.ops.stack([squared_mean, variance]), (1, 2))
