"""How many images per second networks classify, measured in turn on this machine."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

BATCH = 32  # Images.
ROUNDS = 5  # After one that traces and compiles.
SECONDS = 30.0  # After which no other round begins.


def forward_speeds(
    models: Sequence[keras.Model], *, batch: int = BATCH, rounds: int = ROUNDS
) -> list[dict[str, Any] | None]:
    """Measures how long each network takes to classify a batch of its own size.

    The networks take turns, so that whatever else the machine does meets all of them.

    Args:
        models: Classifiers of images.
        batch: Number of images in a batch.
        rounds: Number of batches of each network, of which the median counts; fewer
            where they take more than `SECONDS`.

    Returns:
        Of each, ``images_per_second`` and ``batch``; `None` of a network that takes images
        of any size.
    """
    random = np.random.default_rng(0)
    images = [
        None
        if None in model.input_shape[1:]
        else random.standard_normal((batch, *model.input_shape[1:]), "float32")
        for model in models
    ]
    seconds: list[list[float]] = [[] for _ in models]
    began = time.perf_counter()
    for turn in range(1 + rounds):
        if turn > 1 and time.perf_counter() - began > SECONDS:
            break
        for model, pixels, taken in zip(models, images, seconds, strict=True):
            if pixels is not None:
                start = time.perf_counter()
                model.predict_on_batch(pixels)
                taken.append(time.perf_counter() - start)
    return [
        {"images_per_second": batch / statistics.median(taken[1:]), "batch": batch}
        if taken
        else None
        for taken in seconds
    ]
