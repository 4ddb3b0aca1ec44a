"""Losses along directions: what they equal, where they stop, and what is left behind."""

import keras
import numpy as np
import pytest

from keras_resnet.analysis import landscape, walk
from keras_resnet.analysis.batch_norm import recompute_statistics
from keras_resnet.analysis.batches import Batches
from keras_resnet.analysis.directions import direction_to, random_direction
from keras_resnet.evaluation import metrics
from keras_resnet.export.fold import fold_batch_norm
from tests.helpers.reference import called, with_random_weights
from tests.helpers.small_nets import CLASSES, data, shared_net, small_net

GRID = ((-1, 0, 0.5), (-0.5, 0))


@pytest.fixture(scope="module")
def model():
    return shared_net(blocks=1)


@pytest.fixture(scope="module")
def directions(model):
    return random_direction(model, 0), random_direction(model, 1)


def assert_same_bits(first, second):
    for a, b in zip(first, second, strict=True):
        assert a.dtype == b.dtype
        assert a.tobytes() == b.tobytes()


def test_the_middle_is_what_evaluate_measures(model, directions):
    before, seen = model.get_weights(), []
    found = landscape.surface(
        model, data(), directions, GRID, on_point=seen.append, clip=None, batch_size=6
    )
    assert_same_bits(model.get_weights(), before)
    whole = metrics.evaluate(model, Batches(model, data(), 6))
    assert (found.loss[1, 1], found.error[1, 1]) == (whole.loss, whole.top1_error)
    assert found.loss.shape == found.error.shape == (2, 3)
    assert found.images == len(data()[0])
    assert len(set(found.loss.ravel())) == 6
    assert [point.done for point in seen] == [1, 2, 3, 4, 5, 6]
    assert [point.loss for point in seen] == found.loss.ravel().tolist()
    assert [point.index for point in seen] == list(np.ndindex(2, 3))
    # Any other point: the network that has these weights.
    changed = small_net(blocks=1)
    changed.set_weights(
        [w + 0.5 * a - 0.5 * b for w, a, b in zip(before, *directions, strict=True)]
    )
    there = metrics.evaluate(changed, Batches(changed, data(), 6))
    assert found.loss[0, 2] == pytest.approx(there.loss, rel=1e-6)
    line = landscape.line(
        model, data(), directions[0], positions=GRID[0], clip=None, batch_size=6
    )
    np.testing.assert_array_equal(line.loss, found.loss[1])
    np.testing.assert_array_equal(line.error, found.error[1])


def test_a_folded_network_has_the_same_surface(model):
    folded = fold_batch_norm(model)
    assert len(folded.layers) < len(model.layers)
    found = [
        landscape.surface(
            net, data(), (random_direction(net, 0), random_direction(net, 1)), GRID
        ).loss
        for net in (model, folded)
    ]
    np.testing.assert_allclose(found[1], found[0], rtol=1e-4)
    assert found[1][1, 1] == pytest.approx(found[0][1, 1], abs=1e-5)


def test_an_interrupted_surface_goes_on(model, directions):
    whole = landscape.surface(model, data(), directions, GRID)
    known = np.full((2, 2, 3), np.nan)
    before = model.get_weights()

    def save(point):
        known[0][point.index], known[1][point.index] = point.loss, point.error
        if point.done == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        landscape.surface(model, data(), directions, GRID, on_point=save)
    assert_same_bits(model.get_weights(), before)
    assert np.isnan(known[0]).sum() == 2
    saved, seen = known.copy(), []
    again = landscape.surface(
        model, data(), directions, GRID, known=known, on_point=seen.append
    )
    np.testing.assert_array_equal(known, saved)  # The caller's array stays.
    np.testing.assert_array_equal(again.loss, whole.loss)
    np.testing.assert_array_equal(again.error, whole.error)
    assert [(point.index, point.done) for point in seen] == [((1, 1), 5), ((1, 2), 6)]


def test_points_far_above_the_clip_stop_early(model, directions, monkeypatch):
    images, labels = (np.concatenate([part] * 16) for part in data())  # 192 images.
    axes = (np.linspace(-4, 4, 5), (-2.0, 0.0))
    arguments = model, (images, labels), directions, axes
    every = landscape.surface(*arguments, clip=None)
    clip = float(np.median(every.loss))
    computed = []
    outputs_of = metrics.outputs_of
    monkeypatch.setattr(
        metrics, "outputs_of", lambda *a: computed.append(1) or outputs_of(*a)
    )
    found = landscape.surface(*arguments, clip=clip)
    assert len(computed) < 3 * every.loss.size  # Of three batches each.
    under = every.loss <= clip
    np.testing.assert_array_equal(found.loss[under], every.loss[under])
    np.testing.assert_array_equal(found.error[under], every.error[under])
    np.testing.assert_array_equal(found.loss[~under], clip)
    assert 0 < under.sum() < under.size


def test_a_stop_waits_for_64_images_or_certainty():
    def is_above(total, seen):
        return walk.Walk(
            model=None, batches=[], images=1000, from_logits=True, clip=10.0
        )._is_above_clip(total, seen)

    assert not is_above(63 * 100.0, 63)
    assert is_above(64 * 15.1, 64)
    assert not is_above(64 * 14.9, 64)
    assert is_above(10_001.0, 32)  # Whatever the others are.
    assert not is_above(10_000.0, 1000)


def test_a_network_that_overflows_is_at_the_clip(model):
    direction = [part * 1e30 for part in random_direction(model, 0)]
    for clip, expected in ((10.0, 10.0), (None, np.inf)):
        found = landscape.line(model, data(), direction, positions=(0, 1e6), clip=clip)
        assert found.loss[0] < 10
        assert found.loss[1] == expected
        assert found.error[1] == 100


def test_probabilities_are_measured_too(model, directions):
    softmax = keras.Model(model.input, keras.layers.Softmax()(model.output))
    first = random_direction(softmax, 0)
    found = landscape.line(
        softmax, data(), first, positions=(0, 0.5), from_logits=False
    )
    logits = landscape.line(model, data(), directions[0], positions=(0, 0.5))
    np.testing.assert_allclose(found.loss, logits.loss, rtol=1e-5)


def test_interpolation_ends_in_the_two_networks(model):
    other = with_random_weights(small_net(blocks=1), seed=7)
    before = model.get_weights()
    found = landscape.interpolate(
        model, other.get_weights(), data(), positions=(0, 0.5, 1)
    )
    assert_same_bits(model.get_weights(), before)
    ends = [metrics.evaluate(net, [data()]).loss for net in (model, other)]
    assert found.loss[[0, 2]].tolist() == ends
    way = direction_to(model, other.get_weights())
    line = landscape.line(model, data(), way, positions=(0, 0.5, 1), clip=None)
    np.testing.assert_allclose(line.loss, found.loss, rtol=1e-4)


def test_interpolation_recomputes_statistics(model):
    x, y = data()
    other = with_random_weights(small_net(blocks=1), seed=7)
    before = model.get_weights()
    found = landscape.interpolate(
        model, other.get_weights(), (x, y), positions=(0.5,), statistics=x
    )
    assert_same_bits(model.get_weights(), before)
    halfway = small_net(blocks=1)
    halfway.set_weights(
        [0.5 * a + 0.5 * b for a, b in zip(before, other.get_weights(), strict=True)]
    )
    momenta = {n.momentum for n in halfway.layers if hasattr(n, "momentum")}
    recompute_statistics(halfway, x)
    assert momenta == {n.momentum for n in halfway.layers if hasattr(n, "momentum")}
    there = metrics.evaluate(halfway, [(x, y)])
    assert found.loss[0] == pytest.approx(there.loss, rel=1e-4)
    # Of one batch: what batch norm makes of it in training.
    by_the_batch = called(halfway, x, training=True)
    losses = -metrics.log_probabilities(np.float64(by_the_batch), True)[
        range(len(y)), y
    ]
    assert there.loss == pytest.approx(losses.mean(), rel=1e-4)


def test_statistics_are_those_of_all_images():
    inputs = keras.Input((4, 4, 2))
    norm = keras.layers.BatchNormalization()
    frozen = keras.layers.BatchNormalization(trainable=False)
    model = keras.Model(inputs, frozen(norm(inputs)))
    x = np.random.default_rng(0).normal(3, 2, (10, 4, 4, 2)).astype("float32")
    recompute_statistics(model, x, batch_size=4)
    mean, variance = x.mean(axis=(0, 1, 2)), x.var(axis=(0, 1, 2))
    np.testing.assert_allclose(norm.moving_mean, mean, rtol=1e-5)
    np.testing.assert_allclose(norm.moving_variance, variance, rtol=1e-5)
    np.testing.assert_array_equal(frozen.moving_mean, [0, 0])


def test_what_does_not_fit_is_refused(model, directions):
    images, labels = data()
    ok = {"data": (images, labels), "directions": directions, "positions": GRID}
    for change, message in [
        ({"data": (images[:, :4], labels)}, r"\('n', 8, 8, 3\).*\(12, 4, 8, 3\)"),
        ({"data": (images * np.nan, labels)}, "finite"),
        ({"data": (images[:0], labels[:0])}, "at least 1"),
        ({"data": []}, "at least one image"),
        ({"data": (images, labels + 1)}, f"0 ... {CLASSES - 1}"),
        ({"directions": (directions[0], directions[1][:-1])}, "an array for each"),
        ({"directions": (directions[0], directions[1][::-1])}, "shapes of the network"),
        ({"directions": (directions[0], [d * 0 for d in directions[0]])}, "zero"),
        ({"positions": ((), (0,))}, "`x` must be one or more"),
        ({"positions": ((0,), (0, 0))}, "`y` must be in ascending order"),
        ({"positions": ((0, np.nan), (0,))}, "finite numbers"),
        ({"known": np.zeros((2, 3, 2))}, r"\(2, 2, 3\).*\(2, 3, 2\)"),
        ({"known": np.stack([np.full((2, 3), np.nan), np.ones((2, 3))])}, "both"),
        ({"clip": 0}, "above 0"),
    ]:
        with pytest.raises(ValueError, match=message):
            landscape.surface(model, **(ok | change))
    with pytest.raises(ValueError, match="`weights` must hold finite"):
        broken = [w * np.nan for w in model.get_weights()]
        landscape.interpolate(model, broken, data())
    one_class = small_net(classes=1, blocks=1)
    first = random_direction(one_class, 0)
    with pytest.raises(ValueError, match="two or more classes"):
        landscape.line(one_class, (images, labels * 0), first)
    one_class.layers[1].kernel.assign(one_class.layers[1].kernel * np.nan)
    with pytest.raises(ValueError, match="finite.*stem_conv/kernel"):
        landscape.line(one_class, (images, labels * 0), first)


def test_a_grid_of_one_point_is_measured(model, directions):
    found = landscape.surface(model, data(), directions, ((0,), (0,)))
    assert found.loss.shape == (1, 1)
