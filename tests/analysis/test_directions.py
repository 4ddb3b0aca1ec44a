"""Directions: their scale, their seed, and what has none."""

import keras
import numpy as np
import pytest

from keras_resnet.analysis.directions import cosine, direction_to, random_direction
from keras_resnet.export.fold import fold_batch_norm
from tests.helpers.reference import with_random_weights
from tests.helpers.small_nets import shared_net, small_net


def test_filters_are_as_long_as_the_networks():
    model = shared_net()
    weights = model.get_weights()
    direction = random_direction(model, 0)
    kernels = 0
    for d, w in zip(direction, weights, strict=True):
        assert d.shape == w.shape
        assert d.dtype == w.dtype
        if w.ndim == 1:
            assert not d.any()
            continue
        kernels += 1
        lengths = [
            np.linalg.norm(t.reshape(-1, t.shape[-1]).astype("float64"), axis=0)
            for t in (d, w)
        ]
        np.testing.assert_allclose(lengths[0] / lengths[1], 1, atol=1e-5)
    assert kernels == 10  # Nine convolutions and the classifier.


def test_depthwise_filters_have_an_input_channel_each():
    inputs = keras.Input((4, 4, 3))
    x = keras.layers.DepthwiseConv2D(3, depth_multiplier=2)(inputs)
    nested = keras.Sequential(
        [keras.Input((2, 2, 6)), keras.layers.SeparableConv2D(4, 2)]
    )
    model = with_random_weights(keras.Model(inputs, nested(x)))
    for d, w in zip(random_direction(model, 0), model.get_weights(), strict=True):
        if w.ndim == 4:
            axes = (0, 1, 2) if w.shape[:2] == (1, 1) else (0, 1)
            lengths = [np.sqrt(np.square(t).sum(axis=axes)) for t in (d, w)]
            np.testing.assert_allclose(*lengths, rtol=1e-5)


def test_the_seed_says_which_direction():
    model = shared_net()
    before = model.get_weights()
    first, same, other = (random_direction(model, seed) for seed in (0, 0, 1))
    for a, b in zip(first, same, strict=True):
        np.testing.assert_array_equal(a, b)
    assert cosine(first, same) == pytest.approx(1)
    assert cosine(first, [-part for part in first]) == pytest.approx(-1)
    assert 0 < abs(cosine(first, other)) < 0.2
    bare = random_direction(model, 0, filter_normalized=False)
    assert np.std(np.concatenate([d.ravel() for d in bare if d.any()])) > 0.9
    for a, b in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_fold_scales_the_direction_as_the_filter():
    model = shared_net()
    folded = fold_batch_norm(model)
    ours, theirs = (
        [d for d in random_direction(net, 3) if d.any()] for net in (model, folded)
    )
    kernels, scaled = (
        [w for w in net.get_weights() if w.ndim > 1] for net in (model, folded)
    )
    for a, b, w, v in zip(ours, theirs, kernels, scaled, strict=True):
        np.testing.assert_allclose(b, a * (v / w), rtol=1e-3, atol=1e-6)


def test_the_direction_to_another_network():
    model, other = shared_net(), with_random_weights(small_net(), seed=7)
    way = direction_to(model, other.get_weights())
    for w, d, v in zip(model.get_weights(), way, other.get_weights(), strict=True):
        np.testing.assert_allclose(w + d, v, atol=1e-6)
    assert all(d.any() for d in way)  # Batch norm's too.
    with pytest.raises(ValueError, match=r"array 0 of shape \(4, 3, 3, 3\) instead"):
        direction_to(model, [weight.T for weight in other.get_weights()])


def test_seeds_and_counters_do_not_move():
    layers = [keras.Input((3,)), keras.layers.Normalization(), keras.layers.Dense(2)]
    model = keras.Sequential(layers)
    counts = [w for w in model.get_weights() if w.dtype.kind == "i"]
    assert counts
    for direction in (
        random_direction(model, 0),
        direction_to(model, model.get_weights()),
    ):
        for d, w in zip(direction, model.get_weights(), strict=True):
            assert d.dtype == w.dtype
            assert w.ndim > 1 or not d.any()


def test_what_does_not_fit_is_refused():
    inputs = keras.Input((3,))
    model = keras.Model(inputs, keras.layers.BatchNormalization()(inputs), name="norm")
    with pytest.raises(ValueError, match="two or more dimensions.*'norm'"):
        random_direction(model, 0)
    model.layers[1].gamma.assign([1, np.nan, 1])
    with pytest.raises(ValueError, match="finite.*gamma"):
        random_direction(model, 0)
    with pytest.raises(ValueError, match="must not be zero"):
        cosine([np.zeros(3)], [np.ones(3)])
    with pytest.raises(ValueError, match="`second` must hold an array"):
        cosine([np.ones(3)], [])
