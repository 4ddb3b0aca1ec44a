"""Fetches published weights for PyTorch: torchvision's, timm's, akamaster's, fyu/drn's."""

import math
import pathlib
import re
from collections.abc import Callable
from functools import partial
from typing import TypeAlias

import numpy as np

from keras_resnet.config.architectures import ARCHITECTURES
from keras_resnet.config.class_names import imagenet_classes, told_apart
from keras_resnet.config.datasets import CIFAR10_CLASSES
from keras_resnet.config.preprocessing import CROP_ROUNDING
from keras_resnet.config.spec import ResNetSpec
from keras_resnet.weights.conventions import State
from keras_resnet.weights.download import (
    HASH,
    Published,
    download,
    from_hub,
    imagenet,
    refuse,
)
from keras_resnet.weights.facts import AKAMASTER_PREPROCESSING
from keras_resnet.weights.packages import imported

# Networks and the beginning of their files' SHA-256, as it is in the files' names.
AKAMASTER_URL = "https://github.com/akamaster/pytorch_resnet_cifar10/raw/master"
AKAMASTER = {
    "resnet20": "12fca82f",
    "resnet32": "d509ac18",
    "resnet44": "014dd654",
    "resnet56": "4bfd9763",
    "resnet110": "1d1ed7c2",
    "resnet1202": "f3b1deed",
}
DRN_URL = "http://dl.yf.io/drn"
DRN = {
    "drn_c_26": "ddedf421",
    "drn_c_42": "9d336e8c",
    "drn_c_58": "0a53a92c",
    "drn_d_22": "4bd2f8ea",
    "drn_d_38": "eebb45f0",
    "drn_d_54": "0e0534ff",
    "drn_d_105": "12b40979",
}


def torch_name(network: str, spec: ResNetSpec) -> str | None:
    """Returns torchvision's and timm's name of a network of ours.

    It is `None` for a network whose graph they can't have. They need not have every
    network with a name.
    """
    if spec.stages[0].block == "bottleneck":  # Theirs have the stride on the 3x3.
        return None
    if spec.order == "darknet":  # timm's leaky ReLU has another slope.
        return None
    return re.sub(r"_v1_5$|_timm$|(?<=\d)b$", "", network)


# Path and SHA-256 of a file that needs no download.
Local: TypeAlias = tuple[pathlib.Path, str]


def torchvision(
    tag: str, network: str, spec: ResNetSpec, local: Local | None = None
) -> Published:
    """Fetches torchvision's weights, such as ``"torchvision:IMAGENET1K_V2"``.

    URL, preprocessing and names of the classes are those that torchvision gives.
    """
    models = imported("torchvision.models", f"'torchvision:{tag}'")
    name = torch_name(network, spec)
    if name not in models.list_models():
        refuse(f"torchvision:{tag}", network, _other(network, models.list_models()))
    entries = models.get_model_weights(name).__members__
    if tag not in entries:
        tags = ", ".join(f"torchvision:{entry}" for entry in entries)
        refuse(f"torchvision:{tag}", network, f"There are {tags}.")
    transforms = entries[tag].transforms()
    file, digest = local or download(entries[tag].url)
    return Published(
        file,
        imagenet(
            resize=transforms.resize_size[0],
            size=tuple(transforms.crop_size * 2),
            mean=_of_255(transforms.mean),
            std=_of_255(transforms.std),
            interpolation=transforms.interpolation.value,
            crop_rounding=CROP_ROUNDING["torchvision"],
        ),
        origin=entries[tag].url,
        sha256=digest,
        classes=tuple(entries[tag].meta["categories"]),
        reference=torch_reference("torchvision", network, spec),
    )


def _of_255(values):
    return tuple(round(255 * value, 4) for value in values)


def _other(network, theirs):
    """Advises what to do where a source has another form of a network, or none of it."""
    if network in theirs and f"{network}_timm" in ARCHITECTURES:
        return f"timm's is another graph: that is '{network}_timm'."
    if network in theirs:
        return f"Its {network} has the stride on the 3x3: that is '{network}_v1_5'."
    return "The source doesn't have this network."


def timm(
    tag: str, network: str, spec: ResNetSpec, local: Local | None = None
) -> Published:
    """Fetches timm's weights, such as ``"timm:resnet50d.ra2_in1k"``.

    URL and preprocessing are those that timm gives.
    """
    timm = imported("timm", f"'timm:{tag}'")
    name = torch_name(network, spec)
    if not name or not timm.is_model(name):
        refuse(f"timm:{tag}", network, _other(network, timm.list_models(network)))
    tags = timm.list_pretrained(f"{name}.*")
    if tag not in tags:
        known = ", ".join(f"timm:{tag}" for tag in tags) or "none of this network"
        refuse(f"timm:{tag}", network, f"There are {known}.")
    config = timm.get_pretrained_cfg(tag)
    if config.url and HASH.search(config.url):
        origin = config.url
        file, digest = local or download(origin)
    else:
        origin = f"https://huggingface.co/{config.hf_hub_id}"
        file, digest = from_hub(config.hf_hub_id)
    side = config.input_size[-1]
    return Published(
        file,
        imagenet(
            resize=math.floor(side / config.crop_pct),
            size=(side, side),
            mean=_of_255(config.mean),
            std=_of_255(config.std),
            interpolation=config.interpolation,
            crop_rounding=CROP_ROUNDING["timm"],
        ),
        origin=origin,
        sha256=digest,
        classes=_timm_classes(config.num_classes),
        reference=torch_reference("timm", network, spec),
    )


def published_file(
    path: pathlib.Path, digest: str, network: str, spec: ResNetSpec
) -> Published | None:
    """Finds what torchvision or timm tells of a file that was downloaded from it.

    Args:
        path: Path of the file, which has its publisher's name still.
        digest: Its SHA-256.
        network: Name of the network.
        spec: Its `ResNetSpec`.

    Returns:
        The weights as by their name; `None` if the file isn't one of theirs, or their
        library isn't installed.
    """
    named = HASH.search(path.name)
    name = torch_name(network, spec)
    if named is None or name is None or not digest.startswith(named[1]):
        return None
    for fetch, urls in ((torchvision, _torchvision_urls), (timm, _timm_urls)):
        try:
            found = [tag for tag, url in urls(name) if url.endswith(f"/{path.name}")]
        except ImportError:
            continue
        if found:
            return fetch(found[0], network, spec, (path, digest))
    return None


def _torchvision_urls(name):
    models = imported("torchvision.models", name)
    if name not in models.list_models():
        return []
    entries = models.get_model_weights(name).__members__
    return [(tag, entries[tag].url) for tag in entries]


def _timm_urls(name):
    timm = imported("timm", name)
    tags = timm.list_pretrained(f"{name}.*")
    return [(tag, timm.get_pretrained_cfg(tag).url or "") for tag in tags]


def _timm_classes(number):
    from timm.data import ImageNetInfo

    if number != 1000:
        return None
    synonyms = ImageNetInfo().label_descriptions()
    return told_apart([names.split(",")[0] for names in synonyms])


def torch_reference(
    library: str, network: str, spec: ResNetSpec
) -> Callable[[State, np.ndarray], np.ndarray] | None:
    """Returns a library's own network, as a function from weights and images to logits.

    Args:
        library: ``"torchvision"`` or ``"timm"``.
        network: Name of the network.
        spec: Its `ResNetSpec`.

    Returns:
        The function from a state dict and normalized images ``(n, height, width, 3)`` to
        logits ``(n, classes)``. `None` if the library isn't installed or has no such
        network.
    """
    name = torch_name(network, spec)
    try:
        if library == "timm":
            from timm import create_model as build
            from timm import list_models
        else:
            from torchvision.models import get_model as build
            from torchvision.models import list_models
    except (
        ImportError,
        RuntimeError,
    ):  # The latter if it was built for another PyTorch.
        return None
    return partial(_torch_logits, build, name) if name in list_models() else None


def _torch_logits(build, name, state, images):
    import torch

    bias = [value for key, value in state.items() if key.endswith("fc.bias")]
    model = build(name, num_classes=len(bias[0]))
    tensors = {k.removeprefix("module."): torch.as_tensor(v) for k, v in state.items()}
    model.load_state_dict(tensors, strict=True)
    x = torch.from_numpy(images.transpose(0, 3, 1, 2).copy())
    with torch.no_grad():
        return model.eval()(x).numpy()


def akamaster(tag: str, network: str, spec: ResNetSpec) -> Published:
    """Fetches ``"akamaster"``, akamaster/pytorch_resnet_cifar10's weights for CIFAR-10."""
    if network not in AKAMASTER or tag:
        refuse(
            f"akamaster:{tag}", network, f"There are weights of {', '.join(AKAMASTER)}."
        )
    url = f"{AKAMASTER_URL}/pretrained_models/{network}-{AKAMASTER[network]}.th"
    file, digest = download(url)
    return Published(
        file,
        AKAMASTER_PREPROCESSING,
        origin=url,
        sha256=digest,
        classes=CIFAR10_CLASSES,
    )


def drn(tag: str, network: str, spec: ResNetSpec) -> Published:
    """Fetches ``"drn:imagenet"``, or ``"drn"`` for short, the weights of fyu/drn."""
    if network == "drn_a_50" and tag in ("", "imagenet"):
        # fyu/drn takes torchvision's ResNet-50 as it is.
        url = "https://download.pytorch.org/models/resnet50-19c8e357.pth"
    elif network in DRN and tag in ("", "imagenet"):
        url = f"{DRN_URL}/{network}-{DRN[network]}.pth"
    else:
        refuse(
            f"drn:{tag}", network, f"There are weights of drn_a_50, {', '.join(DRN)}."
        )
    file, digest = download(url)
    return Published(
        file,
        imagenet(crop_rounding=CROP_ROUNDING["drn"]),
        origin=url,
        sha256=digest,
        classes=imagenet_classes(),
    )
