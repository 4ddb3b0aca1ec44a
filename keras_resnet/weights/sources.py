"""Finds published weights by a name such as ``"torchvision:IMAGENET1K_V2"``."""

from collections.abc import Callable
from typing import Any, TypeGuard

from keras_resnet.config.architectures import ARCHITECTURES
from keras_resnet.config.spec import ResNetSpec
from keras_resnet.weights import sources_keras, sources_torch
from keras_resnet.weights.download import Published

# From the part of a name before the colon to the function that fetches the weights, by
# the part behind it, a network's name and its spec.
SOURCES: dict[str, Callable[[str, str, ResNetSpec], Published]] = {
    "torchvision": sources_torch.torchvision,
    "timm": sources_torch.timm,
    "keras": sources_keras.applications,
    "kerashub": sources_keras.kerashub,
    "akamaster": sources_torch.akamaster,
    "drn": sources_torch.drn,
}


def is_published(weights: Any) -> TypeGuard[str]:
    """Returns whether ``weights`` names published weights, rather than a file."""
    if not isinstance(weights, str):
        return False
    return weights == "imagenet" or weights.partition(":")[0] in SOURCES


def network_of(weights: str) -> str | None:
    """Returns the network whose weights a name means, or `None` if it doesn't tell."""
    source, _, tag = weights.partition(":")
    for network, spec in ARCHITECTURES.items():
        if source == "timm":
            name = sources_torch.torch_name(network, spec)
            if name == tag.split(".")[0]:
                return network
        elif source == "kerashub" and sources_keras.is_preset_of(network, tag):
            return network
    return None


def fetch(weights: str, network: str, spec: ResNetSpec) -> Published:
    """Finds published weights, and downloads them unless they are in the cache.

    Args:
        weights: ``"source:tag"``, e.g. ``"timm:resnet50d.ra2_in1k"``. ``"akamaster"``
            and ``"drn"`` need no tag, and ``"imagenet"`` means ``"keras:imagenet"``.
        network: Name of the network.
        spec: Its `ResNetSpec`.

    Returns:
        The `download.Published` weights.

    Raises:
        ValueError: If the source has no such weights for the network, or if a file has
            another checksum than its publisher says; it is then removed.
        ConnectionError: If the weights can't be downloaded.
        ImportError: If the source's library isn't installed.
    """
    source, _, tag = weights.partition(":")
    if weights == "imagenet":
        source, tag = "keras", "imagenet"
    return SOURCES[source](tag, network, spec)
