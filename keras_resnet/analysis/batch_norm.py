"""Batch-norm statistics of a network whose weights were changed without training."""

from typing import Any

import keras
import numpy as np

from keras_resnet.analysis.batches import checked_images
from keras_resnet.analysis.differentiation import as_array, as_tensors, stateless


def recompute_statistics(
    model: keras.Model, images: np.ndarray, *, batch_size: int = 128
) -> None:
    """Replaces the moving means and variances of batch norms by those of images.

    Each layer's inputs come from layers that normalize by the batch, as in training.
    Layers that are frozen keep their statistics, and normalize by them. Nothing else of
    the model changes.

    Args:
        model: A built `keras.Model`; its moving statistics are replaced.
        images: ``(n, height, width, channels)``, as the model takes them. All of them
            weigh alike.
        batch_size: How many of them batch norm normalizes by at a time.

    Raises:
        ValueError: If the images do not fit the model.
    """
    images = checked_images(model, images)
    layers = _trained_batch_norms(model)
    momenta = [layer.momentum for layer in layers]

    def moments(batch: Any) -> list[tuple[Any, Any]]:
        model(batch, training=True)
        return [(one.moving_mean.value, one.moving_variance.value) for one in layers]

    means, squares = [0.0] * len(layers), [0.0] * len(layers)
    try:
        for layer in layers:
            layer.momentum = 0.0  # What moves, moves to the batch's own.
        for start in range(0, len(images), batch_size):
            (batch,) = as_tensors([images[start : start + batch_size]])
            share = len(batch) / len(images)
            for number, pair in enumerate(stateless(moments)([], batch)):
                mean, variance = (as_array(one).astype("float64") for one in pair)
                means[number] += share * mean
                squares[number] += share * (variance + mean**2)
    finally:
        for layer, momentum in zip(layers, momenta, strict=True):
            layer.momentum = momentum
    for layer, mean, square in zip(layers, means, squares, strict=True):
        layer.moving_mean.assign(mean)
        layer.moving_variance.assign(np.maximum(square - mean**2, 0))


def _trained_batch_norms(model: keras.Model) -> list[Any]:
    """The batch norms of a model and of models in it that are not frozen."""
    found: list[Any] = []
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            found += _trained_batch_norms(layer)
        elif isinstance(layer, keras.layers.BatchNormalization) and layer.trainable:
            found.append(layer)
    return found
