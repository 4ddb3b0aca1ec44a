"""Downloads published weights and checks them; what all publishers' modules share.

Files are kept where Keras keeps its own (``~/.keras/models``). They are checked against
the SHA-256 that their publisher gives: its first 8 hexadecimal digits in the file's name,
as torch.hub has it, or all 64 on the Hugging Face hub.
"""

import os
import pathlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NoReturn

import keras
import numpy as np

from keras_resnet.config.preprocessing import (
    CROP_ROUNDING,
    IMAGENET_MEAN,
    IMAGENET_STD,
    Preprocessing,
)
from keras_resnet.files import keras_home, sha256_of
from keras_resnet.weights.conventions import State
from keras_resnet.weights.packages import imported

HASH = re.compile(r"-([0-9a-f]{8,64})\.[a-z]+$")  # In torch.hub's file names.


@dataclass(frozen=True)
class Published:
    """Weights as their publisher has them.

    Attributes:
        weights: Path of the downloaded file, or the state dict itself.
        preprocessing: What images go through before a network with these weights.
        origin: URL of the file, or the library's name for the weights.
        sha256: SHA-256 of the file; `None` if a library downloaded it.
        classes: Names of the classes; `None` if the publisher doesn't tell them.
        reference: The publisher's own network, as a function from a state dict and
            normalized images ``(n, height, width, 3)`` to logits ``(n, classes)``; `None`
            if there is none.
    """

    weights: pathlib.Path | State
    preprocessing: Preprocessing
    origin: str
    sha256: str | None = None
    classes: tuple[str, ...] | None = None
    reference: Callable[[State, np.ndarray], np.ndarray] | None = None


def refuse(weights: str, network: str, known: str) -> NoReturn:
    """Raises the `ValueError` for weights that a publisher doesn't have for a network.

    Args:
        weights: What the user asked for.
        network: Name of the network.
        known: A sentence that tells what there is.
    """
    raise ValueError(
        f"The weights must be published for the network {network!r}. "
        f"Received: {weights!r}. {known}"
    )


def imagenet(**changes: Any) -> Preprocessing:
    """Returns the usual preprocessing for ImageNet, with some of its fields changed."""
    values: dict[str, Any] = {
        "channels": 3,
        "resize": 256,
        "size": (224, 224),
        "mean": IMAGENET_MEAN,
        "std": IMAGENET_STD,
        "crop_rounding": CROP_ROUNDING["torchvision"],
        "exif_orientation": False,
    }
    return Preprocessing(**(values | changes))


def download(url: str, digest: str | None = None) -> tuple[pathlib.Path, str]:
    """Downloads a file unless it is in Keras's cache, and checks it.

    Args:
        url: URL of the file.
        digest: Its SHA-256 in hexadecimal digits, or how it begins. By default, what the
            file's name ends with.

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


def checked(path: str | os.PathLike[str], digest: str) -> str:
    """Returns the SHA-256 of a file, which must begin with ``digest``.

    Raises:
        ValueError: If it doesn't. The file is removed.
    """
    found = sha256_of(path)
    if not found.startswith(digest):
        os.remove(path)
        raise ValueError(
            f"{path} must have a SHA-256 of {digest}{'…' * (len(digest) < 64)}, and has "
            f"{found}: it was damaged or replaced, and has been removed. Run the same "
            "again to download it anew."
        )
    return found


def no_network(what: str, error: Exception) -> ConnectionError:
    """Makes the error for something that can't be downloaded, with advice what to do.

    Args:
        what: URL of a file, or the library's name for it.
        error: What was raised. Keras's message has the URL of its file.
    """
    found = re.search(r"https?://\S+/([\w.-]+\.(?:pth|th|h5))", f"{what} {error}")
    reason = (str(error).strip() or type(error).__name__).splitlines()[0]
    reason = reason.rpartition(" -- ")[2]  # Keras's message repeats the URL before.
    cache = keras_home() / "models"
    advice = (
        f"copy it to {cache / found[1]}"
        if found
        else "copy its library's cache here (of the Hugging Face hub $HF_HOME, else "
        "~/.cache/huggingface; of kagglehub $KAGGLEHUB_CACHE, else ~/.cache/kagglehub), "
        "or give a file as the weights"
    )
    if found and found[1].endswith((".pth", ".th")):
        advice += ", or give its path as the weights"
    return ConnectionError(
        f"{found[0] if found else what} can't be downloaded ({reason}). "
        f"Download it where there is a network and {advice}."
    )


def from_hub(repository: str) -> tuple[pathlib.Path, str]:
    """Downloads ``model.safetensors`` of a repository on the Hugging Face hub.

    The hub's cache names a file by its SHA-256 and links to it, so the file is checked
    against its name. On Windows without links there is nothing to check against.

    Returns:
        Path of the file, and its SHA-256.

    Raises:
        ValueError: If the file has another SHA-256. It is removed from the cache.
        ConnectionError: If it can't be downloaded.
    """
    hub = imported("huggingface_hub", repository)
    try:
        path = pathlib.Path(hub.hf_hub_download(repository, "model.safetensors"))
    except (
        OSError
    ) as error:  # All that huggingface_hub raises without a network is one.
        raise no_network(f"https://huggingface.co/{repository}", error) from error
    stored = path.resolve()
    return path, checked(stored, stored.name if len(stored.name) == 64 else "")


def by_library(weights: str, load: Callable[[], Any]) -> Any:
    """Calls a library's function that downloads weights.

    Args:
        weights: Name of the weights, for the message.
        load: The library's function.

    Returns:
        What ``load`` returns.

    Raises:
        ConnectionError: If the weights can't be downloaded.
        ImportError, ValueError: As ``load`` raises them.
    """
    try:
        return load()
    except (ImportError, ValueError):
        raise
    except Exception as error:  # `get_file` raises bare ones, kagglehub many kinds.
        raise no_network(weights, error) from error
