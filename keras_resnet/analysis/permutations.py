"""What a network still knows with some of its blocks in each other's places.

Veit et al. 2016, "Residual networks behave like ensembles of relatively shallow networks",
sec. 4.3: a residual network loses the more the more its order changes, smoothly. In a
plain net each layer needs the very layer before it.
"""

import itertools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import keras
import numpy as np

from keras_resnet.analysis.batches import Data
from keras_resnet.analysis.lesions import (
    Progress,
    counts_to_try,
    measured_each,
    measuring,
    to_fill,
    whole_at_the_end,
)
from keras_resnet.analysis.routing import Routed

SWAPS = (1, 2, 4, 8, 16)  # By default.


@dataclass(frozen=True, kw_only=True)
class Permutations:
    """What a network scores with some of its blocks in each other's places.

    Attributes:
        names: Of the blocks that can change places, in the order of the network.
        swaps: Numbers of swaps of two blocks, integers of shape ``(counts,)``.
        orders: For each count and sample, which of ``names`` computes in each place,
            integers from 0 of shape ``(counts, samples, blocks)``.
        kendall_tau: Rank correlation of each order with the network's own, which is 1,
            ``(counts, samples)``.
        error: Top-1 error in percent, ``(counts, samples)``.
        loss: Mean cross-entropy in nats, ``(counts, samples)``.
        whole_error: Top-1 error in percent of the network in its own order.
        whole_loss: Its mean cross-entropy, in nats.
        images: Number of images that it is measured on.
        seed: Of the draws.
    """

    names: tuple[str, ...]
    swaps: np.ndarray
    orders: np.ndarray
    kendall_tau: np.ndarray
    error: np.ndarray
    loss: np.ndarray
    whole_error: float
    whole_loss: float
    images: int
    seed: int


def permute(
    model: keras.Model | Routed,
    data: Data,
    *,
    swaps: Sequence[int] = SWAPS,
    samples: int = 5,
    seed: int = 0,
    known: np.ndarray | None = None,
    from_logits: bool = True,
    batch_size: int = 128,
    progress: Progress | None = None,
) -> Permutations:
    """Lets blocks of one kind change places, by swaps of two that are drawn at random.

    Veit et al. 2016, sec. 4.3 and fig. 5b. Two blocks can be swapped whose shortcuts are
    the identity, whose layers are of the same classes and whose weights have the same
    shapes: those of a stage apart from its first, which gets what no other block does.

    Args:
        model: As of `delete_each`.
        data: As of `delete_each`.
        swaps: Numbers of swaps, one after the other; a later one may undo an earlier.
        samples: Number of draws for each count.
        seed: Of the draws.
        known: As of `delete_each`, of shape ``(2, numbers of swaps, samples)``.
        from_logits: As of `delete_each`.
        batch_size: As of `delete_each`.
        progress: As of `delete_each`.

    Raises:
        ValueError: As `delete_each`; and unless there are samples, numbers of swaps of at
            least 1 and two blocks that can be swapped.
    """
    routed, measure = measuring(model, data, from_logits, batch_size)
    swaps = counts_to_try("swaps", swaps, samples)
    groups = exchangeable(routed)
    places = sorted(place for group in groups for place in group)
    pairs = [pair for group in groups for pair in itertools.combinations(group, 2)]
    if not pairs:
        raise ValueError(
            "Two blocks must have weights of the same shapes to change places. Received: "
            f"blocks {', '.join(block.name for block in routed.blocks)}, no two of a kind. "
            "Take a network with more blocks in a stage."
        )
    own = list(range(len(routed.blocks)))
    random = np.random.default_rng(seed)
    orders = [
        _swapped(own, pairs, count, random) for count in swaps for _ in range(samples)
    ]
    shape = len(swaps), samples
    values = to_fill(known, shape)
    with _arranging(routed, places) as arrange:
        changes = [partial(arrange, order) for order in [own, *orders]]
        whole = measured_each(measure, changes, values, progress)
    ranks = np.array(orders)[:, places]
    ranks = np.searchsorted(places, ranks)  # From places in the network to ``names``.
    return Permutations(
        names=tuple(routed.blocks[place].name for place in places),
        swaps=np.array(swaps),
        orders=ranks.reshape(*shape, -1),
        kendall_tau=np.array([kendall_tau(order) for order in ranks]).reshape(shape),
        error=values[1].copy(),
        loss=values[0].copy(),
        whole_error=whole.top1_error,
        whole_loss=whole.loss,
        images=whole.n,
        seed=seed,
    )


def exchangeable(routed: Routed) -> list[list[int]]:
    """The places of the blocks that can be swapped, in groups of one kind.

    Args:
        routed: A routed network.

    Returns:
        Lists of two numbers or more, from 0, in the order of the network.
    """
    groups: dict[tuple[Any, ...], list[int]] = {}
    classes = {one.name: type(one).__name__ for one in routed.model.operations}
    for place, block in enumerate(routed.blocks):
        if block.identity and not block.first:
            shapes = tuple(tuple(w.shape) for w in routed.residual_weights(block))
            kind = (block.shape, shapes, *(classes[name] for name in block.residual))
            groups.setdefault(kind, []).append(place)
    return [group for group in groups.values() if len(group) > 1]


def kendall_tau(order: Sequence[int] | np.ndarray) -> float:
    """Kendall's rank correlation of an order with the ascending one.

    Args:
        order: Different numbers, ``(n,)``, at least two.

    Returns:
        From -1, for the reverse, to 1, for the ascending order itself.
    """
    order = np.asarray(order)
    first, second = np.triu_indices(len(order), k=1)
    return float(np.mean(np.sign(order[second] - order[first])))


def _swapped(
    order: list[int],
    pairs: list[tuple[int, int]],
    count: int,
    random: np.random.Generator,
) -> list[int]:
    order = list(order)
    for _ in range(count):
        a, b = pairs[random.integers(len(pairs))]
        order[a], order[b] = order[b], order[a]
    return order


@contextmanager
def _arranging(
    routed: Routed, places: list[int]
) -> Iterator[Callable[[Sequence[int]], None]]:
    """Gives a function that lets the residuals of other blocks compute in each place."""
    variables = {p: routed.residual_weights(routed.blocks[p]) for p in places}
    values = {
        place: [keras.ops.convert_to_numpy(one).copy() for one in of_block]
        for place, of_block in variables.items()
    }

    def arrange(order: Sequence[int]) -> None:
        for place in places:
            pairs = zip(variables[place], values[order[place]], strict=True)
            for variable, value in pairs:
                variable.assign(value)

    with whole_at_the_end(routed):
        try:
            yield arrange
        finally:
            arrange(range(len(routed.blocks)))
