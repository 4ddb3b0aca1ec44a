"""The gradient through a stage of identity shortcuts."""

import numpy as np
import pytest

from keras_resnet.analysis.identity import gradient_identity
from tests.helpers.small_nets import data, shared_net


def test_the_identity_holds_in_v2():
    model = shared_net("preactivation")
    found = gradient_identity(model, *data())
    assert found.stages.tolist() == [1, 2]
    assert found.blocks.tolist() == [2, 1]
    assert (found.error <= 1e-5).all()
    assert (found.direct > 0.01).all()
    exact = gradient_identity(model, *data(), dtype="float64")
    assert (exact.error <= 1e-12).all()
    np.testing.assert_allclose(exact.direct, found.direct, rtol=1e-4)


def test_the_relu_of_v1_enters():
    found = gradient_identity(shared_net(), *data())
    assert found.error[0] > 0.01
    # There is no ReLU between the blocks of one.
    assert found.error[1] < 1e-5


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="shortcuts all have layers"):
        gradient_identity(shared_net(blocks=1, shortcut="C"), *data())
    with pytest.raises(ValueError, match="residual additions.*'plain' without"):
        gradient_identity(shared_net("plain"), *data())
    with pytest.raises(ValueError, match="'float32' or 'float64'"):
        gradient_identity(shared_net(), *data(), dtype="float16")
