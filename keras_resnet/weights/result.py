"""Weights that have been read, and everything that their source tells about them."""

import pathlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from keras_resnet.config.preprocessing import Preprocessing
from keras_resnet.config.spec import ResNetSpec
from keras_resnet.weights.conventions import State


@dataclass(frozen=True)
class Reference:
    """A network of the weights' own library, to compare logits with.

    Attributes:
        library: Its name, e.g. ``"torchvision"``.
        logits: From normalized images ``(n, height, width, channels)`` to logits
            ``(n, classes)``, both float32.
    """

    library: str
    logits: Callable[[np.ndarray], np.ndarray]


def no_reference() -> Reference | None:
    """The reference of weights whose library has no network to compare with."""
    return None


@dataclass(frozen=True, kw_only=True)
class Weights:
    """Weights that have been read, and everything their source tells about them.

    Either ``state`` and ``form`` are set, or ``keras_file`` is.

    Attributes:
        name: The source as the user named it.
        origin: URL or absolute path of the source, or its library's name for it.
        sha256: Of the file, in hexadecimal digits; `None` if there is no file here.
        network: Name of the network that the weights belong to.
        spec: The `ResNetSpec` of this network.
        state: The arrays by the source's own names, in the source's layout.
        form: The format of these names and arrays, a key of `conventions.FORMATS`.
        keras_file: Path of a ``.keras`` or ``.weights.h5`` file, which Keras reads itself
            when a network is filled with it.
        preprocessing: What images go through before these weights; `None` if unknown.
        assumed: Whose preprocessing this is, where the source doesn't tell its own; `None`
            where it does, or nothing is known.
        choice: A sentence that tells which of several networks' weights these are; `None`
            if there was no choice.
        classes: Names of the classes in the order of the logits; ``"0"``, ``"1"``, … if
            the source tells only their number, `None` if it doesn't tell that either.
        reference: Returns the `Reference` to compare with, or `None` without one. It is
            a function since it imports the library.
    """

    name: str
    origin: str
    sha256: str | None
    network: str
    spec: ResNetSpec
    state: State | None = None
    form: str | None = None
    keras_file: pathlib.Path | None = None
    preprocessing: Preprocessing | None = None
    assumed: str | None = None
    choice: str | None = None
    classes: tuple[str, ...] | None = None
    reference: Callable[[], Reference | None] = no_reference
