"""What the papers say of trained networks, on one of ours and on a plain net."""

from dataclasses import replace

import numpy as np
import pytest

import keras_resnet
from keras_resnet.analysis import landscape, lesions, permutations, responses
from keras_resnet.analysis.batches import Batches
from keras_resnet.analysis.directions import random_direction
from keras_resnet.analysis.routing import route
from keras_resnet.config.recipes import RECIPES
from keras_resnet.data import sources
from keras_resnet.evaluation import metrics
from keras_resnet.export.fold import fold_batch_norm
from tests.conftest import REPOSITORY
from tests.helpers.reference import called

pytestmark = [pytest.mark.exhaustive, pytest.mark.xdist_group("trained")]


def validation(run):
    """Images of the validation split, as a run's model takes them, and labels."""
    split = sources.load("fashion_mini").validation
    (mean,), (std,) = run.preprocessing.mean, run.preprocessing.std
    images = (np.float32(split.images).reshape(-1, 28, 28, 1) - mean) / std
    return images.astype("float32"), np.asarray(split.labels, "int64")


@pytest.fixture(scope="module")
def resnet():
    run = keras_resnet.load(REPOSITORY / "saved_models" / "quickstart_seed0")
    return run.model, route(run.model), validation(run)


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """A plain-20, trained in 520 updates as the quickstart is."""
    recipe = replace(RECIPES["quickstart"], name="plain20_quick", network="plain20")
    folder = keras_resnet.train(
        recipe, steps=520, output_dir=tmp_path_factory.mktemp("runs"), verbose=0
    )
    run = keras_resnet.load(folder)
    return run.model, route(run.model), validation(run)


def check_undamaged(model, routed, data):
    images = data[0][:100]
    difference = np.abs(called(routed.model, images) - called(model, images))
    assert difference.max() <= 2e-5


def test_a_residual_network_stands_a_lesion(resnet):
    check_undamaged(*resnet)
    _, routed, data = resnet
    found = lesions.delete_each(routed, data)
    assert found.whole_error < 12
    assert np.median(found.error) <= 30
    swapped = permutations.permute(routed, data, swaps=(1,), samples=6)
    assert swapped.error.max() <= 20


def test_a_plain_net_does_not(plain):
    check_undamaged(*plain)
    _, routed, data = plain
    found = lesions.delete_each(routed, data)
    assert found.whole_error < 20
    assert found.error.min() >= 70
    assert found.skipped == ("stage2_block1", "stage3_block1")
    swapped = permutations.permute(routed, data, swaps=(1,), samples=6)
    assert swapped.error.min() >= 70


def test_responses_of_a_residual_network_are_small(resnet):
    model, _, (images, _) = resnet
    found = responses.layer_responses(model, images)
    assert len(found.layers) == 19
    assert 0.5 < np.median(found.deviation) < 1


def test_the_landscape_of_a_trained_network(resnet):
    model, _, (images, labels) = resnet
    chosen = np.random.default_rng(0).permutation(len(images))[:320]
    data = images[chosen], labels[chosen]
    folded = fold_batch_norm(model)
    axis = np.linspace(-1, 1, 9)
    found = {}
    for name, net, clip in (
        ("whole", model, None),
        ("folded", folded, None),
        ("clipped", folded, 10.0),
    ):
        directions = random_direction(net, 0), random_direction(net, 1)
        found[name] = landscape.surface(net, data, directions, (axis, axis), clip=clip)
    middle = metrics.evaluate(model, Batches(model, data, 64))
    assert found["whole"].loss[4, 4] == middle.loss == found["whole"].loss.min()
    assert found["folded"].loss[4, 4] == pytest.approx(middle.loss, abs=1e-5)
    # Leaving points early changes none that is drawn.
    under = found["folded"].loss <= 10
    assert 0.1 < under.mean() < 0.9
    for part in ("loss", "error"):
        clipped, every = (getattr(found[n], part) for n in ("clipped", "folded"))
        np.testing.assert_array_equal(clipped[under], every[under])
    np.testing.assert_array_equal(found["clipped"].loss[~under], 10)
