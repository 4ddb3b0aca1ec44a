"""Attribution, features, curvature and receptive fields on TensorFlow, JAX and PyTorch."""

import numpy as np
import pytest

from keras_resnet import analysis
from keras_resnet.analysis.curvature import power_iteration
from tests.analysis.test_curvature import products_of, quadratic
from tests.helpers.backends import computed, in_shards, of_backend
from tests.helpers.small_nets import data, small_net

pytestmark = [pytest.mark.slow, pytest.mark.multiprocess]
JAX = in_shards("jax", "seeing_on_backends")  # It compiles for a minute.


def write_analyses(path):
    """Writes what each analysis gives for a network with the same weights everywhere."""
    model, (x, y) = small_net(), data(6)
    before = model.get_weights()
    field = analysis.effective_receptive_field(model, x, layer="stage1_block2_2_bn")
    inner = analysis.grad_cam(model, x, 1, layer="stage1_block2_2_bn")
    curvature = analysis.top_hessian_eigenvalue(
        model, (x, y), most_iterations=4, batch_size=4
    )
    found = {
        "cam": analysis.class_activation_map(model, x, 2).maps,
        "grad_cam": analysis.grad_cam(model, x, 2).maps,
        "heat": inner.heat(),
        "inner": inner.maps,
        "occlusion": analysis.occlusion(model, x, 2, patch=4, stride=4).maps,
        "filters": analysis.first_filters(model).images,
        "features": analysis.network_features(model, x),
        "cka": analysis.cka_by_layer(model, model, x).cka,
        "curvature": curvature.estimates,
        "field": field.gradient,
        "seen": field.theoretical,
        "quadratic": power_iteration(
            products_of(quadratic()), [(2, 2), (2,)], tolerance=1e-6
        )["eigenvalue"],
    }
    for a, b in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    np.savez(path, **found)


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    return computed(__name__, "write_analyses", tmp_path_factory.mktemp("seeing"))


@pytest.mark.parametrize("backend", ["tensorflow", JAX, "torch"])
def test_grad_cam_is_the_class_activation_map(results, backend):
    found = of_backend(results, backend)
    np.testing.assert_allclose(found["grad_cam"], found["cam"] / 16, atol=1e-6, rtol=0)


@pytest.mark.parametrize("backend", ["tensorflow", JAX, "torch"])
def test_the_hessian_of_a_quadratic_is_exact(results, backend):
    assert of_backend(results, backend)["quadratic"] == pytest.approx(-8, rel=1e-5)


@pytest.mark.parametrize("backend", [JAX, "torch"])
def test_numbers_are_those_of_tensorflow(results, backend):
    ours, theirs = results["tensorflow"], of_backend(results, backend)
    assert set(ours) == set(theirs)
    for name, value in ours.items():
        tolerance = 2e-5 * np.abs(value).max()
        np.testing.assert_allclose(theirs[name], value, atol=tolerance, err_msg=name)
