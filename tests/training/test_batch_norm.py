"""Batch norm in training: fused as Keras's own, statistics taken anew."""

import keras
import numpy as np
import pytest

from keras_resnet.training import batch_norm
from keras_resnet.training.faster import faster


def normalizing(seed=0):
    """A network of one convolution and one batch norm."""
    keras.utils.set_random_seed(seed)
    inputs = keras.Input((None, None, 3))
    x = keras.layers.Conv2D(4, 3, use_bias=False)(inputs)
    x = keras.layers.BatchNormalization(momentum=0.9, epsilon=1e-5, name="norm")(x)
    x = keras.layers.ReLU()(x)
    return keras.Model(inputs, keras.layers.GlobalAveragePooling2D()(x))


def trained(model, x, y):
    model.compile(keras.optimizers.SGD(0.1), "mse")
    model.fit(x, y, batch_size=4, epochs=2, shuffle=False, verbose=0)
    return model.get_weights()


def images_and_targets(n):
    rng = np.random.default_rng(0)
    x = rng.normal(loc=2, scale=3, size=(n, 7, 6, 3)).astype("float32")
    return x, rng.normal(size=(n, 4)).astype("float32")


@pytest.mark.parametrize("n", [8, 1, pytest.param(7, marks=pytest.mark.exhaustive)])
def test_fused_batch_norm_is_keras_own(n):
    model = normalizing()
    for weight in model.get_layer("norm").weights:
        weight.assign(np.random.default_rng(1).uniform(0.5, 2, weight.shape))
    fused = faster(model)
    assert type(fused.get_layer("norm")) is batch_norm.FusedBatchNormalization
    for own, other in zip(model.get_weights(), fused.get_weights(), strict=True):
        np.testing.assert_array_equal(own, other)
    data = images_and_targets(n)
    before = model.get_weights()
    after, fused_after = trained(model, *data), trained(fused, *data)
    for old, own, other in zip(before, after, fused_after, strict=True):
        assert np.abs(own - old).max() > 1e-3
        np.testing.assert_allclose(own, other, rtol=1e-4, atol=1e-5)


def test_one_value_per_channel_has_no_variance():
    x = np.ones((1, 3, 3, 3), "float32")
    model = faster(normalizing())
    model(x, training=True)
    np.testing.assert_allclose(model.get_layer("norm").moving_variance, 0.9)


def test_fused_batch_norm_reads_bfloat16():
    x, _ = images_and_targets(8)
    float32 = normalizing()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        bfloat16 = faster(normalizing())
    finally:
        keras.config.set_dtype_policy("float32")
    expected, found = float32(x, training=True), bfloat16(x, training=True)
    assert found.dtype == "bfloat16"
    np.testing.assert_allclose(np.float32(found), expected, atol=0.05)
    for norm in ("moving_mean", "moving_variance"):
        own, other = (getattr(m.get_layer("norm"), norm) for m in (float32, bfloat16))
        assert other.dtype == "float32"
        np.testing.assert_allclose(own, other, rtol=0.02, atol=0.02)


def test_a_frozen_fused_batch_norm_stays():
    model = faster(normalizing())
    model.get_layer("norm").trainable = False
    before = model.get_layer("norm").get_weights()
    trained(model, *images_and_targets(8))
    for old, new in zip(before, model.get_layer("norm").get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_other_batch_norms_are_left_alone():
    inputs = keras.Input((3, 8, 8))
    x = keras.layers.BatchNormalization(axis=1, name="first")(inputs)
    x = keras.layers.BatchNormalization(scale=False, name="unscaled")(x)
    model = faster(keras.Model(inputs, x))
    for name in ("first", "unscaled"):
        assert type(model.get_layer(name)) is keras.layers.BatchNormalization


def test_precise_batch_norm_has_the_statistics_of_all_images():
    model = normalizing()
    x, _ = images_and_targets(32)
    norm = model.get_layer("norm")
    outputs = np.asarray(model.layers[1](x))
    batch_norm.recompute(model, ((x[i : i + 8],) for i in range(0, 32, 8)))
    axes = (0, 1, 2)
    np.testing.assert_allclose(
        norm.moving_mean, outputs.mean(axes), rtol=1e-4, atol=1e-5
    )
    np.testing.assert_allclose(norm.moving_variance, outputs.var(axes), rtol=1e-4)
    assert norm.momentum == 0.9
    with pytest.raises(ValueError, match="at least one batch"):
        batch_norm.recompute(model, [])
    assert norm.momentum == 0.9


def test_precise_batch_norm_leaves_frozen_layers_alone():
    model = normalizing()
    norm = model.get_layer("norm")
    norm.trainable = False
    norm.moving_mean.assign(norm.moving_mean + 0.3)
    before = norm.get_weights()
    x, _ = images_and_targets(8)
    batch_norm.recompute(model, [(x,)])
    for old, new in zip(before, norm.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_synchronized_batch_norm_is_tensorflows(monkeypatch):
    monkeypatch.setattr("keras.backend.backend", lambda: "jax")
    with pytest.raises(ValueError, match="global batch anyway"):
        batch_norm.synchronize(None, True)
