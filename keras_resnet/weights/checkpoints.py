"""Finds a network's weights in what a trainer saved: among other things, under prefixes."""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from keras_resnet.weights.torch_files import Inert

# Words that name an average of the weights over the updates (EMA, SWA).
AVERAGES = {"ema", "swa", "average", "averaged", "averages"}
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
        place: Where in the checkpoint they were, such as ``"state_dict_ema"``; empty if
            the whole is a state dict.
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
    as timm takes it. Prefixes that all names share, such as ``module.``, are removed.

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
    rank = [(fits(state), _size(state)) for _, state in found]
    alike = [one for one, its in zip(found, rank, strict=True) if its == max(rank)]
    averages = [one for one in alike if _is_average(one[0])]
    place, state = (averages or alike)[0]
    if not max(rank)[0] and OPTIMIZER.search(place):
        raise ValueError(
            "A checkpoint must hold a network's weights. Received: an optimizer's state "
            f"({place}: {', '.join(sorted(state))}). Take the file that the same training "
            "wrote of its network, or save `model.state_dict()`."
        )
    others = tuple(name for name, _ in alike if name != place) if max(rank)[0] else ()
    return Found(state, place, others)


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
    where = ".".join(place)
    bare = {name: one for name, one in tensors.items() if name != UPDATES}
    while not fits(bare):
        roots = {name.partition(".")[0] for name in bare}
        if len(roots) != 1 or not all("." in name for name in bare):
            return _fitting_parts(place, bare, roots, fits) or [(where, tensors)]
        bare = _part(bare, *roots)
    return [(where, bare)]


def _fitting_parts(place, tensors, roots, fits):
    """What fits of the parts under each of these roots, with its places."""
    found = []
    for root in sorted(roots):
        if part := _part(tensors, root):
            found += _variants((*place, root), part, fits)
    return [(where, state) for where, state in found if fits(state)]


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
