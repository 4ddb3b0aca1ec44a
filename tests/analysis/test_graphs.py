"""Clones of graphs: flat, with the same weights, and in another precision."""

import keras
import numpy as np
import pytest

from keras_resnet.analysis import graphs
from tests.helpers.reference import called, images, with_random_weights


def layers_of(x, name):
    x = keras.layers.Dense(4, name=f"{name}_dense")(x)
    return keras.layers.BatchNormalization(name=f"{name}_bn")(x)


@pytest.fixture(scope="module")
def nested():
    """A model around two others, one of them frozen as for fine-tuning."""
    inputs = keras.Input((3,))
    frozen = keras.Model(inputs, layers_of(inputs, "frozen"))
    listed = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2, name="listed")])
    for model in (frozen, listed):
        with_random_weights(model)
    scaling = keras.layers.Normalization(name="scaling")
    scaling.adapt(images(5, 3, seed=3))
    outer = keras.Input((3,))
    x = listed(frozen(scaling(outer), training=False))
    return keras.Model(outer, keras.ops.tanh(x) + 1.0)


def test_nested_models_lie_flat(nested):
    flat = graphs.clone(nested)
    assert not any(isinstance(layer, keras.Model) for layer in flat.layers)
    assert {"frozen_bn", "listed", "scaling"} <= {layer.name for layer in flat.layers}
    x = images(6, 3)
    np.testing.assert_allclose(called(flat, x), called(nested, x), rtol=1e-6)
    trained = called(flat, x, training=True)
    np.testing.assert_allclose(trained, called(nested, x, training=True), rtol=1e-5)


def test_every_call_passes_through_the_function(nested):
    names = []

    def call(operation, *arguments, **options):
        names.append(operation.name)
        return operation(*arguments, **options)

    graphs.clone(nested, call)
    assert names[:3] == ["scaling", "frozen_dense", "frozen_bn"]
    assert [name.rstrip("_0123456789") for name in names[-3:]] == [
        "listed",
        "tanh",
        "add",
    ]


def test_a_clone_computes_in_float64(nested):
    clone = graphs.clone(nested, dtype="float64")
    x = images(6, 3)
    outputs = called(clone, x)
    assert outputs.dtype == "float64"
    assert {weight.dtype for weight in clone.trainable_weights} == {"float64"}
    np.testing.assert_allclose(outputs, called(nested, x), rtol=1e-5)


def test_a_clone_is_of_its_own(nested):
    x = images(6, 3)
    before = called(nested, x)
    new = graphs.clone(nested, weights=False)
    assert np.abs(called(new, x) - before).max() > 0.1
    for weight in new.weights:
        weight.assign(weight * 2)
    np.testing.assert_array_equal(called(nested, x), before)


def test_other_models_are_refused():
    class Own(keras.Model):
        def call(self, x):
            return x

    with pytest.raises(ValueError, match="functional"):
        graphs.clone(Own())
    with pytest.raises(ValueError, match="functional"):
        graphs.clone(keras.Sequential([keras.layers.Dense(2)]))
