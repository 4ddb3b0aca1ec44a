"""Published weights by source and tag: ``"torchvision:IMAGENET1K_V2"`` and the like."""

from keras_resnet.config.architectures import ARCHITECTURES
from keras_resnet.weights import sources_keras, sources_torch

SOURCES = {
    "torchvision": sources_torch.torchvision,
    "timm": sources_torch.timm,
    "keras": sources_keras.applications,
    "kerashub": sources_keras.kerashub,
    "akamaster": sources_torch.akamaster,
    "drn": sources_torch.drn,
}


def is_published(weights) -> bool:
    """Whether ``weights`` names a source (and not a file)."""
    if not isinstance(weights, str):
        return False
    return weights == "imagenet" or weights.partition(":")[0] in SOURCES


def network_of(weights):
    """The network whose weights these are, where the tag says it; else `None`."""
    source, _, tag = weights.partition(":")
    for network, spec in ARCHITECTURES.items():
        if source == "timm":
            name = sources_torch.torch_name(network, spec)
            if name == tag.split(".")[0]:
                return network
        elif source == "kerashub" and sources_keras.is_preset_of(network, tag):
            return network
    return None


def fetch(weights, network, spec):
    """Finds published weights, and downloads them if they aren't in the cache.

    Args:
        weights: ``"source:tag"``, e.g. ``"timm:resnet50d.ra2_in1k"``; ``"akamaster"``
            and ``"drn"`` have one tag and need none; ``"imagenet"`` is
            ``"keras:imagenet"``.
        network: Key of `ARCHITECTURES`.
        spec: Its `ResNetSpec`.

    Returns:
        A `publication.Published`.

    Raises:
        ValueError: If the source has no such weights for the network, or a file has
            another checksum; it is removed then.
        ConnectionError: If there is no network.
        ImportError: If the source's library isn't installed.
    """
    source, _, tag = weights.partition(":")
    if weights == "imagenet":
        source, tag = "keras", "imagenet"
    return SOURCES[source](tag, network, spec)
