"""Names the likeliest classes of an image."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from keras_resnet.config.checks import is_integer


def check_top(top: int) -> None:
    """Checks that ``top`` is a number of classes to name.

    Raises:
        ValueError: If it is not a positive integer.
    """
    if not is_integer(top, 1):
        raise ValueError(
            "`top` (--top) must be a positive integer, the number of classes to name. "
            f"Received: top={top!r}."
        )


def ranked(
    scores: np.ndarray, classes: Sequence[str], top: int
) -> list[tuple[str, float]]:
    """Names the likeliest classes of an image.

    Args:
        scores: Probabilities ``(classes,)``.
        classes: Their names.
        top: How many classes to name at most.

    Returns:
        Pairs of name and probability, best first.
    """
    return [(classes[i], float(scores[i])) for i in np.argsort(-scores)[:top]]
