"""Predictions averaged over several views of each image."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, NamedTuple

import keras
import numpy as np

from keras_resnet.evaluation.metrics import (
    NO_IMAGES,
    check_outputs,
    log_probabilities,
    outputs_of,
)
from keras_resnet.outputs import check_logits


class Views(NamedTuple):
    """A batch of views of images.

    Attributes:
        positions: Integers ``(views,)``: which image each is a view of, from 0.
        labels: Integers ``(views,)``, the true classes.
        images: Floats ``(views, height, width, channels)``, as the model takes them.
    """

    positions: np.ndarray
    labels: np.ndarray
    images: np.ndarray


def predict_views(
    model: keras.Model,
    batches: Iterable[Views],
    n: int,
    *,
    average: Literal["softmax", "logits"] = "softmax",
    from_logits: bool = True,
) -> tuple[np.ndarray, np.ndarray]:
    """Predicts class probabilities, averaged over the views of each image.

    Args:
        model: `keras.Model` that gives ``(batch, classes)``.
        batches: `Views`, each batch of one size, in any order.
        n: Number of images.
        average: Whether probabilities or logits are averaged.
        from_logits: As for `metrics.evaluate`.

    Returns:
        Probabilities, float32 of shape ``(n, classes)``, and labels, int64 of shape
        ``(n,)``, in the order of the positions.

    Raises:
        ValueError: As `metrics.evaluate`, or if an image has no view.
    """
    check_logits(model, from_logits)
    labels, counts = np.zeros(n, "int64"), np.zeros(n, "int64")
    sums = None
    full_batches: dict[tuple[int, ...], int] = {}
    for batch in batches:
        size, count = batch.images.shape[1:], len(batch.images)
        full_batches[size] = max(full_batches.get(size, 0), count)
        outputs = outputs_of(model, batch.images, full_batches[size])
        check_outputs(outputs, count, batch.labels)
        # Logarithms are logits but for one number per view, which the softmax takes away.
        scores = log_probabilities(outputs, from_logits)
        if sums is None:
            sums = np.zeros((n, outputs.shape[1]))
        np.add.at(
            sums, batch.positions, np.exp(scores) if average == "softmax" else scores
        )
        np.add.at(counts, batch.positions, 1)
        labels[batch.positions] = batch.labels
    if sums is None:
        raise ValueError(NO_IMAGES)
    if not counts.all():
        raise ValueError(
            f"Each of the {n} images must have a view. "
            f"Received: none of {np.sum(counts == 0)} of them."
        )
    means = sums / counts[:, None]
    if average == "logits":
        means = np.exp(log_probabilities(means, True))
    return means.astype("float32"), labels
