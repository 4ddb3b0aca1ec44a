"""Which boxes are objects, and which are drawn for the loss."""

import keras
import numpy as np
import pytest

from keras_resnet.detection import matching
from keras_resnet.detection.boxes import decode, encode

TRUTH = np.array([[[0, 0, 10, 10], [20, 20, 30, 30], [-1, -1, -1, -1]]], "float32")
REAL = np.array([[True, True, False]])
BOXES = np.array(
    [
        [0, 0, 10, 10],  # The first true box.
        [0, 0, 10, 5],  # Half of it.
        [0, 0, 10, 2],  # A fifth of it.
        [20, 20, 30, 24],  # The best of the second, by two fifths,
        [20, 26, 30, 30],  # and another that is as good.
        [50, 50, 60, 60],  # Of none.
        [-1, -1, -1, -1],
    ],
    "float32",
)


def matched(truth=TRUTH, real=REAL, **options):
    index, label = matching.match(BOXES, truth, real, 0.7, (0.0, 0.3), **options)
    return keras.ops.convert_to_numpy(index)[0], keras.ops.convert_to_numpy(label)[0]


def test_boxes_are_objects_by_their_overlap():
    index, label = matched()
    assert label.tolist() == [1, -1, 0, -1, -1, 0, 0]
    assert index[:5].tolist() == [0, 0, 0, 1, 1]


def test_the_best_boxes_of_a_true_one_are_objects_too_all_that_are_equally_good():
    _, label = matched(best_too=True)
    assert label.tolist() == [1, -1, 0, 1, 1, 0, 0]


def test_a_true_box_that_nothing_overlaps_makes_no_object():
    alone = np.array([[[80, 80, 90, 90]]], "float32")
    _, label = matched(alone, np.array([[True]]), best_too=True)
    assert label.tolist() == [0] * len(BOXES)


def test_without_true_boxes_all_is_background():
    _, label = matched(real=np.zeros((1, 3), bool), best_too=True)
    assert label.tolist() == [0] * len(BOXES)


def test_background_begins_at_its_lower_bound():
    _, label = matching.match(BOXES, TRUTH, REAL, 0.5, (0.1, 0.5))
    assert keras.ops.convert_to_numpy(label)[0].tolist() == [1, 1, 0, 0, 0, -1, -1]


@pytest.mark.parametrize(
    ("objects", "background", "expected"),
    [
        (50, 50, (2, 6)),
        (1, 50, (1, 7)),
        (50, 3, (2, 3)),
        (0, 50, (0, 8)),
        (0, 0, (0, 0)),
    ],
)
def test_as_many_are_drawn_as_there_are(objects, background, expected):
    label = np.repeat([1, 0, -1], [objects, background, 9])
    rng = np.random.default_rng(0)
    rng.shuffle(label)
    priority = rng.uniform(size=(1, len(label))).astype("float32")
    index, drawn = matching.sample(label[None], priority, 8, 0.25)
    index, drawn = map(keras.ops.convert_to_numpy, (index[0], drawn[0]))
    assert len(index) == 8
    of_drawn = label[index[drawn]]
    assert ((of_drawn == 1).sum(), (of_drawn == 0).sum()) == expected
    assert len(set(index[drawn])) == sum(expected)
    of_kind = np.where(label == 1, priority[0], -1)  # The largest priorities.
    assert set(index[drawn & (label[index] == 1)]) == set(
        np.argsort(-of_kind)[: expected[0]]
    )


def test_draws_follow_from_the_seed_and_move_on():
    label = np.zeros((2, 40), "int32")

    def draws(seed):
        generator = keras.random.SeedGenerator(seed)
        return [
            keras.ops.convert_to_numpy(matching.draw(label, 4, 0.5, generator)[0])
            for _ in range(2)
        ]

    first, again = draws(0), draws(0)
    np.testing.assert_array_equal(first, again)
    assert (first[0] != first[1]).any()
    assert (first[0] != draws(1)[0]).any()


def test_offsets_are_undone_and_finite_for_boxes_without_area():
    rng = np.random.default_rng(0)
    corners = rng.uniform(0, 50, (2, 9, 4))
    corners[..., 2:] += corners[..., :2]
    boxes, anchors = corners.astype("float32")[:, None]
    weights = (10.0, 10.0, 5.0, 5.0)
    offsets = encode(boxes, anchors, weights)
    found = keras.ops.convert_to_numpy(decode(offsets, anchors, weights))
    np.testing.assert_allclose(found, boxes, atol=1e-4)
    point = np.array([[[5, 5, 5, 5]]], "float32")
    for pair in ((point, boxes[:, :1]), (boxes[:, :1], point), (point, point)):
        assert np.isfinite(keras.ops.convert_to_numpy(encode(*pair, weights))).all()
    huge = np.full((1, 1, 4), 1e4, "float32")
    grown = keras.ops.convert_to_numpy(decode(huge, boxes[:, :1], weights))[0, 0]
    side = boxes[0, 0, 2] - boxes[0, 0, 0]
    np.testing.assert_allclose(grown[2] - grown[0], 62.5 * side, rtol=1e-3)
