"""Tells users what had to be chosen or assumed about weights, as warnings."""

import sys
import warnings

from keras_resnet.weights.result import Weights


def assumed_of(weights: Weights) -> str | None:
    """Tells whose preprocessing a network with these weights gets, if it is a guess.

    Args:
        weights: What `read` returned.

    Returns:
        A few words for a record; `None` if the source tells it.
    """
    if weights.preprocessing is None:
        return f"the network's usual one, for {weights.spec.dataset}"
    return weights.assumed


def warn_if_unknown(weights: Weights) -> None:
    """Warns that a network gets its usual preprocessing, since its weights tell none."""
    if weights.preprocessing is None:
        warn(
            f"{weights.name} doesn't tell how its images were prepared: assumed is "
            f"{assumed_of(weights)}. Name the run's folder instead, if there is one: it "
            "tells it."
        )


def warn(message: str) -> None:
    """Warns whoever called this package, so that the warning names his line."""
    level, frame = 2, sys._getframe(1)
    ours = ("keras_resnet", "contextlib")  # The latter between two functions of ours.
    while frame.f_back and frame.f_globals["__name__"].startswith(ours):
        level, frame = level + 1, frame.f_back
    warnings.warn(message, UserWarning, stacklevel=level)
