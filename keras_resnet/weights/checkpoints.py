"""Finds a network's weights in what a trainer saved: among other things, under prefixes."""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from keras_resnet.weights.torch_files import Inert

# Words that name an average of the weights over the updates (EMA, SWA).
AVERAGES = {"ema", "swa", "average", "averaged", "averages"}
# Where momentum contrast and its kin keep the slow copy of a network, which only gives
# them what to compare with: MoCo's `encoder_k` and `momentum_encoder`, BYOL's
# `target_network`. They test the other one themselves.
SLOW_COPY = re.compile(r"encoder_k|momentum|target")
# What PyTorch's batch norms and averages count, which no network needs.
BATCHES, UPDATES = "num_batches_tracked", "n_averaged"
# Where PyTorch's optimizers keep what they know of each parameter, by its number.
OPTIMIZER = re.compile(r"(^|\.)state\.\d+$")
DEPTH = 6  # Of mappings in mappings that are searched.


@dataclass(frozen=True)
class Found:
    """Weights in a checkpoint.

    Attributes:
        state: From the weights' names, without a prefix that all share, to tensors or
            arrays.
        place: Where in the checkpoint they were, with the prefixes that were removed,
            such as ``"state_dict_ema"`` or ``"state_dict.module"``; empty if the whole is
            a state dict.
        others: Where other weights were that would fit as well.
    """

    state: dict[str, Any]
    place: str
    others: tuple[str, ...] = ()

    @property
    def choice(self) -> str | None:
        """A sentence that tells which weights were taken; `None` if there was no choice."""
        if not self.others:
            return None
        average = ", an average over the updates" if _is_average(self.place) else ""
        return (
            f"It holds more than one network's weights: those of {self.place!r}{average} "
            f"are taken, and not those of {', '.join(map(repr, self.others))}."
        )


def weights_in(checkpoint: Any, fits: Callable[[Mapping[str, Any]], int]) -> Found:
    """Finds the weights in what a trainer saved.

    These are the mapping from names to tensors, at any depth, or the whole model, whose
    names fit best. Where several fit alike, an average over the updates (EMA) is taken,
    as timm takes it, but never the slow copy of momentum contrast (MoCo's ``encoder_k``)
    beside the network itself. Prefixes that all names share, such as ``module.``, are
    removed; so are two, such as OpenMMLab's ``backbone.`` and ``head.``, of which one
    has the network and the other its classifier.

    Args:
        checkpoint: A state dict, or anything that holds one.
        fits: From a mapping to how many names of it are those of the wanted network.

    Returns:
        The weights, with an empty ``state`` if nothing in the checkpoint is a mapping of
        tensors.

    Raises:
        ValueError: If it is an optimizer's state, with no weights of the wanted network.
    """
    found = []
    for place, tensors in _mappings(checkpoint, (), set()):
        found += _variants(place, tensors, fits)
    if not found:
        return Found({}, "")
    # The largest, since an average may hold parameters without batch norm's statistics.
    ranked = [((fits(state), _size(state)), place, state) for place, state in found]
    wanted = [one for one in ranked if one[0][0] and not SLOW_COPY.search(one[1])]
    best = max(rank for rank, *_ in wanted or ranked)
    alike = [one for one in wanted or ranked if one[0] == best]
    averages = [one for one in alike if _is_average(one[1])]
    _, place, state = (averages or alike)[0]
    if not best[0] and OPTIMIZER.search(place):
        raise ValueError(
            "A checkpoint must hold a network's weights. Received: an optimizer's state "
            f"({place}: {', '.join(sorted(state))}). Take the file that the same training "
            "wrote of its network, or save `model.state_dict()`."
        )
    others = [other for rank, other, _ in ranked if rank == best and other != place]
    return Found(state, place, tuple(others) if best[0] else ())


def _mappings(
    node: Any, place: tuple[str, ...], seen: set[int]
) -> Iterator[tuple[tuple[str, ...], dict[str, Any]]]:
    """All mappings of tensors in a tree of mappings and models, with their places."""
    if len(place) > DEPTH or id(node) in seen:
        return
    seen.add(id(node))
    if isinstance(node, Inert):
        if "_modules" in node.fields:
            yield place, dict(_tensors_of(node, "", DEPTH))
            return
        node = node.fields
    if isinstance(node, list | tuple):
        node = dict(enumerate(node))
    if not isinstance(node, Mapping):
        return
    tensors = {str(name): one for name, one in node.items() if _is_tensor(one)}
    if tensors:
        yield place, tensors
    for name, one in node.items():
        if isinstance(one, Mapping | Inert | list | tuple):
            yield from _mappings(one, (*place, str(name)), seen)


def _tensors_of(module: Any, prefix: str, depth: int) -> Iterator[tuple[str, Any]]:
    """What `state_dict` would give of a PyTorch module that isn't loaded."""
    fields = module.fields if isinstance(module, Inert) else {}
    own = {**_dict(fields, "_parameters"), **_dict(fields, "_buffers")}
    unsaved = fields.get("_non_persistent_buffers_set")
    unsaved = unsaved if isinstance(unsaved, set) else set()
    for name, one in own.items():
        if _is_tensor(one) and name not in unsaved:
            yield f"{prefix}{name}", one
    for name, one in _dict(fields, "_modules").items():
        if depth:
            yield from _tensors_of(one, f"{prefix}{name}.", depth - 1)


def _dict(fields, name):
    value = fields.get(name)
    return value if isinstance(value, dict) else {}


def _is_tensor(value):
    return hasattr(value, "shape") and hasattr(value, "dtype")


def _variants(place, tensors, fits):
    """A mapping without its prefix, or what it has under each prefix, if that fits."""
    below = place
    bare = {name: one for name, one in tensors.items() if name != UPDATES}
    while not fits(bare):
        roots = {name.partition(".")[0] for name in bare}
        if len(roots) != 1 or not all("." in name for name in bare):
            parts = _joined(_fitting_parts(below, bare, roots, fits), fits)
            return parts or [(".".join(place), tensors)]
        bare, below = _part(bare, *roots), (*below, *roots)
    return [_with_its_classifier(below, bare, fits)]


def _fitting_parts(place, tensors, roots, fits):
    """What fits of the parts under each of these roots, with its places."""
    found = []
    for root in sorted(roots):
        if part := _part(tensors, root):
            found += _variants((*place, root), part, fits)
    return [(where, state) for where, state in found if fits(state)]


def _joined(found, fits):
    """Two of these as one where they are a network and its classifier, else all.

    Where an average has such parts as well, it isn't known what belongs together.
    """
    pairs = [
        (f"{place} and {other}", {**one, **two})
        for (place, one), (other, two) in combinations(found, 2)
        if not one.keys() & two and fits({**one, **two}) > max(fits(one), fits(two))
    ]
    return pairs if len(pairs) == 1 else found


def _with_its_classifier(place, tensors, fits):
    """The mapping, or where it is a classifier beside a network under a prefix, both."""
    where = ".".join(place)
    for root in sorted({name.partition(".")[0] for name in tensors if "." in name}):
        part = _part(tensors, root)
        rest = {n: one for n, one in tensors.items() if not n.startswith(f"{root}.")}
        pair = _joined([(where, rest), (".".join((*place, root)), part)], fits)
        if len(pair) == 1 and fits(pair[0][1]) > fits(tensors):
            return where, pair[0][1]
    return where, tensors


def _part(tensors, root):
    """The tensors whose names begin with ``root`` and a dot, without these."""
    begin = f"{root}."
    return {
        name.removeprefix(begin): one
        for name, one in tensors.items()
        if name.startswith(begin)
    }


def _size(state):
    return sum(not name.endswith(BATCHES) for name in state)


def _is_average(place):
    return bool(AVERAGES & set(re.split(r"[^a-z]+", place.lower())))
