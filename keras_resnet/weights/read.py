"""Reads weights of every kind, without building a network.

`read` is the one place that tells the kinds of sources apart. `weights.load` puts what
was read into a network of ours, `runs.convert` writes it in another form.
"""

import os
import pathlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np

from keras_resnet.config.architectures import ARCHITECTURES
from keras_resnet.config.lookup import find
from keras_resnet.config.preprocessing import Preprocessing
from keras_resnet.config.spec import ResNetSpec
from keras_resnet.files import local_path, sha256_of
from keras_resnet.weights import caffe, darknet, sources
from keras_resnet.weights.conventions import FORMATS, State, recognized
from keras_resnet.weights.files import (
    read_state_dict,
    told_beside,
    told_by_config,
)
from keras_resnet.weights.sources_torch import torch_reference

# Files that don't hold a dict of named arrays, by suffix: their reader, which needs the
# network's spec, and the preprocessing of the networks that are published so.
BINARY = {
    ".weights": (darknet.read, darknet.PREPROCESSING),
    ".caffemodel": (caffe.read, caffe.PREPROCESSING),
}
# The libraries whose networks take a state dict in this format as it is.
LIBRARIES = {
    "torchvision": ("torchvision", "timm"),
    "timm_v2": ("timm",),
    "timm_darknet": ("timm",),
}


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
    classes: tuple[str, ...] | None = None
    reference: Callable[[], Reference | None] = no_reference


def read(
    source: str | os.PathLike[str] | State,
    network: str | None = None,
    spec: ResNetSpec | None = None,
) -> Weights:
    """Reads weights from a publisher, a file, the folder of a run or a state dict.

    Args:
        source: One of:

            - published weights as ``"source:tag"``, such as
              ``"torchvision:IMAGENET1K_V2"``; see `weights.sources.fetch`;
            - the path of a ``.keras`` or ``.weights.h5`` file of a network of ours, of a
              ``.safetensors``, ``.pth``, ``.pt``, ``.th`` or ``.npz`` file with a state
              dict in one of `conventions.FORMATS`, of darknet's ``.weights`` or of
              Caffe's ``.caffemodel``;
            - the folder of a finished run, or one that `keras-resnet convert` wrote;
            - a state dict, from name to tensor or array.
        network: Name of the network that the weights belong to. It may be left out if
            the source tells it: a run's folder, a ``.keras`` file, most tags of timm and
            KerasHub.
        spec: The network's `ResNetSpec` if it is another than the published one of this
            name, as where some options have been changed.

    Returns:
        The `Weights`.

    Raises:
        FileNotFoundError: If there is no such file or folder.
        ConnectionError: If published weights can't be downloaded.
        ImportError: If the library that publishes or reads them isn't installed.
        ValueError: If the source is of no such kind, is damaged, or if it isn't known
            which network the weights belong to.
    """
    if sources.is_published(source):
        return _read_published(source, network, spec)
    if isinstance(source, Mapping):
        network, spec = _row(network, spec, "A state dict")
        facts = {"name": "a state dict", "origin": "a state dict", "sha256": None}
        return _with_state(source, recognized(source, spec), network, spec, facts)
    if not isinstance(source, (str, os.PathLike)):
        raise ValueError(f"{_what_weights_may_be()} Received: {source!r}.")
    path = local_path(source)
    if path.is_dir():
        return _read_folder(path, network, spec)
    if not path.is_file():
        raise FileNotFoundError(f"{_what_weights_may_be()} No file at {path}.")
    if path.name.endswith((".keras", ".weights.h5")):
        return _read_keras_file(path, network, spec)
    network, spec = _row(network, spec, path)
    if path.suffix in BINARY:
        reader, preprocessing = BINARY[path.suffix]
        state = reader(path, spec)
        facts = _facts_of(path) | {"preprocessing": preprocessing}
        return _with_state(state, "own", network, spec, facts)
    state = read_state_dict(path)
    return _with_state(state, recognized(state, spec), network, spec, _facts_of(path))


# --- The kinds of sources ---------------------------------------------------------


def _read_published(source, network, spec):
    if spec is None:
        network, spec = _row(network or sources.network_of(source), None, source)
    found = sources.fetch(source, network, spec)
    state = found.weights
    if isinstance(state, pathlib.Path):
        state = read_state_dict(state)
    form = recognized(state, spec)

    def reference():
        if found.reference is None:
            return None
        return Reference(source.partition(":")[0], partial(found.reference, state))

    return Weights(
        name=source,
        origin=found.origin,
        sha256=found.sha256,
        network=network,
        spec=spec,
        state=state,
        form=form,
        preprocessing=found.preprocessing,
        classes=_class_names(found.classes, _classes_in(state, form, spec)),
        reference=reference,
    )


def _read_folder(folder, network, spec):
    """A run's ``model.keras``, with what ``record.json`` or ``source.json`` tells."""
    path = folder / "model.keras"
    if not path.is_file():
        raise FileNotFoundError(
            "A folder of weights must be that of a finished run, or one that "
            f"`keras-resnet convert` wrote. No file at {path}."
        )
    return _read_keras_file(path, network, spec, folder)


def _read_keras_file(path, network, spec, folder=None):
    told = number = None
    if path.suffix == ".keras":
        told, number = told_by_config(path)
    beside, beside_spec, classes, preprocessing = told_beside(path)
    if spec is None:
        if folder is not None and network not in (None, beside):
            raise ValueError(
                f"The run in {folder} has the network {beside!r}: leave `network` "
                f"(--network) out. Received: network={network!r}."
            )
        network = network or beside or (told if told in ARCHITECTURES else None)
        own = beside_spec if network == beside else None
        network, spec = _row(network, own, folder or path)
    facts = _facts_of(path)
    if folder is not None:
        facts |= {"name": str(folder), "origin": str(folder.resolve())}
    return Weights(
        **facts,
        network=network,
        spec=spec,
        keras_file=path,
        preprocessing=preprocessing,
        classes=_class_names(classes, number),
    )


def _with_state(state, form, network, spec, facts):
    """A state dict, to compare with the library whose names it has if that is here."""

    def reference():
        for library in LIBRARIES.get(form, ()):
            theirs = torch_reference(library, network, spec)
            if theirs is not None:
                return Reference(library, partial(theirs, state))
        return None

    return Weights(
        **facts,
        network=network,
        spec=spec,
        state=state,
        form=form,
        classes=_class_names(None, _classes_in(state, form, spec)),
        reference=reference,
    )


# --- What a source tells ----------------------------------------------------------


def _row(network, spec, source):
    """The network that weights belong to, and its spec."""
    if spec is not None:
        return network, spec
    if network is None:
        raise ValueError(
            f"{source} doesn't tell which network its weights belong to: say so with "
            "`network` (--network). `keras-resnet list` lists the names."
        )
    return network, find(ARCHITECTURES, network, kind="network")


def _facts_of(path):
    return {
        "name": str(path),
        "origin": str(path.resolve()),
        "sha256": sha256_of(path),
    }


def _classes_in(state, form, spec):
    """How many classes the classifier in a state dict tells apart; `None` without one."""
    key = FORMATS[form].key(spec, "logits", "bias")
    for name, value in state.items():
        if str(name).removeprefix("module.") == key and np.ndim(value) == 1:
            return len(value)
    return None


def _class_names(names, number):
    """The names if there is one for each class, else the numbers as names."""
    if number is None:
        return None
    if names is None or len(names) != number:
        return tuple(map(str, range(number)))
    return tuple(names)


def _what_weights_may_be():
    return (
        "Weights must be a file, the folder of a run, a state dict (name -> tensor or "
        f"array) or 'source:tag' with one of the sources {', '.join(sources.SOURCES)}."
    )
