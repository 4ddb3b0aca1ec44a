"""Formats of weights: a source's names, its layout, and what it does differently.

What is more than a name is undone before: biases in front of batch norm, another padding
of option A, weights that nothing uses.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from keras_resnet.weights import names


def unchanged(state, spec):
    """The identity."""
    return state


def without_wrapper(state, spec):
    """Without ``module.`` (DataParallel) before each name, and what counts batches."""
    return {
        name.removeprefix("module."): value
        for name, value in state.items()
        if not name.endswith("num_batches_tracked")
    }


def without_unused_projection(state, spec):
    """Without the projection that DRN-C-58 computes in level 7 and does not use."""
    state = without_wrapper(state, spec)
    return {k: v for k, v in state.items() if not k.startswith("layer7.0.downsample")}


def with_padding_behind(state, spec):
    """akamaster pads a quarter of the channels before and behind; we pad behind.

    So its channels are put in our order: those that are carried over first.
    """
    state = without_wrapper(state, spec)
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
    """Theirs of our channels, where a stage pads up to ``filters``."""
    missing = filters - len(order)
    if missing == 0:
        return order
    padded = np.arange(missing)
    padded[missing // 2 :] += len(order)
    return np.concatenate([order + missing // 2, padded])


def without_bias(state, spec):
    """keras.applications: into batch norm, what biases before it and its ε do.

    ``conv + bias - mean`` is ``conv - (mean - bias)``; ε is 1.001e-5 there, 1e-5 here.
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
        key: ``(spec, layer, variable)`` -> the source's name, or `None`.
        prepare: ``(state, spec)`` -> the state with everything undone but the names.
        torch: Whether kernels are stored (out, in, height, width).
    """

    key: Callable
    prepare: Callable = unchanged
    torch: bool = True


FORMATS = {
    "torchvision": Format(names.torch_key(names.torchvision), without_wrapper),
    "timm_v2": Format(names.torch_key(names.timm_v2), without_wrapper),
    "timm_darknet": Format(names.torch_key(names.timm_darknet), without_wrapper),
    "drn": Format(names.torch_key(names.drn), without_unused_projection),
    "wide_resnet": Format(names.wide_resnet_key, without_wrapper),
    "akamaster": Format(names.torch_key(names.akamaster), with_padding_behind),
    "keras_applications": Format(names.keras_applications, without_bias, torch=False),
    "kerashub": Format(names.kerashub, torch=False),
    "own": Format(names.own, torch=False),
}
