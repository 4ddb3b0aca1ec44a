"""The classifiers among weights: which they are, and others in their place."""

import re
from typing import Any

import keras
import numpy as np

from keras_resnet.config.spec import ResNetSpec
from keras_resnet.weights.conventions import Format

# Where the weights' classifier doesn't fit.
NEW_CLASSIFIER = (
    "For other classes, `new_classifier=True` (of `create`) makes a new one that is to be "
    "trained, and `include_top=False` leaves it out."
)
# What the classifiers of other networks are called, before the first dot or slash.
HEADS = re.compile(
    r"(fc|head|classifier|linear|last_linear|predictions|logits|dense\w*)"
)


def is_head(name: str) -> bool:
    """Tells whether a weight belongs to a classifier, of whatever network."""
    return HEADS.fullmatch(re.split("[./]", str(name))[0]) is not None


def replace_classifier(
    arrays: dict[str, Any],
    form: Format,
    model: keras.Model,
    spec: ResNetSpec,
    new_classifier: bool,
) -> None:
    """Leaves out the weights' classifier where the model has none or keeps its own.

    Args:
        arrays: The weights by the format's names, which are changed.
        form: Their format.
        model: The network to be filled.
        spec: Its `ResNetSpec`.
        new_classifier: Whether the model keeps its own where theirs doesn't fit.
    """
    kernel, bias = (form.key(spec, "logits", name) for name in ("kernel", "bias"))
    layer = next((layer for layer in model.layers if layer.name == "logits"), None)
    if layer is not None:
        fits = np.shape(arrays.get(bias)) == (layer.units,) and kernel in arrays
        if fits or not new_classifier:
            return
    for name in [name for name in arrays if is_head(name)]:
        del arrays[name]
    if layer is not None:
        values = layer.get_weights()
        arrays[kernel] = values[0].T if form.torch else values[0]
        arrays[bias] = values[1]
