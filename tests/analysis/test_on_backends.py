"""Evaluation, and the analyses of routed networks, on TensorFlow, JAX and PyTorch.

All give the same numbers.
"""

import pathlib
import tempfile

import keras
import numpy as np
import pytest

from keras_resnet.analysis import (
    gradients,
    identity,
    landscape,
    lesions,
    paths,
    permutations,
    propagation,
    responses,
)
from keras_resnet.analysis.batches import Batches
from keras_resnet.analysis.directions import random_direction
from keras_resnet.analysis.routing import route
from keras_resnet.evaluation import metrics
from keras_resnet.export.fold import fold_batch_norm
from tests.helpers.backends import computed, in_shards, of_backend
from tests.helpers.measured import measured
from tests.helpers.reference import called, with_random_weights
from tests.helpers.small_nets import data, small_net

pytestmark = [pytest.mark.slow, pytest.mark.multiprocess]
JAX = in_shards("jax", "analyses_on_backends")  # It compiles for a minute.


def write_analyses(path):
    """Writes what each analysis gives for networks with the same weights everywhere."""
    found = {}
    for order in ("original", "preactivation", "plain"):
        found |= {f"{order}/{k}": v for k, v in of_network(small_net(order, 3)).items()}
    with tempfile.TemporaryDirectory() as folder:
        for name, (ours, expected) in measured(pathlib.Path(folder)).items():
            found |= {f"measured/{name}": ours, f"expected/{name}": expected}
    np.savez(path, **found)


def of_network(model):
    x, y = data()
    before = model.get_weights()
    routed = route(model)
    found = {
        "undamaged": called(routed.model, x) - called(model, x),
        "deleted": lesions.delete_each(routed, (x, y)).loss,
        "permuted": permutations.permute(routed, (x, y), swaps=(2,)).loss,
        "norms": gradients.gradient_norms(model, x, y).norms,
        "responses": responses.layer_responses(model, x).deviation,
    }
    if model.name == "original":
        found |= landscapes(model, x, y)
    if model.name != "plain":
        blocks = len(routed.blocks)
        path = paths.draw_path(blocks, np.random.default_rng(0))
        gradient_of = paths.gradient_by_route(routed, x, y)
        found["by_all_paths"] = gradient_of(np.ones(blocks), np.ones(blocks))
        found["by_a_path"] = gradient_of(~path, path)
        found["signal"] = propagation.signal_propagation(routed, x).variance
        found["by_length"] = paths.gradient_by_path(routed, x, y, samples=2).norm
        found["identity"] = identity.gradient_identity(model, x, y).error
    # On each backend the model is as it was, its moving statistics too.
    for a, b in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    return found


def landscapes(model, x, y):
    """A surface, whose middle is what `evaluate` measures, and a way to other weights."""
    directions = random_direction(model, 0), random_direction(model, 1)
    grid = (-0.5, 0, 1), (0, 0.5)
    surface = landscape.surface(model, (x, y), directions, grid)
    middle = metrics.evaluate(model, Batches(model, (x, y)))
    assert (surface.loss[0, 1], surface.error[0, 1]) == (middle.loss, middle.top1_error)
    # Folded, and left early where the loss is above the clip.
    folded = fold_batch_norm(model)
    directions = random_direction(folded, 0), random_direction(folded, 1)
    clip = float(np.median(surface.loss))
    clipped = landscape.surface(folded, (x, y), directions, grid, clip=clip)
    under = surface.loss < clip
    np.testing.assert_allclose(clipped.loss[under], surface.loss[under], rtol=1e-4)
    np.testing.assert_allclose(clipped.loss[~under], clip, rtol=1e-4)
    assert 0 < under.sum() < under.size
    own = model.get_weights()
    other = with_random_weights(model, seed=7).get_weights()
    model.set_weights(own)
    way = landscape.interpolate(model, other, (x, y), positions=(0.25, 1), statistics=x)
    return {"surface": surface.loss, "interpolated": way.loss}


def write_difference(path):
    """Writes the greatest difference of an undamaged clone from Keras's ResNet-50."""
    model = keras.applications.ResNet50(
        weights=None, input_shape=(32, 32, 3), classes=4, classifier_activation=None
    )
    routed = route(model)
    assert len(routed.blocks) == 16
    x = np.random.default_rng(0).normal(size=(2, 32, 32, 3)).astype("float32")
    np.savez(path, difference=np.abs(called(model, x) - called(routed.model, x)).max())


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    folder = tmp_path_factory.mktemp("analyses")
    return computed(__name__, "write_analyses", folder)


@pytest.fixture(scope="module")
def of_keras(tmp_path_factory):
    return computed(__name__, "write_difference", tmp_path_factory.mktemp("keras"))


@pytest.mark.parametrize("backend", ["tensorflow", JAX, "torch"])
def test_the_undamaged_clone_is_the_network(results, backend):
    found = of_backend(results, backend)
    for order in ("original", "preactivation", "plain"):
        assert np.abs(found[f"{order}/undamaged"]).max() <= 2e-5


@pytest.mark.exhaustive
@pytest.mark.xdist_group("a_network_of_keras")
@pytest.mark.parametrize("backend", ["tensorflow", "jax", "torch"])
def test_the_clone_of_a_network_of_keras_is_the_network(of_keras, backend):
    assert of_backend(of_keras, backend)["difference"] <= 2e-5


@pytest.mark.parametrize("backend", ["tensorflow", JAX, "torch"])
@pytest.mark.parametrize(
    ("name", "tolerance"),
    [
        ("ten_crops_softmax", 1e-6),
        ("ten_crops_logits", 1e-6),
        ("dense", 1e-6),
        ("flipped", 1e-5),
        ("ensemble", 1e-6),
    ],
)
def test_protocols_give_what_they_say(results, backend, name, tolerance):
    found = of_backend(results, backend)
    ours, expected = found[f"measured/{name}"], found[f"expected/{name}"]
    np.testing.assert_allclose(ours, expected, atol=tolerance, rtol=1e-6)


@pytest.mark.parametrize("backend", ["tensorflow", JAX, "torch"])
def test_the_identity_holds_in_v2_alone(results, backend):
    found = of_backend(results, backend)
    assert (found["preactivation/identity"] <= 1e-5).all()
    assert (found["original/identity"] > 1e-2).all()


@pytest.mark.parametrize("backend", [JAX, "torch"])
def test_numbers_are_those_of_tensorflow(results, backend):
    ours, theirs = results["tensorflow"], of_backend(results, backend)
    assert set(ours) == set(theirs)
    for name, value in ours.items():
        if "undamaged" not in name and "identity" not in name:
            scale = np.abs(value).max()
            np.testing.assert_allclose(
                theirs[name], value, atol=2e-4 * scale, err_msg=name
            )
