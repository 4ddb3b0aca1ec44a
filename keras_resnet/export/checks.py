"""Checks that a model can be served, and finds its features and its softmax."""

from __future__ import annotations

from collections.abc import Sequence

import keras


def check_classifier(model: keras.Model, class_names: Sequence[str]) -> None:
    """Checks that a model can be served: see `export_saved_model`.

    Args:
        model: The model.
        class_names: Names of its classes.

    Raises:
        ValueError: If it can't.
    """
    if len(model.inputs) != 1 or len(model.input_shape) != 4:
        raise ValueError(
            "The model must take one batch of images, (N, H, W, C). "
            f"Received: inputs of shape {model.input_shape}."
        )
    if len(model.outputs) != 1 or len(model.output_shape) != 2:
        raise ValueError(
            "The model must give one row of classes per image. "
            f"Received: outputs of shape {model.output_shape}."
        )
    check_names(class_names, model.output_shape[-1])
    check_layers(model)


def check_names(class_names: Sequence[str], classes: int) -> None:
    """Checks that each of a model's classes has a name, one line of text.

    Args:
        class_names: Their names.
        classes: How many classes the model has.

    Raises:
        ValueError: If not.
    """
    if len(class_names) != classes:
        raise ValueError(
            "`class_names` must hold one name per class of the model. Received: "
            f"{len(class_names)} names, {classes} classes."
        )
    several = [name for name in class_names if name.splitlines() != [name]]
    if several:  # They are written one a line.
        raise ValueError(
            "The name of a class must be one line of text. "
            f"Received: {several[0]!r}. Rename it."
        )


def check_layers(model: keras.Model) -> None:
    """Checks that all of a model's layers are float32 and channels last.

    Args:
        model: The model.

    Raises:
        ValueError: If one isn't.
    """
    for layer in _layers(model):
        _check_layer(layer)


def _check_layer(layer):
    if layer.compute_dtype != "float32":
        raise ValueError(
            "The model must compute in float32 throughout: rebuild it under "
            "`keras.config.set_dtype_policy('float32')` and load the weights. "
            f"Received: layer={layer.name!r} with "
            f"compute_dtype={layer.compute_dtype!r}."
        )
    # Padding and cropping serve our networks to change the channels themselves.
    reshapes = isinstance(layer, (keras.layers.ZeroPadding2D, keras.layers.Cropping2D))
    if not reshapes and getattr(layer, "data_format", None) == "channels_first":
        raise ValueError(
            "The model must be channels last, as served images are: rebuild it with "
            "`keras.config.set_image_data_format('channels_last')` and load the "
            f"weights, which are the same. Received: layer={layer.name!r} with "
            "data_format='channels_first'."
        )


def _layers(model):
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from _layers(layer)
        elif not isinstance(layer, keras.layers.InputLayer):
            yield layer


def features_of(model: keras.Model) -> keras.KerasTensor:
    """Finds the symbolic input of a model's last layer with weights, its classifier.

    Raises:
        ValueError: If that layer lies in a model within the model, or there is none.
    """
    layers = [layer for layer in model.layers if layer.weights]
    if not layers or isinstance(layers[-1], keras.Model):
        raise ValueError(
            "The model's last layer with weights must be its classifier, a layer of the "
            "model itself and not of a model within it: build it in one graph. "
            f"Received: layers={[layer.name for layer in model.layers[-3:]]}."
        )
    return layers[-1].input
