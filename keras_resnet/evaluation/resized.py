"""A classifier for images of another size, or of any size as a convolutional one."""

from __future__ import annotations

import keras
from keras import ops


def at_size(model: keras.Model, size: tuple[int, int]) -> keras.Model:
    """Gives a classifier for images of another size; its pooling takes what comes.

    Args:
        model: Functional `keras.Model` that takes ``(batch, height, width, channels)``
            and pools over all places.
        size: Height and width in pixels.

    Returns:
        A model with copies of the same weights; ``model`` itself if it has this size.

    Raises:
        ValueError: If a layer works at its own size alone.
    """
    if tuple(model.input_shape[1:3]) == tuple(size):
        return model
    return _rebuilt(model, size)


def fully_convolutional(model: keras.Model, size: tuple[int, int]) -> keras.Model:
    """Gives a classifier that slides over images of any size (He et al. 2016a, sec. 3.4).

    The last global pooling becomes a pooling of stride 1 with the window that the map
    has at ``size``, the layers after it work at each place, and their answers are averaged
    over the places. At ``size`` it gives what the model gives. A map that is smaller than
    the window is pooled over as much as there is of it; the paper has none.

    Args:
        model: As for `at_size`.
        size: Height and width in pixels that the network was trained for.

    Returns:
        A model that takes ``(batch, any, any, channels)``, with copies of the weights.

    Raises:
        ValueError: If the model has no global average pooling before its classifier, or
            a layer works at one size alone.
    """
    pools = [
        layer
        for layer in at_size(model, size).layers
        if isinstance(layer, keras.layers.GlobalAveragePooling2D)
    ]
    if not pools:
        raise ValueError(
            "The network must end in global average pooling and a classifier to be "
            f"measured densely. Received: '{model.name}' without such a layer. Measure "
            "crops instead."
        )
    last = pools[-1]
    window = last.input.shape[1:3]

    def clone(layer):
        if layer.name != last.name:
            return layer.__class__.from_config(layer.get_config())
        return _SlidingPooling(window, layer.name)

    sliding = _rebuilt(model, (None, None), clone)
    places = keras.layers.GlobalAveragePooling2D(name="places")(sliding.output)
    return keras.Model(sliding.input, places, name=model.name)


@keras.saving.register_keras_serializable(package="keras_resnet")
class _SlidingPooling(keras.layers.Layer):
    """Means over a window at each place where it fits into the map.

    Unlike `keras.layers.AveragePooling2D` it takes maps that are smaller than the window,
    in either direction. It computes in float32, whose sums over a row keep their digits.
    """

    def __init__(self, window, name=None):
        super().__init__(name=name, dtype="float32")
        self.window = tuple(window)

    def call(self, maps):
        """Gives maps of ``(batch, places down, places across, channels)``."""
        for axis, window in zip((1, 2), self.window, strict=True):
            maps = _moving_mean(maps, axis, window)
        return maps

    def compute_output_shape(self, shape):
        """Of maps of any size."""
        return shape[0], None, None, shape[-1]

    def get_config(self):
        """What `from_config` needs."""
        return {"window": self.window, "name": self.name}


def _moving_mean(values, axis, window):
    size = ops.shape(values)[axis]
    window = min(window, size) if isinstance(size, int) else ops.minimum(window, size)
    sums = ops.cumsum(values, axis)
    sums = ops.concatenate([ops.zeros_like(ops.take(sums, [0], axis)), sums], axis)
    upper = ops.take(sums, ops.arange(window, size + 1), axis)
    lower = ops.take(sums, ops.arange(size - window + 1), axis)
    return (upper - lower) / ops.cast(window, values.dtype)


def _rebuilt(model, size, clone=None):
    inputs = keras.Input((*size, model.input_shape[-1]), dtype=model.inputs[0].dtype)
    try:
        other = keras.models.clone_model(
            model, input_tensors=inputs, clone_function=clone
        )
        other.set_weights(model.get_weights())
    except (ValueError, TypeError) as error:
        raise ValueError(
            "All layers must work on images of other sizes. Received: "
            f"'{model.name}', whose layers don't on {size[0]}x{size[1]}: {error} "
            f"Measure it at {model.input_shape[1]}x{model.input_shape[2]}."
        ) from error
    return other
