"""What every source of published weights has: a checked file, and its preprocessing.

Files are kept where Keras keeps its own (``~/.keras/models``) and checked against the
SHA-256 that their publisher gives: the first 8 hexadecimal digits in the file's name,
as torch.hub has it, or all 64 from the Hugging Face hub.
"""

import hashlib
import os
import pathlib
import re
from collections.abc import Callable
from dataclasses import dataclass

import keras

from keras_resnet.config.preprocessing import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    Preprocessing,
)

HASH = re.compile(r"-([0-9a-f]{8,64})\.[a-z]+$")  # In torch.hub's file names.


@dataclass(frozen=True)
class Published:
    """Weights as their source has them.

    Attributes:
        weights: Path of the downloaded file, or the state dict itself.
        preprocessing: What the images of these weights go through.
        origin: URL of the file, or the library's name for the weights.
        sha256: Of the file; `None` where a library downloaded it.
        classes: Names of the classes, or `None` if the source has none.
        reference: ``(state dict, images) -> logits`` of the source's own network, for
            normalized images ``(n, height, width, 3)``; `None` if it isn't installed.
    """

    weights: pathlib.Path | dict
    preprocessing: Preprocessing
    origin: str
    sha256: str | None = None
    classes: tuple[str, ...] | None = None
    reference: Callable | None = None


def refuse(weights, network, known):
    """Raises the error for weights that a source doesn't have for a network."""
    raise ValueError(
        f"The weights must be published for the network {network!r}. "
        f"Received: {weights!r}. {known}"
    )


def imagenet(**changes):
    """The preprocessing of most networks for ImageNet, with changes."""
    values = {
        "channels": 3,
        "resize": 256,
        "size": (224, 224),
        "mean": IMAGENET_MEAN,
        "std": IMAGENET_STD,
    }
    return Preprocessing(**(values | changes))


def download(url, digest=None):
    """Downloads a file, unless it is in Keras's cache, and checks it.

    Args:
        url: Of the file.
        digest: Its SHA-256 in hexadecimal digits, or how it begins; by default what
            the file's name ends in.

    Returns:
        Path of the file, and its whole SHA-256.

    Raises:
        ValueError: If the file has another SHA-256. It is removed from the cache.
        ConnectionError: If it can't be downloaded.
    """
    name = url.rpartition("/")[2]
    if digest is None:
        digest = HASH.search(name)[1]
    try:
        path = keras.utils.get_file(name, origin=url, cache_subdir="models")
    except Exception as error:  # Bare ones, and those of urllib and the file system.
        raise no_network(url, error) from error
    return pathlib.Path(path), checked(path, digest)


def checked(path, digest):
    """The SHA-256 of a file that begins with ``digest``; else it is removed."""
    with open(path, "rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if not found.startswith(digest):
        os.remove(path)
        raise ValueError(
            f"{path} must have a SHA-256 of {digest}{'…' * (len(digest) < 64)}, and has "
            f"{found}: it was damaged or replaced, and has been removed. Run the same "
            "again to download it anew."
        )
    return found


def no_network(what, error):
    """The error for something that can't be downloaded, with what to do.

    Args:
        what: URL of a file, or the library's name for it.
        error: What was raised; Keras's names the URL of its file.
    """
    found = re.search(r"https?://\S+/([\w.-]+\.(?:pth|th|h5))", f"{what} {error}")
    reason = (str(error).strip() or type(error).__name__).splitlines()[0]
    reason = reason.rpartition(" -- ")[2]  # Keras's repeats the URL before.
    cache = pathlib.Path(os.environ.get("KERAS_HOME", "~/.keras")) / "models"
    advice = (
        f"copy it to {cache / found[1]}"
        if found
        else "copy its library's cache (~/.cache/huggingface or ~/.cache/kagglehub) here, "
        "or give a file as the weights"
    )
    if found and found[1].endswith((".pth", ".th")):
        advice += ", or give its path as the weights"
    return ConnectionError(
        f"{found[0] if found else what} can't be downloaded ({reason}). "
        f"Download it where there is a network and {advice}."
    )


def from_hub(repository):
    """Path and SHA-256 of a repository's ``model.safetensors``.

    The Hugging Face hub keeps a file under its SHA-256, with a link to it. (On Windows
    without links there is no digest to compare with.)
    """
    from huggingface_hub import hf_hub_download

    try:
        path = pathlib.Path(hf_hub_download(repository, "model.safetensors"))
    except OSError as error:  # As all that huggingface_hub raises without a network.
        raise no_network(f"https://huggingface.co/{repository}", error) from error
    stored = path.resolve()
    return path, checked(stored, stored.name if len(stored.name) == 64 else "")


def by_library(weights, load):
    """What a library downloads, or the error that there is no network."""
    try:
        return load()
    except (ImportError, ValueError):
        raise
    except Exception as error:  # `get_file` raises bare ones, kagglehub many kinds.
        raise no_network(weights, error) from error
