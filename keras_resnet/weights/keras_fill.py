"""Fills networks of ours from Keras's own files of them, which Keras reads by itself."""

import pathlib
import re
import warnings

import keras
import numpy as np

from keras_resnet.weights.classifier import NEW_CLASSIFIER
from keras_resnet.weights.files import check_weights
from keras_resnet.weights.keras_files import arrays_in, layers_in
from keras_resnet.weights.notes import warn


def fill_from_keras_file(
    model: keras.Model, path: pathlib.Path, new_classifier: bool, network: str
) -> None:
    """Fills a network of ours from a ``.keras`` or ``.weights.h5`` file.

    Args:
        model: The network.
        path: The file.
        new_classifier: Whether the model keeps its own classifier where the file's is for
            another number of classes.
        network: What the network is called in messages.

    Raises:
        ValueError: If they don't fit, or aren't numbers. The model then keeps the weights
            that it had.
    """
    before = model.get_weights()
    try:
        _check_layers(model, path, network)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            model.load_weights(path, skip_mismatch=new_classifier)
        skipped = re.findall(r"name=(\w+)", " ".join(str(w.message) for w in caught))
        if set(skipped) - {"logits"}:
            raise ValueError(f"the layers {sorted(set(skipped))[:5]} don't match.")
        stored = arrays_in(path)  # Keras casts what it loads to float32.
        for variable, array in zip(model.weights, model.get_weights(), strict=True):
            name = "/".join(variable.path.split("/")[-2:])
            in_file = stored.get(name, array)
            if in_file.shape == array.shape:  # Else the model has kept its own.
                check_weights(in_file, name, variable.path)
    except Exception as error:  # Keras and h5py raise many kinds.
        model.set_weights(before)
        raise ValueError(
            f"The weights in {path} don't fit {network!r}: check `classes`, "
            f"`include_top` and the network's name. {NEW_CLASSIFIER} {error}"
        ) from error


def _check_layers(model, path, network):
    """Raises `ValueError` unless a Keras file has layers of the model's names.

    Keras matches layers by kind and order only, so that networks of equal shapes would
    take each other's weights. Strides show in neither names nor shapes: a warning tells
    where they differ.
    """
    names, strides = layers_in(path)
    # Additions tell residual from plain nets, where shortcuts have no weights.
    held = {name for name in names if names[name] or name.endswith("_add")}
    wanted = {
        layer.name
        for layer in model.layers
        if layer.weights or layer.name.endswith("_add")
    }
    # Keras leaves out a classifier that the model hasn't, and misses one that it has.
    if held and held - {"logits"} != wanted - {"logits"}:
        raise ValueError(
            f"Its layers are another network's: {sorted(held - wanted)[:3]} have no place "
            f"here, {sorted(wanted - held)[:3]} are missing there."
        )
    if not strides:
        return
    ours = {layer.name: getattr(layer, "strides", 1) for layer in model.layers}
    differences = [
        np.max(ours.get(name, 1)) - np.max(strides.get(name, 1))
        for name in {*ours, *strides}
    ]
    # Both: with another output_stride they are all smaller, or all greater.
    if min(differences) < 0 < max(differences):
        warn(
            f"{path} is of a network with the layers of {network!r}, but strides in "
            "other places: its weights give wrong logits here. Load them into the network "
            "that they were trained in, such as 'resnet50_v1_5' instead of 'resnet50'."
        )
