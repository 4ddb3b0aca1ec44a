"""Average precision by VOC's rules: cases by hand, and the devkit's loops written again."""

from fractions import Fraction

import numpy as np
import pytest

from keras_resnet.data import voc
from keras_resnet.detection.average_precision import (
    IGNORED,
    RIGHT,
    RULES,
    WRONG,
    iou,
    judge,
    voc_precision,
)
from tests.helpers.detected import drawn, found, objects

BOX, OTHER = (0, 0, 10, 10), (30, 30, 50, 50)


@pytest.mark.parametrize("rule", RULES)
def test_everything_found_is_1_and_nothing_found_0(rule):
    there = objects([(*BOX, 0), (*OTHER, 0)])
    both = found([(*BOX, 0, 0.2), (*OTHER, 0, 0.9)])
    assert voc_precision(there, both, 1, rule=rule).mean == 1
    result = voc_precision(there, found([]), 1, rule=rule)
    assert result.mean == 0
    assert (result.by_class[0].objects, result.by_class[0].found) == (2, 0)


def test_a_second_detection_of_an_object_is_wrong():
    there = objects([(*BOX, 0), (*OTHER, 0)])
    seen = found([(*BOX, 0, 0.9), (*BOX, 0, 0.8), (*OTHER, 0, 0.7)])
    # Recalls 1/2, 1/2, 1 and precisions 1, 1/2, 2/3.
    assert voc_precision(there, seen, 1).mean == pytest.approx(1 / 2 + 1 / 2 * 2 / 3)
    eleven = voc_precision(there, seen, 1, rule="11 points")
    assert eleven.mean == pytest.approx((6 * 1 + 5 * 2 / 3) / 11)
    np.testing.assert_allclose(eleven.by_class[0].precisions, [1, 1 / 2, 2 / 3])


def test_the_best_detection_gets_the_object_wherever_it_stands_in_the_list():
    there = objects([(*BOX, 0)])
    seen = found([(0, 0, 10, 9, 0, 0.5), (*BOX, 0, 0.4), (0, 0, 10, 8, 0, 0.9)])
    verdicts = judge(there.of(0), seen[0])
    assert verdicts.tolist() == [WRONG, WRONG, RIGHT]


def test_difficult_objects_count_neither_as_found_nor_as_missed():
    there = objects([(*BOX, 0, True), (*OTHER, 0)])
    seen = found([(*BOX, 0, 0.9), (*BOX, 0, 0.8), (*OTHER, 0, 0.7)])
    assert judge(there.of(0), seen[0]).tolist() == [IGNORED, IGNORED, RIGHT]
    result = voc_precision(there, seen, 1)
    assert result.mean == 1
    assert (result.by_class[0].objects, result.by_class[0].detections) == (1, 1)


def test_a_detection_belongs_to_the_object_that_it_overlaps_most():
    # Though it is above the threshold with the other one, too.
    there = objects([(0, 0, 10, 8, 0), (*BOX, 0, True)])
    assert judge(there.of(0), found([(*BOX, 0, 0.9)])[0]).tolist() == [IGNORED]


def test_a_class_without_objects_has_no_average_precision():
    there = objects([(*BOX, 0), (*OTHER, 2, True)])
    seen = found([(*BOX, 0, 0.9), (*BOX, 1, 0.9), (*OTHER, 2, 0.9)])
    result = voc_precision(there, seen, 3)
    values = [one.average_precision for one in result.by_class]
    np.testing.assert_array_equal(values, [1, np.nan, np.nan])
    assert result.mean == 1
    assert np.isnan(voc_precision(objects([]), found([]), 3).mean)


def test_an_iou_of_exactly_the_threshold_is_not_enough():
    there = objects([(*BOX, 0)]).of(0)
    half, more = found([(0, 0, 10, 5, 0, 1.0)], [(0, 0, 10, 5.1, 0, 1.0)])
    assert judge(there, half).tolist() == [WRONG]
    assert judge(there, more).tolist() == [RIGHT]


def test_overlaps_are_the_devkits_which_counts_pixels():
    # 10 pixels, of which a detection has 7: of 0.70, not of the 0.67 between corners.
    there, seen = voc.half_open((1, 1, 10, 10)), voc.half_open((1, 1, 7, 10))
    assert iou([seen], [there]) == 0.7
    assert _devkit_overlap((1, 1, 7, 10), (1, 1, 10, 10)) == Fraction(7, 10)


def test_a_recall_of_3_in_10_reaches_the_point_at_0_3():
    # 3 / 10 is below 3 * 0.1 in floats.
    there = objects(*[[(*BOX, 0)]] * 10)
    seen = found(*[[(*BOX, 0, 0.9)]] * 3, *[[]] * 7)
    result = voc_precision(there, seen, 1, rule="11 points")
    assert result.mean == pytest.approx(4 / 11)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("threshold", [0.5, 0.75])
def test_equals_the_devkits_loops(seed, threshold):
    there, seen = drawn(seed)
    for rule in RULES:
        result = voc_precision(
            objects(*there), found(*seen), 3, rule=rule, threshold=threshold
        )
        for label, one in enumerate(result.by_class):
            slow = _devkit(there, seen, label, rule, Fraction(threshold))
            assert one.average_precision == pytest.approx(float(slow), abs=1e-12)


def _devkit(there, seen, label, rule, threshold):
    """VOC's rule in exact numbers and plain loops, on pixels counted from 1."""
    count = sum(1 for rows in there for row in rows if row[4] == label and not row[5])
    ordered = sorted(
        ((row[5], image, row) for image, rows in enumerate(seen) for row in rows),
        key=lambda one: -one[0],
    )
    taken, right, wrong, curve = set(), 0, 0, []
    for _, image, row in ordered:
        if row[4] != label:
            continue
        best, chosen = Fraction(-1), None
        for number, other in enumerate(there[image]):
            if other[4] == label:
                overlap = _devkit_overlap(_pixels(row), _pixels(other))
                if overlap > best:
                    best, chosen = overlap, number
        if best > threshold and there[image][chosen][5]:
            continue
        if best > threshold and (image, chosen) not in taken:
            taken.add((image, chosen))
            right += 1
        else:
            wrong += 1
        curve.append((Fraction(right, count), Fraction(right, right + wrong)))
    if rule == "11 points":
        points = [Fraction(tenth, 10) for tenth in range(11)]
        return sum(max((p for r, p in curve if r >= t), default=0) for t in points) / 11
    recalls = sorted({r for r, _ in curve} | {Fraction(0)})
    steps = zip(recalls, recalls[1:], strict=False)
    return sum((b - a) * max(p for r, p in curve if r >= b) for a, b in steps)


def _pixels(row):
    """First and last pixels from 1 of half-open whole coordinates."""
    x1, y1, x2, y2 = map(int, row[:4])
    return x1 + 1, y1 + 1, x2, y2


def _devkit_overlap(one, other):
    width = min(one[2], other[2]) - max(one[0], other[0]) + 1
    height = min(one[3], other[3]) - max(one[1], other[1]) + 1
    if width <= 0 or height <= 0:
        return Fraction(0)
    areas = [(b[2] - b[0] + 1) * (b[3] - b[1] + 1) for b in (one, other)]
    return Fraction(width * height, sum(areas) - width * height)


@pytest.mark.parametrize(
    ("seen", "said"),
    [
        (found([], []), "detections for each image"),
        (found([(*BOX, 1, 0.5)]), "Classes of detections must be from 0 to 0"),
        (found([(*BOX, 0, np.nan)]), "must be finite"),
    ],
)
def test_detections_of_another_form_are_refused(seen, said):
    with pytest.raises(ValueError, match=said):
        voc_precision(objects([(*BOX, 0)]), seen, 1)
