"""The formats of state dicts: a source's names, its layout, and its other differences.

A difference that is more than a name is undone by a function here: biases before batch
norm, another padding of shortcut option A, weights that nothing uses.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from keras_resnet.config.spec import ResNetSpec
from keras_resnet.weights import layer_names

# A state dict: from a source's names to its arrays, or to PyTorch's or Keras's tensors.
State = Mapping[str, Any]


def unchanged(state: State, spec: ResNetSpec) -> State:
    """Returns the state dict as it is."""
    return state


def without_counters(state: State, spec: ResNetSpec) -> dict[str, Any]:
    """Drops the numbers of batches that PyTorch's batch norms have seen."""
    return {k: v for k, v in state.items() if not k.endswith("num_batches_tracked")}


def without_unused_projection(state: State, spec: ResNetSpec) -> dict[str, Any]:
    """Drops the projection that DRN-C-58 computes in level 7 and doesn't use."""
    state = without_counters(state, spec)
    return {k: v for k, v in state.items() if not k.startswith("layer7.0.downsample")}


def with_padding_behind(state: State, spec: ResNetSpec) -> dict[str, Any]:
    """Puts akamaster's channels into our order.

    Where a stage doubles the channels, akamaster's shortcut adds half of the new zeros
    before the channels that are carried over and half behind them. Ours adds all of them
    behind, so the channels that are carried over come first.
    """
    state = without_counters(state, spec)
    order = np.arange(spec.stem_filters)
    renamed = {}
    for number, stage in enumerate(spec.stages, start=1):
        before, order = order, _carried_first(order, stage.output_filters)
        for name in [n for n in state if n.startswith(f"layer{number}.")]:
            value = np.asarray(state[name])
            _, block, part = name.split(".", 2)
            if part == "conv1.weight":
                value = value[:, before if block == "0" else order]
            elif part.startswith(("conv2.", "bn2.")):
                value = value[order]
            renamed[name] = value
    linear = {"linear.weight": np.asarray(state["linear.weight"])[:, order]}
    return state | renamed | linear


def _carried_first(order, filters):
    """Which of their channels each of ours is, after a stage with ``filters`` channels."""
    missing = filters - len(order)
    if missing == 0:
        return order
    padded = np.arange(missing)
    padded[missing // 2 :] += len(order)
    return np.concatenate([order + missing // 2, padded])


def without_bias(state: State, spec: ResNetSpec) -> dict[str, Any]:
    """Moves keras.applications' biases and its ε into the statistics of batch norm.

    A bias before batch norm is subtracted from the mean, as ``conv + bias - mean`` is
    ``conv - (mean - bias)``. Its ε is 1.001e-5 and ours 1e-5; the difference is added to
    the variance.
    """
    state = dict(state)
    for name in [n for n in state if n.endswith("_bn/moving_variance")]:
        state[name] = np.asarray(state[name]) + (1.001e-5 - 1e-5)
    if spec.order == "original":
        for name in [n for n in state if n.endswith("_conv/bias")]:
            mean = name.replace("_conv/bias", "_bn/moving_mean")
            state[mean] = np.asarray(state[mean]) - np.asarray(state.pop(name))
    return state


@dataclass(frozen=True)
class Format:
    """How a source names and stores its weights.

    Attributes:
        key: From ``(spec, layer, variable)`` to the source's name, or to `None` if the
            source has no such network.
        prepare: From ``(state, spec)`` to the state dict with every difference undone
            except names and layout.
        torch: Whether the layout is PyTorch's: kernels of convolutions are (out, in,
            height, width) and those of dense layers (out, in).
    """

    key: layer_names.Key
    prepare: Callable[[State, ResNetSpec], State] = unchanged
    torch: bool = True


FORMATS: dict[str, Format] = {
    "torchvision": Format(
        layer_names.torch_key(layer_names.torchvision), without_counters
    ),
    "timm_v2": Format(layer_names.torch_key(layer_names.timm_v2), without_counters),
    "timm_darknet": Format(
        layer_names.torch_key(layer_names.timm_darknet), without_counters
    ),
    "drn": Format(layer_names.torch_key(layer_names.drn), without_unused_projection),
    "wide_resnet": Format(layer_names.wide_resnet_key, without_counters),
    "akamaster": Format(
        layer_names.torch_key(layer_names.akamaster), with_padding_behind
    ),
    "keras_applications": Format(
        layer_names.keras_applications, without_bias, torch=False
    ),
    "kerashub": Format(layer_names.kerashub, torch=False),
    "own": Format(layer_names.own, torch=False),
}

# Layers whose names tell the formats apart: every network has some of them, and most
# formats name each of them differently.
TELLING_LAYERS = ("stem_conv", "stem_1_conv", "stage1_block1_1_conv", "logits")


def recognized(state: State, spec: ResNetSpec) -> str:
    """The format that a state dict is in, as a key of `FORMATS`.

    It is the one that names most of `TELLING_LAYERS` as the state dict does; the first
    one if none does.
    """
    return max(FORMATS, key=lambda form: telling_names(state, spec, form))


def fitting_names(state: State, spec: ResNetSpec) -> int:
    """How many names of `TELLING_LAYERS` a state dict has, in the format that fits best.

    Args:
        state: A state dict, or a part of one.
        spec: The `ResNetSpec` of the network that it may be of.
    """
    return max(telling_names(state, spec, form) for form in FORMATS)


def telling_names(state: State, spec: ResNetSpec, form: str) -> int:
    """How many names of `TELLING_LAYERS` a state dict has, in one format.

    Args:
        state: As of `fitting_names`.
        spec: As of `fitting_names`.
        form: A key of `FORMATS`.
    """
    key = FORMATS[form].key
    names = {
        key(spec, layer, variable)
        for layer in TELLING_LAYERS
        for variable in ("kernel", "bias")
    }
    return sum(name in state for name in names if name is not None)


def classes_in(state: State, form: str, spec: ResNetSpec) -> int | None:
    """How many classes the classifier in a state dict tells apart; `None` without one.

    Args:
        state: As of `fitting_names`.
        form: Its format, a key of `FORMATS`.
        spec: As of `fitting_names`.
    """
    key = FORMATS[form].key(spec, "logits", "bias")
    for name, value in state.items():
        if str(name) == key and np.ndim(value) == 1:
            return len(value)
    return None
