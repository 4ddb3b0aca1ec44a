"""The names that other libraries and repositories give to our layers and variables.

The variable ``gamma`` of our layer ``stage2_block1_shortcut_bn``, for example, is
``layer2.0.downsample.1.weight`` in torchvision. Each function takes the `ResNetSpec` of a
network and the name of one of our layers, and returns the source's name for it, or `None`
if the source has no such network or layer.
"""

import re
from collections.abc import Callable

from keras_resnet.config.spec import ResNetSpec

# Variables of convolutions, dense layers and batch norms, from Keras's name to PyTorch's.
TORCH = {
    "kernel": "weight",
    "bias": "bias",
    "gamma": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}

# From a network's spec, one of our layers and its variable to the source's name.
Key = Callable[[ResNetSpec, str, str], str | None]


def place_of(layer: str) -> tuple[int, int, str, str] | None:
    """``(stage, block, place, kind)`` of one of our layers; `None` outside the blocks.

    Stages and blocks count from 1. The place is ``"1"``, ``"2"``, … for a convolution and
    its batch norm, ``"0"`` for the batch norm before the first convolution, or
    ``"shortcut"``, ``"se_1"``, ``"se_2"``. The kind is ``"conv"`` or ``"bn"``.
    """
    match = re.fullmatch(r"stage(\d+)_block(\d+)_(shortcut|se_\d|\d)_(conv|bn)", layer)
    if match is None:
        return None
    stage, block, place, kind = match.groups()
    return int(stage), int(block), place, kind


def _named(layer, outside, inside):
    """``outside[layer]``, or what ``inside`` makes of a place in a block, or `None`."""
    if layer in outside:
        return outside[layer]
    place = place_of(layer)
    return None if place is None else inside(*place)


# --- PyTorch ----------------------------------------------------------------------


def torchvision(spec: ResNetSpec, layer: str) -> str | None:
    """torchvision's and timm's ``resnet.py`` and fyu/drn's DRN-A: the order of v1."""
    if spec.order != "original" or spec.stem == "drn":
        return None
    return _resnet_py(spec, layer)


def _resnet_py(spec, layer):
    """The name that torchvision's ``resnet.py`` gives, in whatever network it is used."""
    outside = {
        "stem_conv": "conv1",
        "stem_bn": "bn1",
        "stem_1_conv": "conv1.0",
        "stem_1_bn": "conv1.1",
        "stem_2_conv": "conv1.3",
        "stem_2_bn": "conv1.4",
        "stem_3_conv": "conv1.6",
        "stem_3_bn": "bn1",
        "logits": "fc",
    }

    def inside(stage, block, place, kind):
        prefix = f"layer{stage}.{block - 1}"
        if place == "shortcut":
            # Option D's average pooling is first in timm's sequence, or an identity.
            number = (kind == "bn") + (spec.shortcut == "D")
            return f"{prefix}.downsample.{number}"
        if place.startswith("se_"):
            return f"{prefix}.se.fc{place[-1]}"
        return f"{prefix}.{kind}{place}"

    return _named(layer, outside, inside)


def timm_v2(spec: ResNetSpec, layer: str) -> str | None:
    """timm's ``resnetv2.py``."""
    outside = {"stem_conv": "stem.conv", "final_bn": "norm", "logits": "head.fc"}

    def inside(stage, block, place, kind):
        prefix = f"stages.{stage - 1}.blocks.{block - 1}"
        if place == "shortcut":
            return f"{prefix}.downsample.conv"
        if kind == "bn":
            return f"{prefix}.norm{int(place) + 1}"
        return f"{prefix}.conv{place}"

    return _named(layer, outside, inside) if spec.stem == "bare" else None


def timm_darknet(spec: ResNetSpec, layer: str) -> str | None:
    """The darknet53 of timm's ``cspnet.py``."""
    if spec.order != "darknet_timm":
        return None
    match = re.fullmatch(r"stage(\d+)_downsample_(conv|bn)", layer)
    if match:
        return f"stages.{int(match[1]) - 1}.conv_down.{match[2]}"
    outside = {
        "stem_conv": "stem.conv1.conv",
        "stem_bn": "stem.conv1.bn",
        "logits": "head.fc",
    }

    def inside(stage, block, place, kind):
        return f"stages.{stage - 1}.blocks.{block - 1}.conv{place}.{kind}"

    return _named(layer, outside, inside)


def drn(spec: ResNetSpec, layer: str) -> str | None:
    """fyu/drn's DRN-C and DRN-D."""
    if spec.stem != "drn":
        return None
    outside = {"stem_conv": "conv1", "stem_bn": "bn1", "logits": "fc"}
    only_convolutions = spec.stages[0].block == "conv"  # DRN-D.
    if only_convolutions:
        outside |= {"stem_conv": "layer0.0", "stem_bn": "layer0.1"}

    def inside(stage, block, place, kind):
        if spec.stages[stage - 1].block != "conv":
            return _resnet_py(spec, layer)
        if only_convolutions:  # Convolution, norm and ReLU in one sequence.
            return f"layer{stage}.{3 * (block - 1) + (kind == 'bn')}"
        return f"layer{stage}.0.{kind}{block}"

    return _named(layer, outside, inside)


def wide_resnet(spec: ResNetSpec, layer: str) -> str | None:
    """The PyTorch port in szagoruyko/wide-residual-networks."""
    outside = {
        "stem_conv": "conv0",
        "stem_bn": "group0.block0.bn0",
        "final_bn": "bn",
        "logits": "fc",
    }

    def inside(stage, block, place, kind):
        prefix = f"group{stage - 1}.block{block - 1}"
        if place == "shortcut":
            return f"{prefix}.convdim"
        number = place if kind == "bn" else int(place) - 1
        return f"{prefix}.{kind}{number}"

    wide = spec.order == "preactivation" and spec.stem == "cifar"
    return _named(layer, outside, inside) if wide else None


def akamaster(spec: ResNetSpec, layer: str) -> str | None:
    """akamaster/pytorch_resnet_cifar10: torchvision's names except for the classifier."""
    if spec.stem != "cifar" or spec.shortcut != "A":
        return None
    return "linear" if layer == "logits" else torchvision(spec, layer)


def torch_key(name: Callable[[ResNetSpec, str], str | None]) -> Key:
    """Makes the function that names variables from one that names PyTorch's modules."""

    def key(spec, layer, variable):
        found = name(spec, layer)
        return found and f"{found}.{TORCH[variable]}"

    return key


def wide_resnet_key(spec: ResNetSpec, layer: str, variable: str) -> str | None:
    """szagoruyko's port, which keeps its convolutions as bare tensors without modules."""
    found = wide_resnet(spec, layer)
    is_kernel = variable == "kernel" and layer != "logits"
    return found if is_kernel else found and f"{found}.{TORCH[variable]}"


# --- Keras ------------------------------------------------------------------------


def keras_applications(spec: ResNetSpec, layer: str, variable: str) -> str | None:
    """keras.applications' ResNet and ResNetV2."""
    outside = {
        "stem_conv": "conv1_conv",
        "stem_bn": "conv1_bn",
        "final_bn": "post_bn",
        "logits": "predictions",
    }

    def inside(stage, block, place, kind):
        place = {"0": "preact", "shortcut": "0"}.get(place, place)
        return f"conv{stage + 1}_block{block}_{place}_{kind}"

    found = _named(layer, outside, inside)
    return found and f"{found}/{variable}"


def kerashub(spec: ResNetSpec, layer: str, variable: str) -> str | None:
    """KerasHub's ``ResNetBackbone`` and ``ResNetImageClassifier``."""
    outside = {
        "stem_conv": "conv1_conv",
        "stem_bn": "conv1_bn",
        "stem_1_conv": "conv1_conv",
        "stem_1_bn": "conv1_bn",
        "stem_2_conv": "conv2_conv",
        "stem_2_bn": "conv2_bn",
        "stem_3_conv": "conv3_conv",
        "stem_3_bn": "conv3_bn",
        "final_bn": "post_bn",
        "logits": "predictions",
    }

    def inside(stage, block, place, kind):
        place = {"0": "pre_activation", "shortcut": "0"}.get(place, place)
        return f"stack{stage - 1}_block{block - 1}_{place}_{kind}"

    found = _named(layer, outside, inside)
    return found and f"{found}/{variable}"


def own(spec: ResNetSpec, layer: str, variable: str) -> str:
    """Our own names, ``layer/variable``."""
    return f"{layer}/{variable}"
