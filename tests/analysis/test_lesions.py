"""Networks without some of their blocks: scores, draws, and what is refused."""

import json

import keras
import numpy as np
import pytest

from keras_resnet.analysis import lesions
from keras_resnet.analysis.results import as_json
from keras_resnet.evaluation import metrics
from tests.helpers.small_nets import CLASSES, data, shared_routed, small_net


@pytest.fixture
def routed():
    return shared_routed()


def score_without(routed, *names):
    routed.delete(names)
    score = metrics.evaluate(routed.model, [data()])
    routed.delete([])
    return score.top1_error, score.loss


def test_each_block_is_deleted_by_itself(routed):
    seen = []
    found = lesions.delete_each(routed, data(), progress=lambda *n: seen.append(n))
    assert found.names == tuple(block.name for block in routed.blocks)
    assert found.stages.tolist() == [1, 1, 2, 2]
    for name, error, loss in zip(found.names, found.error, found.loss, strict=True):
        assert (error, loss) == pytest.approx(score_without(routed, name), rel=1e-6)
    whole = found.whole_error, found.whole_loss
    assert whole == pytest.approx(score_without(routed), rel=1e-6)
    assert len(set(found.loss.round(6))) == 4
    assert seen == [(n, 5) for n in range(1, 6)]
    assert found.images == len(data()[0])
    assert found.skipped == ()
    written = json.loads(json.dumps(as_json(found)))
    assert written["loss"] == found.loss.tolist()


def test_what_is_known_is_not_measured_again(routed, monkeypatch):
    known = np.full((2, 4), np.nan)

    def stop(done, total):
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        lesions.delete_each(routed, data(), known=known, progress=stop)
    assert np.isnan(known[0]).tolist() == [False, False, True, True]
    calls, evaluate = [], metrics.evaluate
    monkeypatch.setattr(
        lesions.metrics,
        "evaluate",
        lambda *a, **b: calls.append(a) or evaluate(*a, **b),
    )
    again = lesions.delete_each(routed, data(), known=known)
    assert len(calls) == 1 + 2  # The whole network, for its score, and the rest.
    whole = lesions.delete_each(routed, data())
    np.testing.assert_array_equal(again.loss, whole.loss)
    np.testing.assert_array_equal(again.error, whole.error)
    np.testing.assert_array_equal(known, [whole.loss, whole.error])
    for wrong in (np.zeros((2, 3)), np.zeros((2, 4), "float32")):
        with pytest.raises(ValueError, match=r"`known` must be a float64 .*\(2, 4\)"):
            lesions.delete_each(routed, data(), known=wrong)


def test_batches_are_as_good_as_arrays(routed):
    images, labels = data()
    whole = lesions.delete_each(routed, (images, labels))
    batches = [(images[:8], labels[:8]), (images[8:], labels[8:])]
    for given in (batches, iter(batches)):
        parts = lesions.delete_each(routed, given)
        np.testing.assert_allclose(parts.loss, whole.loss, rtol=1e-5)


def test_a_plain_net_says_what_it_skips():
    found = lesions.delete_each(shared_routed("plain"), data())
    assert len(found.error) == 3
    assert found.skipped == ("stage2_block1",)


def test_several_blocks_are_drawn_at_random(routed):
    draw = {"counts": (1, 3, 9), "samples": 4}
    found = lesions.delete_random(routed, data(), seed=1, **draw)
    assert found.counts.tolist() == [1, 3]  # There aren't nine.
    assert found.error.shape == found.loss.shape == (2, 4)
    for row, count in zip(found.deleted, found.counts, strict=True):
        assert [len(set(names)) for names in row] == [count] * 4
    loss = score_without(routed, *found.deleted[1][2])[1]
    assert found.loss[1, 2] == pytest.approx(loss, rel=1e-6)
    again = lesions.delete_random(routed, data(), seed=1, **draw)
    assert again.deleted == found.deleted
    np.testing.assert_array_equal(again.loss, found.loss)
    other = lesions.delete_random(routed, data(), seed=2, **draw)
    assert other.deleted != found.deleted
    for wrong in ({"counts": (0, 1)}, {"counts": (9,)}, {"samples": 0}):
        with pytest.raises(ValueError, match="from 1 to 4"):
            lesions.delete_random(routed, data(), **wrong)


def test_the_network_is_whole_after_an_error(routed):
    whole = score_without(routed)

    def stop(done, total):
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        lesions.delete_each(routed, data(), progress=stop)
    score = metrics.evaluate(routed.model, [data()])
    assert (score.top1_error, score.loss) == whole


def test_data_that_do_not_fit_are_refused(routed):
    images, labels = data()
    for wrong, message in [
        ((images[:, :4], labels), r"\('n', 8, 8, 3\).*shape \(12, 4, 8, 3\)"),
        ((images[:0], labels[:0]), "at least 1"),
        ((images * np.nan, labels), "finite"),
        ((images, labels[:3]), "one per image"),
        ((images, labels * 1.0), "integers"),
        ((images, labels + 1), f"0 ... {CLASSES - 1}"),
    ]:
        with pytest.raises(ValueError, match=message):
            lesions.delete_each(routed, wrong)


def test_models_that_do_not_fit_are_refused():
    images, labels = data()
    one_class = small_net(classes=1, blocks=1)
    with pytest.raises(ValueError, match=r"two or more classes.*\(None, 1\)"):
        lesions.delete_each(one_class, (images, labels * 0))
    headless = keras.Model(one_class.input, one_class.layers[-3].output)
    with pytest.raises(ValueError, match="must be a classifier"):
        lesions.delete_each(headless, (images, labels))
    one_class.layers[1].kernel.assign(one_class.layers[1].kernel * np.nan)
    with pytest.raises(ValueError, match="finite.*stem_conv/kernel.*'original'"):
        lesions.delete_each(one_class, (images, labels * 0))
