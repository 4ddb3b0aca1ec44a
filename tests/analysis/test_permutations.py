"""Networks with blocks in each other's places."""

import itertools

import numpy as np
import pytest

from keras_resnet.analysis.permutations import exchangeable, kendall_tau, permute
from keras_resnet.evaluation import metrics
from tests.helpers.small_nets import data, shared_routed


@pytest.mark.parametrize(
    ("order", "tau"),
    [([0, 1, 2], 1), ([2, 1, 0], -1), ([0, 2, 1], 1 / 3), ([3, 0, 7, 5], 1 / 3)],
)
def test_kendall_tau(order, tau):
    assert kendall_tau(order) == pytest.approx(tau)


def test_blocks_change_places():
    routed = shared_routed(blocks=3)
    assert exchangeable(routed) == [[1, 2], [4, 5]]
    before = routed.model.get_weights()
    found = permute(routed, data(), swaps=(1, 3), samples=3)
    assert found.names == tuple(routed.blocks[i].name for i in (1, 2, 4, 5))
    assert found.orders.shape == (2, 3, 4)
    for order in found.orders.reshape(-1, 4):
        assert sorted(order[:2]) == [0, 1]  # Stages keep their blocks.
        assert sorted(order[2:]) == [2, 3]
    assert (np.sum(found.orders[0] != np.arange(4), axis=1) == 2).all()
    for one, taus, losses in zip(
        found.orders, found.kendall_tau, found.loss, strict=True
    ):
        for order, tau, loss in zip(one, taus, losses, strict=True):
            assert tau == kendall_tau(order)
            assert loss == pytest.approx(loss_in(routed, order), rel=1e-6)
    for a, b in zip(before, routed.model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    known = np.array([found.loss, found.error])
    known[:, 1, 2] = np.nan
    again = permute(routed, data(), swaps=(1, 3), samples=3, known=known)
    np.testing.assert_allclose(known[0], found.loss, rtol=1e-6)
    np.testing.assert_allclose(again.loss, found.loss, rtol=1e-6)
    np.testing.assert_array_equal(again.orders, found.orders)


def loss_in(routed, order):
    """The loss with weights in another order, by layers' names."""
    places = [1, 2, 4, 5]
    before = routed.model.get_weights()
    for place, source in zip(places, np.array(places)[order], strict=True):
        own, other = routed.blocks[place], routed.blocks[source]
        for to, of in zip(own.residual, other.residual, strict=True):
            assert to.split("_")[2:] == of.split("_")[2:]
            weights = iter(before)
            for layer in routed.model.layers:
                values = list(itertools.islice(weights, len(layer.weights)))
                if layer.name == of:
                    routed.model.get_layer(to).set_weights(values)
    loss = metrics.evaluate(routed.model, [data()]).loss
    routed.model.set_weights(before)
    return loss


def test_what_does_not_fit_is_refused():
    # The first block of a stage is of its own.
    assert exchangeable(shared_routed()) == []
    with pytest.raises(ValueError, match="no two of a kind"):
        permute(shared_routed(), data())
    with pytest.raises(ValueError, match="`swaps` must be numbers at least 1"):
        permute(shared_routed(blocks=3), data(), swaps=(0,))
