"""Batch norm in convolutions: fewer layers, the same answers."""

import keras
import numpy as np
import pytest

from keras_resnet.applications import create
from keras_resnet.export.fold import fold_batch_norm
from keras_resnet.models.layers import FrozenBatchNormalization
from tests.conftest import REPOSITORY

# Batch norms that are left: those behind an addition or before a ReLU alone.
FAMILIES = {
    "resnet20": 0,
    "wide_resnet16_4": 6,  # The first of each block but one, and the last.
}
OTHERS = {
    "resnet18": 0,
    "resnet18_v2": 8,
    "resnet18d": 0,
    "resnet50_v2_keras": 17,
    "seresnext50_32x4d": 0,
    "darknet53": 0,
    "resnet110_bn_after_addition": 54,
    "resnet110_relu_only_preactivation": 0,
    "highway19": 0,
    "drn_d_22": 0,
    "resnext29_32x4d": 0,
    "resnet50": 0,
    "resnet50d": 0,
    "resnet50_v2": 16,
    "resnetv2_50": 17,
    "drn_c_26": 0,
    "resnet110_v2": 54,
    "resnet110_stochastic_depth": 0,
}


def shaken(model):
    """The model with statistics, scales and offsets as after a training."""
    random = np.random.default_rng(0)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.set_weights(
                [
                    random.uniform(0.5, 1.5, w.shape)
                    if w.path.endswith(("gamma", "variance"))
                    else random.normal(0, 0.3, w.shape)
                    for w in layer.weights
                ]
            )
    return model


def norms(model):
    return sum(isinstance(x, keras.layers.BatchNormalization) for x in model.layers)


@pytest.fixture(autouse=True)
def float64():
    """Random statistics enlarge float32's rounding; an error of algebra stays as it is."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float64")
    yield
    keras.config.set_dtype_policy(before)


def check(model, left):
    images = np.random.default_rng(1).normal(size=(4, *model.input_shape[1:]))
    images = images.astype(model.inputs[0].dtype)
    expected = np.asarray(shaken(model)(images, training=False))
    folded = fold_batch_norm(model)
    found = np.asarray(folded(images, training=False))
    # The builder's classifier is float32.
    scale = np.abs(expected).max()
    np.testing.assert_allclose(found / scale, expected / scale, atol=2e-6)
    assert norms(folded) == left
    if isinstance(model, keras.Sequential):  # It does not count its input layer.
        return folded
    assert len(model.layers) - len(folded.layers) == norms(model) - left
    # The model itself is as it was.
    np.testing.assert_array_equal(np.asarray(model(images, training=False)), expected)
    return folded


@pytest.mark.parametrize("name", FAMILIES)
def test_families(name):
    check(create(name, input_shape=(32, 32, 3)), FAMILIES[name])


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", OTHERS)
def test_other_families(name):
    check(create(name, input_shape=(64, 64, 3)), OTHERS[name])


def test_a_trained_network():
    """In float32, as it will be."""
    folder = REPOSITORY / "saved_models/quickstart_seed0"
    model = keras.saving.load_model(folder / "model.keras", compile=False)
    images = np.random.default_rng(1).normal(size=(8, *model.input_shape[1:]))
    folded = fold_batch_norm(model)
    assert norms(folded) == 0
    np.testing.assert_allclose(folded(images), model(images), atol=1e-4)


def small(*layers, inputs=(8, 8, 4)):
    x = inputs = keras.Input(inputs)
    for layer in layers:
        x = layer(x)
    return keras.Model(inputs, x)


def conv(size=3, **options):
    return keras.layers.Conv2D(6, size, bias_initializer="normal", **options)


def norm(**options):
    return keras.layers.BatchNormalization(**options)


def test_bias_and_missing_scale_or_offset():
    check(small(conv(), norm(scale=False), conv(use_bias=False), norm(center=False)), 0)
    check(small(conv(), norm(scale=False, center=False)), 0)


def test_groups():
    check(small(conv(groups=2), norm(), keras.layers.ReLU(), conv(1, groups=2)), 0)


def test_dense_layers_too():
    dense, pool = keras.layers.Dense, keras.layers.GlobalAveragePooling2D
    check(small(conv(), pool(), dense(5), norm(), keras.layers.ReLU(), dense(3)), 0)
    check(small(pool(), norm(), dense(5, activation="relu"), norm(), dense(3)), 0)


def test_before_a_convolution_only_where_no_zeros_are_added():
    check(small(norm(), conv(1)), 0)
    check(small(norm(), conv(3)), 0)
    check(small(norm(), conv(3, groups=2, activation="relu")), 0)
    check(small(norm(), conv(3, padding="same")), 1)
    check(small(norm(), keras.layers.ZeroPadding2D(1), conv(3)), 1)
    check(small(norm(), conv(1), norm()), 0)


def test_not_behind_an_activation_or_on_other_axes():
    check(small(conv(activation="relu"), norm()), 1)
    check(small(conv(), norm(axis=1)), 1)


def test_outputs_that_something_else_uses_stay():
    inputs = keras.Input((8, 8, 4))
    x = conv()(inputs)
    check(keras.Model(inputs, norm()(x) + x), 1)
    check(keras.Model(inputs, keras.ops.relu(norm()(x)) + keras.ops.relu(x)), 1)
    folded = fold_batch_norm(keras.Model(inputs, {"before": x, "after": norm()(x)}))
    assert norms(folded) == 1


def test_shared_layers_stay():
    inputs = keras.Input((8, 8, 4))
    shared = keras.layers.Conv2D(4, 3, padding="same")
    check(keras.Model(inputs, norm()(shared(norm()(shared(inputs))))), 2)
    one = norm()
    check(keras.Model(inputs, one(conv()(inputs)) + one(conv()(inputs))), 1)


def test_sequential_and_nested_models():
    inner = small(conv(), norm(), keras.layers.ReLU())
    folded = fold_batch_norm(keras.Sequential([keras.Input((8, 8, 4)), inner]))
    assert norms(folded.layers[-1]) == 0
    check(keras.Sequential([keras.Input((8, 8, 4)), conv(), norm()]), 0)


@pytest.mark.slow
def test_a_folded_model_can_be_saved(tmp_path):
    model = check(create("resnet20"), 0)
    model.save(tmp_path / "folded.keras")
    again = keras.saving.load_model(tmp_path / "folded.keras")
    images = np.ones((1, 32, 32, 3), "float32")
    np.testing.assert_allclose(model(images), again(images), rtol=1e-5)


def test_frozen_batch_norm_is_folded_as_keras_own():
    frozen = FrozenBatchNormalization(name="norm")
    check(small(conv(use_bias=False), frozen), 0)


def test_what_derives_from_keras_layers_stays():
    class Standardized(keras.layers.Conv2D):
        def convolution_op(self, inputs, kernel):
            return super().convolution_op(inputs, kernel - keras.ops.mean(kernel))

    check(small(Standardized(6, 3), norm(), conv(padding="same"), norm()), 1)


def test_other_models_are_an_error():
    class Own(keras.Model):
        pass

    with pytest.raises(ValueError, match="functional model"):
        fold_batch_norm(Own())
    with pytest.raises(ValueError, match="functional model"):
        fold_batch_norm(None)


def test_an_adapted_normalization_stays():
    scaling = keras.layers.Normalization()
    scaling.adapt(np.random.default_rng(0).normal(5, 3, (32, 8, 8, 4)))
    model = small(scaling, keras.layers.Conv2D(4, 3), keras.layers.BatchNormalization())
    images = np.random.default_rng(1).normal(5, 3, (4, 8, 8, 4))
    np.testing.assert_allclose(fold_batch_norm(model)(images), model(images), atol=1e-6)
