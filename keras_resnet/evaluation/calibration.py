"""How far probabilities can be believed, and the temperature that mends them.

Guo et al. 2017, "On Calibration of Modern Neural Networks".
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from keras_resnet.evaluation.metrics import check_predictions, logarithm

TEMPERATURES = (1e-3, 1e3)  # No network that learnt anything needs one beyond.


@dataclass(frozen=True, kw_only=True)
class Reliability:
    """Accuracy by confidence: Guo et al. 2017, figure 1 and equation 3.

    Attributes:
        counts: Number of images whose highest probability lies in each bin; the bins
            are equally wide, from 0 to 1, and closed above.
        confidence: Mean of the highest probability in each bin, NaN in empty ones.
        accuracy: Share of right predictions in each bin, from 0 to 1, NaN in empty ones.
        ece: Expected calibration error: the mean distance of the two, over images.
    """

    counts: np.ndarray
    confidence: np.ndarray
    accuracy: np.ndarray
    ece: float


def reliability(
    probabilities: np.ndarray, labels: np.ndarray, *, bins: int = 15
) -> Reliability:
    """Compares how sure predictions are with how often they are right.

    Args:
        probabilities: Floats of shape ``(n, classes)``.
        labels: Integers of shape ``(n,)``, the true classes.
        bins: Number of bins; Guo et al. take 15.

    Raises:
        ValueError: If labels don't fit the classes, there are no images, or ``bins`` isn't
            positive.
    """
    probabilities, labels = check_predictions(probabilities, labels)
    if bins < 1:
        raise ValueError(f"`bins` must be positive. Received: bins={bins}.")
    highest = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == labels
    place = np.digitize(highest, np.linspace(0, 1, bins + 1)[1:-1], right=True)
    counts = np.bincount(place, minlength=bins)
    sure = np.bincount(place, weights=highest, minlength=bins)
    correct = np.bincount(place, weights=right, minlength=bins)
    with np.errstate(invalid="ignore"):
        return Reliability(
            counts=counts,
            confidence=sure / counts,
            accuracy=correct / counts,
            ece=float(np.abs(sure - correct).sum() / len(labels)),
        )


def fit_temperature(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Finds the temperature with the lowest mean cross-entropy (Guo et al., sec. 4.2).

    Fit it on validation images, never on those that are measured with it. The loss is
    convex in the inverse temperature, whose best value is found by bisection.

    Args:
        probabilities: Floats of shape ``(n, classes)``, as the softmax gives them.
        labels: Integers of shape ``(n,)``, the true classes.

    Returns:
        What logits are divided by: above 1 where the network was too sure of itself.

    Raises:
        ValueError: If labels don't fit the classes, there are no images, or no
            temperature is best, as where every prediction is right (or none better
            than chance).
    """
    probabilities, labels = check_predictions(probabilities, labels)
    # Logits up to a constant per image, which the softmax takes away again.
    logits = logarithm(probabilities)
    own = logits[np.arange(len(labels)), labels]

    def slope(inverse):
        """Derivative of the loss by the inverse temperature: increasing."""
        expected = np.sum(_softmax(inverse * logits) * logits, axis=1)
        return np.mean(expected - own)

    low, high = (1 / temperature for temperature in reversed(TEMPERATURES))
    if slope(low) >= 0 or slope(high) <= 0:
        raise ValueError(
            "The predictions must be wrong on some images and better than chance, or no "
            f"temperature between {TEMPERATURES[0]} and {TEMPERATURES[1]} is best. "
            f"Received: {np.mean(probabilities.argmax(axis=1) == labels):.1%} right of "
            f"{len(labels)} images. Give more, or other, validation images."
        )
    for _ in range(100):  # More halvings than a float has digits.
        middle = np.sqrt(low * high)
        low, high = (middle, high) if slope(middle) < 0 else (low, middle)
    return float(1 / np.sqrt(low * high))


def with_temperature(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """Divides logits by a temperature; the order of the classes stays.

    Args:
        probabilities: Floats of shape ``(n, classes)``, as the softmax gives them.
        temperature: As `fit_temperature` returns it.

    Returns:
        Probabilities, float64 of the same shape.

    Raises:
        ValueError: If the temperature isn't positive, or rows are no probabilities.
    """
    if not temperature > 0:
        raise ValueError(
            f"`temperature` must be positive. Received: temperature={temperature}."
        )
    probabilities = np.asarray(probabilities, "float64")
    labels = np.zeros(len(probabilities), int)  # Any: they have no part in it.
    probabilities, _ = check_predictions(probabilities, labels)
    return _softmax(logarithm(probabilities) / temperature)


def _softmax(logits):
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)
