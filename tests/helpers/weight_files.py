"""Small networks with random weights, and what a file of weights must do to them."""

import os
import pathlib

import keras
import numpy as np
import pytest

from keras_resnet.config.spec import ResNetSpec, doubling
from keras_resnet.models.resnet import build
from keras_resnet.weights.load import load_weights
from tests.helpers.reference import with_random_weights

TINY = ResNetSpec(
    stem="imagenet",
    stem_filters=16,
    stages=doubling("basic", (1, 1), 16),
    dataset="imagenet",
    paper="none",
    source="none",
)


def small(spec, seed=0, **options):
    model = build(spec, input_shape=(32, 32, 3), name="small", **options)
    return with_random_weights(model, seed)


def weights_of(model, layer):
    return [keras.ops.convert_to_numpy(w) for w in model.get_layer(layer).weights]


def assert_same_weights(model, other):
    for weight, expected in zip(model.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_allclose(weight, expected, rtol=1e-6)


def refuses(spec, path, message):
    """Checks the error, and that the model is as it was."""
    model, before = small(spec, seed=5), small(spec, seed=5)
    with pytest.raises(ValueError, match=message):
        load_weights(model, path, spec)
    assert_same_weights(model, before)


class Malicious:
    """Creates a file when it is unpickled, in one of several ways."""

    def __init__(self, path, how="function"):
        self.path, self.how = path, how

    def __reduce__(self):
        if self.how == "function":
            return pathlib.Path.touch, (self.path,)
        if self.how == "builtin":
            return exec, (f"open({str(self.path)!r}, 'w').close()",)
        return os.system, (f"touch '{self.path}'",)
