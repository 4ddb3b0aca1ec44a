"""What a network still knows without some of its blocks.

Veit et al. 2016, "Residual networks behave like ensembles of relatively shallow networks",
sec. 4: a residual network loses little with one block, and smoothly more with every
further one, where a plain net is broken at once.

Each function takes a network, or a `routing.Routed` that `route` has made of one, so that
several analyses share its clone. The clone is whole again at the end.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

import keras
import numpy as np

from keras_resnet.analysis.batches import Batches, Data
from keras_resnet.analysis.routing import Routed, route
from keras_resnet.evaluation import metrics

COUNTS = (1, 2, 3, 4, 5, 6, 8, 10)  # Of blocks deleted at random, by default.
# Called with the number of measurements that are made, and that of all.
Progress: TypeAlias = Callable[[int, int], object]


@dataclass(frozen=True, kw_only=True)
class Deletions:
    """What a network scores without each of its blocks, one at a time.

    Attributes:
        names: Of the blocks, in the order of the network.
        stages: The stage of each block, from 1, integers of shape ``(blocks,)``.
        error: Top-1 error in percent without each block, ``(blocks,)``.
        loss: Mean cross-entropy in nats without each block, ``(blocks,)``.
        whole_error: Top-1 error in percent of the whole network.
        whole_loss: Its mean cross-entropy, in nats.
        images: Number of images that it is measured on.
        skipped: Names of a plain net's blocks that can't be deleted, since their input
            and output differ in shape.
    """

    names: tuple[str, ...]
    stages: np.ndarray
    error: np.ndarray
    loss: np.ndarray
    whole_error: float
    whole_loss: float
    images: int
    skipped: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class RandomDeletions:
    """What a network scores without several blocks, drawn at random.

    Attributes:
        counts: Numbers of blocks that are deleted, integers of shape ``(counts,)``.
        error: Top-1 error in percent, ``(counts, samples)``.
        loss: Mean cross-entropy in nats, ``(counts, samples)``.
        deleted: For each count and sample, the names of the deleted blocks.
        whole_error: Top-1 error in percent of the whole network.
        whole_loss: Its mean cross-entropy, in nats.
        images: Number of images that it is measured on.
        seed: Of the draws.
        skipped: As of `Deletions`.
    """

    counts: np.ndarray
    error: np.ndarray
    loss: np.ndarray
    deleted: tuple[tuple[tuple[str, ...], ...], ...]
    whole_error: float
    whole_loss: float
    images: int
    seed: int
    skipped: tuple[str, ...]


def delete_each(
    model: keras.Model | Routed,
    data: Data,
    *,
    known: np.ndarray | None = None,
    from_logits: bool = True,
    batch_size: int = 128,
    progress: Progress | None = None,
) -> Deletions:
    """Deletes each block by itself: its shortcut alone remains.

    Veit et al. 2016, sec. 4.1 and fig. 3. Of a plain net, the block itself is left out.

    Args:
        model: A functional classifier with residual additions, or blocks of a plain net
            as `routing.route` finds them; or a `routing.Routed`.
        data: Images ``(n, height, width, channels)`` as the model takes them and integer
            labels ``(n,)``, or an iterable of batches of both.
        known: To go on after an interruption: loss and error without each block, float64
            ``(2, blocks)``, NaN where they are to be measured. What is measured is written
            into it at once.
        from_logits: Whether the model gives logits; else it gives probabilities.
        batch_size: Of arrays, how many images are computed at a time.
        progress: Called with the number of measurements made and that of all of them.

    Raises:
        ValueError: If the model has no blocks, fewer than two classes or NaN in its
            weights, or if images, labels or ``known`` do not fit it.
    """
    routed, measure = measuring(model, data, from_logits, batch_size)
    lesions = [(block.name,) for block in routed.blocks]
    values = to_fill(known, (len(lesions),))
    with whole_at_the_end(routed):
        changes = [partial(routed.delete, lesion) for lesion in [(), *lesions]]
        whole = measured_each(measure, changes, values, progress)
    return Deletions(
        names=tuple(block.name for block in routed.blocks),
        stages=np.array([block.stage for block in routed.blocks]),
        error=values[1].copy(),
        loss=values[0].copy(),
        whole_error=whole.top1_error,
        whole_loss=whole.loss,
        images=whole.n,
        skipped=routed.skipped,
    )


def delete_random(
    model: keras.Model | Routed,
    data: Data,
    *,
    counts: Sequence[int] = COUNTS,
    samples: int = 5,
    seed: int = 0,
    known: np.ndarray | None = None,
    from_logits: bool = True,
    batch_size: int = 128,
    progress: Progress | None = None,
) -> RandomDeletions:
    """Deletes several blocks at a time, drawn at random.

    Veit et al. 2016, sec. 4.2 and fig. 5a.

    Args:
        model: As of `delete_each`.
        data: As of `delete_each`.
        counts: Numbers of blocks to delete; those above the network's are left out.
        samples: Number of draws for each count.
        seed: Of the draws.
        known: As of `delete_each`, of shape ``(2, counts, samples)``.
        from_logits: As of `delete_each`.
        batch_size: As of `delete_each`.
        progress: As of `delete_each`.

    Raises:
        ValueError: As `delete_each`; and unless there are samples, and a count from 1 to
            the network's number of blocks.
    """
    routed, measure = measuring(model, data, from_logits, batch_size)
    names = [block.name for block in routed.blocks]
    counts = counts_to_try("counts", counts, samples, most=len(names))
    random = np.random.default_rng(seed)
    lesions = [
        tuple(names[i] for i in sorted(random.permutation(len(names))[:count]))
        for count in counts
        for _ in range(samples)
    ]
    values = to_fill(known, (len(counts), samples))
    with whole_at_the_end(routed):
        changes = [partial(routed.delete, lesion) for lesion in [(), *lesions]]
        whole = measured_each(measure, changes, values, progress)
    return RandomDeletions(
        counts=np.array(counts),
        error=values[1].copy(),
        loss=values[0].copy(),
        deleted=tuple(
            tuple(lesions[i : i + samples]) for i in range(0, len(lesions), samples)
        ),
        whole_error=whole.top1_error,
        whole_loss=whole.loss,
        images=whole.n,
        seed=seed,
        skipped=routed.skipped,
    )


# What measures a network as its weights are at the moment.
Measure: TypeAlias = Callable[[], metrics.Metrics]


def measuring(
    model: keras.Model | Routed, data: Data, from_logits: bool, batch_size: int
) -> tuple[Routed, Measure]:
    """A routed network, and what measures it on data that are checked."""
    routed = model if isinstance(model, Routed) else route(model)
    batches = Batches(routed.model, data, batch_size)

    def measure() -> metrics.Metrics:
        return metrics.evaluate(routed.model, batches, from_logits=from_logits)

    return routed, measure


@contextmanager
def whole_at_the_end(routed: Routed) -> Iterator[None]:
    """Leaves no block deleted, also where an error or an interrupt comes between."""
    routed.delete([])
    try:
        yield
    finally:
        routed.delete([])


def to_fill(known: np.ndarray | None, shape: tuple[int, ...]) -> np.ndarray:
    """Loss and error to be filled in, ``(2, *shape)``: ``known`` itself, or all NaN.

    Raises:
        ValueError: If ``known`` has another shape or type.
    """
    if known is None:
        return np.full((2, *shape), np.nan)
    if known.shape != (2, *shape) or known.dtype != np.float64:
        raise ValueError(
            f"`known` must be a float64 array of shape {(2, *shape)}, loss and error of "
            f"each measurement. Received: {known.dtype}, {known.shape}."
        )
    return known


def measured_each(
    measure: Measure,
    changes: Sequence[Callable[[], None]],
    values: np.ndarray,
    progress: Progress | None,
) -> metrics.Metrics:
    """What the whole network scores; fills in loss and error after each change of it.

    Args:
        measure: Measures the network as it is at the moment.
        changes: Functions of which the first leaves the network whole.
        values: Loss and error after the others, ``(2, ...)``; those that are NaN are
            measured.
        progress: As of `delete_each`.
    """
    first, *others = changes
    first()
    whole = measure()
    places = np.ndindex(values.shape[1:])
    for number, (place, change) in enumerate(zip(places, others, strict=True), start=1):
        if progress:
            progress(number, len(changes))
        if np.isnan(values[(0, *place)]):
            change()
            found = measure()
            values[(slice(None), *place)] = found.loss, found.top1_error
    if progress:
        progress(len(changes), len(changes))
    return whole


def counts_to_try(
    name: str, counts: Sequence[int], samples: int, most: int | None = None
) -> list[int]:
    """Counts up to ``most``.

    Raises:
        ValueError: If there are no samples, if a count is below 1, or if none is left.
    """
    kept = [int(count) for count in counts if most is None or count <= most]
    if samples < 1 or not kept or min(counts) < 1:
        limits = "at least 1" if most is None else f"from 1 to {most}"
        raise ValueError(
            f"`{name}` must be numbers {limits}, and `samples` at least 1. "
            f"Received: {name}={counts!r}, samples={samples!r}."
        )
    return kept
