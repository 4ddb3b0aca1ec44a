"""Measures a network by a protocol: one central crop, several crops, sizes or scales."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from keras_resnet.config.lookup import find
from keras_resnet.config.protocols import PROTOCOLS, Protocol, name_of
from keras_resnet.data import pipelines
from keras_resnet.data.examples import Examples, StreamedExamples
from keras_resnet.evaluation import metrics
from keras_resnet.evaluation.crops import batches_of_views
from keras_resnet.evaluation.resized import at_size, fully_convolutional
from keras_resnet.evaluation.views import predict_views
from keras_resnet.runs.batch_sizes import images_at_once
from keras_resnet.runs.load import Run

SINGLE = "single_crop"  # The whole image, or its centre, once.


def protocol_named(protocol: str | Protocol) -> tuple[str, Protocol]:
    """A protocol and its name, of either.

    Raises:
        ValueError: If there is none of this name.
    """
    if isinstance(protocol, Protocol):
        return name_of(protocol), protocol
    return protocol, find(PROTOCOLS, protocol, kind="protocol")


def measure(
    run: Run,
    examples: Examples | StreamedExamples,
    protocol: Protocol,
    *,
    batch_size: int,
    seen: Callable[[float], Any] | None = None,
) -> tuple[metrics.Metrics, np.ndarray, np.ndarray]:
    """Measures a run's network on a split.

    Args:
        run: The run.
        examples: The split's.
        protocol: Crops, sizes and scales.
        batch_size: Views of the network's own size at a time; fewer where the memory
            holds fewer.
        seen: Called with the number of images, a fraction where each has several views,
            that have been predicted since the last call.

    Returns:
        `Metrics`; probabilities, float32 ``(n, classes)``; labels, int64 ``(n,)``.

    Raises:
        ValueError: If the protocol doesn't fit the network or its images.
    """
    batch_size = images_at_once(run.model, batch_size)
    if name_of(protocol) == SINGLE:
        batches = pipelines.evaluation_batches(
            examples, run.preprocessing, batch_size=min(examples.size, batch_size)
        )
        return metrics.measure(run.model, _counted(batches, seen, 1))
    batches = batches_of_views(
        examples, run.preprocessing, protocol, batch_size=batch_size
    )
    views = protocol.crops * max(1, len(protocol.scales))
    probabilities, labels = predict_views(
        _network(run, protocol),
        _counted(batches, seen, 1 / views),
        examples.size,
        average=protocol.average,
    )
    return metrics.from_probabilities(probabilities, labels), probabilities, labels


def _network(run, protocol):
    size = run.preprocessing.size
    if protocol.dense:
        return fully_convolutional(run.model, size)
    return at_size(run.model, size if protocol.crop is None else (protocol.crop,) * 2)


def _counted(batches: Iterable, seen: Callable | None, share: float) -> Iterator:
    """The same batches; tells after each how many images it held."""
    for batch in batches:
        yield batch
        if seen is not None:
            seen(len(batch[0]) * share)
