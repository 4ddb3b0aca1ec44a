"""What predictions say beyond one error: by class, with intervals, and compared."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from keras_resnet.evaluation.metrics import check_predictions

RESAMPLES = 100_000  # The ends of an interval then move by less than 1 % of its length.


@dataclass(frozen=True, kw_only=True)
class ClassResult:
    """How good a classifier is at one class.

    Attributes:
        precision: Share of the images predicted as this class that are of it, from 0 to
            1; `None` where no image is predicted as it.
        recall: Share of the images of this class that are predicted as it; `None`
            where there is no image of it.
        f1: Harmonic mean of the two, 2 TP / (2 TP + FP + FN); `None` where no image is
            of this class or predicted as it.
        support: Number of images of this class.
    """

    precision: float | None
    recall: float | None
    f1: float | None
    support: int


@dataclass(frozen=True, kw_only=True)
class PairedTest:
    """Whether two classifiers differ by more than chance, on the same images.

    Attributes:
        first_alone: Number of images that the first alone has right.
        second_alone: Number of images that the second alone has right.
        p_value: Probability of a difference at least as large, were both as likely to
            be the only right one (McNemar's test, exact).
    """

    first_alone: int
    second_alone: int
    p_value: float


def confusion_matrix(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Counts the images of each class by the class that they are predicted as.

    Args:
        probabilities: Floats of shape ``(n, classes)``. Of equal ones the first counts.
        labels: Integers of shape ``(n,)``, the true classes.

    Returns:
        int64 ``(classes, classes)``: true classes in rows, predicted ones in columns.

    Raises:
        ValueError: If labels don't fit the classes, or there are no images.
    """
    probabilities, labels = check_predictions(probabilities, labels)
    classes = probabilities.shape[1]
    pairs = labels * classes + probabilities.argmax(axis=1)
    return np.bincount(pairs, minlength=classes**2).reshape(classes, classes)


def by_class(confusion: np.ndarray) -> list[ClassResult]:
    """Computes precision, recall and F1 of each class.

    Args:
        confusion: As `confusion_matrix` returns it.
    """
    right = np.diag(confusion)
    of_class, predicted = confusion.sum(axis=1), confusion.sum(axis=0)
    return [
        ClassResult(
            precision=_share(right[k], predicted[k]),
            recall=_share(right[k], of_class[k]),
            f1=_share(2 * right[k], predicted[k] + of_class[k]),
            support=int(of_class[k]),
        )
        for k in range(len(confusion))
    ]


def _share(part, whole):
    return float(part / whole) if whole else None


def most_confused(confusion: np.ndarray, count: int) -> list[tuple[int, int, int]]:
    """Finds the pairs of classes that are confused most often.

    Args:
        confusion: As `confusion_matrix` returns it.
        count: How many pairs to name at most.

    Returns:
        True class, predicted class and number of images, most often first; pairs that
        are never confused are left out.
    """
    wrong = np.array(confusion)
    np.fill_diagonal(wrong, 0)
    order = np.argsort(-wrong, axis=None, kind="stable")[:count]
    rows, columns = np.unravel_index(order, wrong.shape)
    return [
        (int(row), int(column), int(wrong[row, column]))
        for row, column in zip(rows, columns, strict=True)
        if wrong[row, column]
    ]


def most_confident_errors(
    probabilities: np.ndarray, labels: np.ndarray, count: int
) -> np.ndarray:
    """Finds the images that are wrong with the highest probability.

    Args:
        probabilities: As for `confusion_matrix`.
        labels: As for `confusion_matrix`.
        count: How many images to name at most.

    Returns:
        int64 vector of their positions, the most confident first.
    """
    probabilities, labels = check_predictions(probabilities, labels)
    wrong = np.flatnonzero(probabilities.argmax(axis=1) != labels)
    order = np.argsort(-probabilities[wrong].max(axis=1), kind="stable")
    return wrong[order[:count]]


def accuracy_interval(
    correct: int, n: int, *, confidence: float = 0.95, seed: int = 0
) -> tuple[float, float]:
    """Computes a bootstrap interval (percentiles) of the accuracy.

    Among ``n`` images drawn with replacement, the number of right ones has a binomial
    distribution, so that no image need be drawn (Efron and Tibshirani 1993, ch. 13).

    Args:
        correct: Number of images that are predicted rightly.
        n: Number of images.
        confidence: Share of the resamples that lie within the interval, in (0, 1).
        seed: Of the resamples.

    Returns:
        Lower and upper end, in percent.

    Raises:
        ValueError: If there are no images, or the confidence is not between 0 and 1.
    """
    if not 0 <= correct <= n or n < 1:
        raise ValueError(
            "There must be at least one image, and no more may be right than there are. "
            f"Received: correct={correct}, n={n}."
        )
    if not 0 < confidence < 1:
        raise ValueError(
            "`confidence` must lie between 0 and 1, such as 0.95. "
            f"Received: confidence={confidence}."
        )
    random = np.random.default_rng(seed)
    accuracies = random.binomial(n, correct / n, RESAMPLES) / n
    tail = (1 - confidence) / 2
    low, high = np.quantile(accuracies, (tail, 1 - tail))
    return 100 * float(low), 100 * float(high)


def paired_test(first: np.ndarray, second: np.ndarray) -> PairedTest:
    """Tests whether two classifiers differ by more than chance (McNemar 1947).

    The images on which both are right, or both wrong, say nothing about which is
    better; of the others each is a fair coin if the classifiers are equally good. The
    binomial distribution is summed on both sides.

    Args:
        first: Booleans of shape ``(n,)``, whether the first has each image right.
        second: The same of the second, of the same images in the same order.

    Raises:
        ValueError: If the shapes differ.
    """
    first, second = np.asarray(first, bool), np.asarray(second, bool)
    if first.shape != second.shape or first.ndim != 1:
        raise ValueError(
            "Both classifiers must be measured on the same images. "
            f"Received: results of shapes {first.shape} and {second.shape}."
        )
    first_alone = int(np.sum(first & ~second))
    second_alone = int(np.sum(second & ~first))
    differ = first_alone + second_alone
    fewer = min(first_alone, second_alone)
    # By logarithms: with thousands of images single terms are smaller than any float.
    terms = [
        math.lgamma(differ + 1) - math.lgamma(k + 1) - math.lgamma(differ - k + 1)
        for k in range(fewer + 1)
    ]
    one_side = math.fsum(math.exp(term - differ * math.log(2)) for term in terms)
    p_value = min(1.0, 2 * one_side)
    return PairedTest(
        first_alone=first_alone, second_alone=second_alone, p_value=p_value
    )
