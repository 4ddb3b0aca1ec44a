"""Lengths of paths, and the gradient that comes by them."""

import itertools

import numpy as np
import pytest

from keras_resnet.analysis.paths import (
    PathGradients,
    draw_path,
    gradient_by_path,
    gradient_by_route,
    path_lengths,
)
from tests.helpers.small_nets import data, plain_gradients, shared_net, shared_routed

ONES = np.ones(4)


@pytest.fixture(scope="module")
def of_route():
    return gradient_by_route(shared_routed(), *data())


def test_lengths_are_binomial():
    np.testing.assert_allclose(path_lengths(3), [1 / 8, 3 / 8, 3 / 8, 1 / 8])
    np.testing.assert_allclose(path_lengths(54).sum(), 1, atol=1e-12)
    assert path_lengths(54) @ np.arange(55) == pytest.approx(27)
    # Python's floats end at 2^1024.
    assert path_lengths(600)[300] == pytest.approx(0.03256, rel=1e-3)


def test_drawn_paths_are_binomial():
    random = np.random.default_rng(0)
    lengths = [draw_path(6, random).sum() for _ in range(4000)]
    shares = np.bincount(lengths, minlength=7) / 4000
    np.testing.assert_allclose(shares, path_lengths(6), atol=0.03)
    paths = np.array([draw_path(6, random, 2) for _ in range(4000)])
    assert (paths.sum(axis=1) == 2).all()
    np.testing.assert_allclose(paths.mean(axis=0), 2 / 6, atol=0.03)
    assert len({tuple(path) for path in paths}) == 15


def test_all_gates_open_give_the_ordinary_gradient(of_route):
    images, labels = data()
    expected, _ = plain_gradients(shared_net(), images, labels, training=False)
    found = of_route(ONES, ONES)
    np.testing.assert_allclose(found, expected, atol=1e-5 * np.abs(expected).max())


def test_all_paths_together_give_the_ordinary_gradient(of_route):
    paths = [np.array(path) for path in itertools.product((0, 1), repeat=4)]
    total = sum(of_route(1 - path, path) for path in paths)
    whole = of_route(ONES, ONES)
    np.testing.assert_allclose(total, whole, atol=1e-5 * np.abs(whole).max())
    one = of_route(1 - paths[5], paths[5])
    assert np.abs(one - whole).max() > 0.01 * np.abs(whole).max()


def test_gradient_by_path(of_route):
    routed = shared_routed()
    seen = []
    found = gradient_by_path(
        routed, *data(), samples=3, progress=lambda *n: seen.append(n)
    )
    assert found.lengths.tolist() == [0, 1, 2, 3, 4]
    np.testing.assert_array_equal(found.frequency, path_lengths(4))
    # There is one path of length 0, and one through all blocks.
    for index, carry in ((0, ONES), (4, 1 - ONES)):
        gradient = of_route(carry, 1 - carry).reshape(12, -1)
        norm = float(np.linalg.norm(gradient, axis=1).mean())
        assert found.norm[index] == pytest.approx(norm, rel=1e-5)
        assert found.deviation[index] == pytest.approx(0, abs=1e-6 * norm)
    assert found.share.sum() == pytest.approx(1)
    weights = found.frequency * found.norm
    np.testing.assert_allclose(found.share, weights / weights.sum())
    assert seen[0] == (1, 15) and seen[-1] == (15, 15)


def test_the_narrowest_range_that_has_a_share():
    zeros = np.zeros(5)
    found = PathGradients(
        lengths=np.arange(5),
        frequency=zeros,
        norm=zeros,
        deviation=zeros,
        share=np.array([0.1, 0.5, 0.3, 0.06, 0.04]),
        samples=1,
        images=1,
        seed=0,
        training=False,
    )
    assert found.covering(0.5) == (1, 1)
    assert found.covering(0.8) == (1, 2)
    assert found.covering(0.9) == (0, 2)
    assert found.covering(1.0) == (0, 4)


@pytest.mark.slow
def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="`samples` must be at least 1"):
        gradient_by_path(shared_routed(), *data(), samples=0)
    with pytest.raises(ValueError, match="residual additions.*'plain' without"):
        gradient_by_path(shared_routed("plain"), *data())
    images, labels = data()
    with pytest.raises(ValueError, match="shape of the model's input"):
        gradient_by_path(shared_routed(), images[:, :4], labels)
