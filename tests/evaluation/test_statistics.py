"""By class, intervals and paired tests, against counts by hand and known tables."""

import math

import numpy as np
import pytest

from keras_resnet.evaluation.statistics import (
    ClassResult,
    accuracy_interval,
    by_class,
    confusion_matrix,
    most_confident_errors,
    most_confused,
    paired_test,
)

# Six images of three classes: 0 0 1 1 1 2, predicted as 0 1 1 1 0 1.
LABELS = np.array([0, 0, 1, 1, 1, 2])
PROBABILITIES = np.array(
    [
        [0.8, 0.1, 0.1],
        [0.2, 0.7, 0.1],
        [0.1, 0.9, 0.0],
        [0.4, 0.5, 0.1],
        [0.6, 0.3, 0.1],
        [0.0, 0.95, 0.05],
    ]
)
MATRIX = [[1, 1, 0], [1, 2, 0], [0, 1, 0]]


def test_images_are_counted_by_class():
    assert confusion_matrix(PROBABILITIES, LABELS).tolist() == MATRIX
    one, two, three = by_class(np.array(MATRIX))
    assert one == ClassResult(precision=0.5, recall=0.5, f1=0.5, support=2)
    assert (two.precision, two.recall) == (0.5, pytest.approx(2 / 3))
    assert two.f1 == pytest.approx(2 * 0.5 * (2 / 3) / (0.5 + 2 / 3))
    # Nothing is predicted as the third, so that its precision is no number.
    assert three == ClassResult(precision=None, recall=0, f1=0, support=1)
    none = by_class(np.array([[2, 0], [0, 0]]))[1]
    assert none == ClassResult(precision=None, recall=None, f1=None, support=0)


def test_the_worst_are_found():
    assert most_confident_errors(PROBABILITIES, LABELS, 2).tolist() == [5, 1]
    assert most_confident_errors(PROBABILITIES, LABELS, 9).tolist() == [5, 1, 4]
    assert most_confused(np.array(MATRIX), 2) == [(0, 1, 1), (1, 0, 1)]
    assert most_confused(np.diag([4, 5]), 3) == []


def test_an_interval_is_that_of_drawn_images():
    right = np.arange(300) < 240
    random = np.random.default_rng(1)
    drawn = random.choice(right, (20_000, 300)).mean(axis=1)
    expected = 100 * np.quantile(drawn, (0.025, 0.975))
    interval = accuracy_interval(240, 300)
    np.testing.assert_allclose(interval, expected, atol=0.4)
    assert interval == accuracy_interval(240, 300)
    wider = accuracy_interval(240, 300, confidence=0.99)
    assert wider[0] < interval[0] < 80 < interval[1] < wider[1]
    assert accuracy_interval(7, 7) == (100, 100)


@pytest.mark.parametrize(
    ("alone", "p_value"),
    [
        # Two-sided exact binomial tests of 59 against 6 and 8 against 4, by hand below.
        ((6, 59), None),
        ((8, 4), 0.3876953125),
        ((5, 0), 0.0625),
        ((3, 3), 1.0),
        ((0, 0), 1.0),
    ],
)
def test_a_paired_test_is_exact(alone, p_value):
    first = np.repeat([True, True, False, False], [20, alone[0], alone[1], 5])
    second = np.repeat([True, False, True, False], [20, alone[0], alone[1], 5])
    found = paired_test(first, second)
    assert (found.first_alone, found.second_alone) == alone
    if p_value is None:
        p_value = 2 * math.fsum(math.comb(65, k) * 0.5**65 for k in range(7))
    assert found.p_value == pytest.approx(p_value, rel=1e-9)
    assert paired_test(second, first).p_value == found.p_value


def test_thousands_of_images_are_no_overflow():
    first = np.arange(50_000) % 2 == 0
    found = paired_test(first, ~first)
    assert (found.first_alone, found.p_value) == (25_000, 1.0)


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="Received: results of shapes"):
        paired_test(np.ones(3), np.ones(4))
    with pytest.raises(ValueError, match="correct=5, n=4"):
        accuracy_interval(5, 4)
    with pytest.raises(ValueError, match="confidence=95"):
        accuracy_interval(3, 4, confidence=95)
    with pytest.raises(ValueError, match="NaN or infinite ones for 1 of 6"):
        confusion_matrix(np.where(PROBABILITIES > 0.94, np.nan, PROBABILITIES), LABELS)
    with pytest.raises(ValueError, match="labels from 0 to 2"):
        confusion_matrix(PROBABILITIES[:, :2], LABELS)
