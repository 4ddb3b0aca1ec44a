"""Means and variances at the additions of a network."""

import keras
import numpy as np
import pytest

from keras_resnet.analysis.gradients import initialized
from keras_resnet.analysis.propagation import signal_propagation
from keras_resnet.applications import create
from tests.helpers.reference import called, images
from tests.helpers.small_nets import data, shared_net


def test_statistics_are_those_of_the_additions():
    model, (x, _) = shared_net(), data()
    found = signal_propagation(model, x, training=False)
    layers = [model.get_layer(name) for name in found.names]
    network = keras.Model(
        model.input,
        [*(layer.output for layer in layers), *(layer.input[1] for layer in layers)],
    )
    maps = [np.asarray(one) for one in network(x)]
    axes = 0, 1, 2
    np.testing.assert_allclose(
        found.squared_mean, [(m.mean(axes) ** 2).mean() for m in maps[:4]], rtol=1e-4
    )
    variances = [m.var(axes).mean() for m in maps]
    np.testing.assert_allclose(found.variance, variances[:4], rtol=1e-4)
    np.testing.assert_allclose(found.residual_variance, variances[4:], rtol=1e-4)
    assert found.stages.tolist() == [1, 1, 2, 2]


def test_residuals_of_v1_have_variance_1_at_initialisation():
    model, (x, _) = shared_net(), data()
    fresh = initialized(model, 0)
    found = signal_propagation(fresh, x)
    np.testing.assert_allclose(found.residual_variance, 1, atol=1e-3)
    # The moving statistics are as they were.
    np.testing.assert_array_equal(fresh.get_layer("stem_bn").moving_mean, 0)
    assert np.isfinite(called(fresh, x)).all()


@pytest.mark.slow
def test_variance_of_v2_grows_in_a_stage_and_falls_between():
    model = initialized(create("resnet110_v2"), 0)
    found = signal_propagation(model, images(8, 32, 32, 3))
    stages = [found.variance[found.stages == stage] for stage in (1, 2, 3)]
    assert [len(stage) for stage in stages] == [18, 18, 18]
    for stage in stages:
        assert (np.diff(stage) > 0).all()
    assert stages[0][-1] > 5 * stages[1][0]
    assert stages[1][-1] > 5 * stages[2][0]
