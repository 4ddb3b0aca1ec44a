"""Reads weights of every kind, without building a network.

`read` is the one place that tells the kinds of sources apart. `weights.load` puts what
was read into a network of ours, `runs.convert` writes it in another form.
"""

import os
import pathlib
from collections.abc import Mapping
from dataclasses import replace
from functools import partial

from keras_resnet.config.architectures import ARCHITECTURES
from keras_resnet.config.lookup import find
from keras_resnet.config.spec import ResNetSpec
from keras_resnet.files import damage_of, local_path, sha256_of
from keras_resnet.weights import caffe, darknet, keras_files, sources
from keras_resnet.weights.checkpoints import weights_in
from keras_resnet.weights.conventions import (
    State,
    classes_in,
    fitting_names,
    recognized,
)
from keras_resnet.weights.facts import (
    Told,
    classes_by_format,
    names_or_numbers,
    told_by_format,
)
from keras_resnet.weights.files import as_array, read_checkpoint
from keras_resnet.weights.kinds import kind_of
from keras_resnet.weights.notes import warn
from keras_resnet.weights.result import Reference, Weights
from keras_resnet.weights.sources_keras import kerashub_preprocessing, network_called
from keras_resnet.weights.sources_torch import published_file, torch_reference

# Files that have no names: their readers, which need the network's spec, and the
# preprocessing of the networks that are published so.
BINARY = {
    "darknet": (darknet.read, darknet.PREPROCESSING),
    "caffe": (caffe.read, caffe.PREPROCESSING),
}
# The libraries whose networks take a state dict in this format as it is.
LIBRARIES = {
    "torchvision": ("torchvision", "timm"),
    "timm_v2": ("timm",),
    "timm_darknet": ("timm",),
}


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
            - the path of a file of Keras's (``.keras``, ``.weights.h5``, ``.h5``),
              PyTorch's (of any suffix), NumPy's (``.npz``) or safetensors, with weights
              in one of `conventions.FORMATS`; of darknet's ``.weights`` or of Caffe's
              ``.caffemodel``;
            - the folder of a finished run, or one that `keras-resnet convert` wrote;
            - a state dict, from name to tensor or array, or what a trainer saved around
              one, as `checkpoints.weights_in` finds it.
        network: Name of the network that the weights belong to. It may be left out if
            the source tells it: a run's folder, a ``.keras`` file, most tags of timm and
            KerasHub.
        spec: The network's `ResNetSpec` if it is another than the published one of this
            name, as where some options have been changed.

    Returns:
        The `Weights`.

    Warns:
        UserWarning: If a checkpoint holds more than one network's weights, or if the
            preprocessing had to be assumed.

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
        found = _found_in(source, spec, "The dict")
        facts = {"name": "a state dict", "origin": "a state dict", "sha256": None}
        facts["choice"] = found.choice
        return _of_form(
            recognized(found.state, spec), found.state, network, spec, facts
        )
    if not isinstance(source, (str, os.PathLike)):
        raise ValueError(f"{_what_weights_may_be()} Received: {source!r}.")
    path = local_path(source)
    if path.is_dir():
        return _read_folder(path, network, spec)
    if not path.is_file():
        raise FileNotFoundError(f"{_what_weights_may_be()} No file at {path}.")
    kind = kind_of(path)
    if kind in ("keras", "hdf5"):
        return _read_keras_file(path, kind, network, spec)
    network, spec = _row(network, spec, path)
    if kind in BINARY:
        reader, preprocessing = BINARY[kind]
        told = Told(preprocessing)
        return _of_form(
            "own", reader(path, spec), network, spec, _facts_of(path), told, kind
        )
    found = _found_in(read_checkpoint(path), spec, path)
    if not found.state:
        raise ValueError(
            f"{path} must hold a state dict, of tensors by their names. Received: none in "
            "it."
        )
    state = {name: as_array(value) for name, value in found.state.items()}
    form, facts = recognized(state, spec), _facts_of(path) | {"choice": found.choice}
    published = published_file(path, facts["sha256"], network, spec)
    told = published and Told(published.preprocessing)
    weights = _of_form(form, state, network, spec, facts, told)
    if published is None:
        return weights
    number = weights.classes and len(weights.classes)
    return replace(weights, classes=names_or_numbers(published.classes, number))


# --- The kinds of sources ---------------------------------------------------------


def _read_published(source, network, spec):
    if spec is None:
        network, spec = _row(network or sources.network_of(source), None, source)
    found = sources.fetch(source, network, spec)
    state = found.weights
    if isinstance(state, pathlib.Path):
        state = _found_in(read_checkpoint(state), spec, state).state
        state = {name: as_array(value) for name, value in state.items()}
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
        classes=names_or_numbers(found.classes, classes_in(state, form, spec)),
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
    return _read_keras_file(path, "keras", network, spec, folder)


def _read_keras_file(path, kind, network, spec, folder=None):
    called = number = None
    if kind == "keras":
        # Keras reads weights with flipped bits as if nothing were wrong.
        if found := damage_of(path):
            raise ValueError(f"{path} must be a whole .keras file, and {found}.")
    if keras_files.has_detectors_weights(path):
        raise ValueError(
            f"{path} holds a detector: a classifier must begin with a classifier's "
            "weights."
        )
    if kind == "keras":
        name, number = keras_files.told_by_config(path)
        called = network_called(name)
    beside, beside_spec, classes, preprocessing = keras_files.told_beside(path)
    if spec is None:
        if folder is not None and network not in (None, beside):
            raise ValueError(
                f"The run in {folder} has the network {beside!r}: leave `network` "
                f"(--network) out. Received: network={network!r}."
            )
        network = network or beside or called
        own = beside_spec if network == beside else None
        network, spec = _row(network, own, folder or path)
    facts = _facts_of(path)
    if folder is not None:
        facts |= {"name": str(folder), "origin": str(folder.resolve())}
    arrays = keras_files.arrays_in(path)
    # Without names, as at the beginning of Keras 3, a file is taken for one of ours.
    form = recognized(arrays, spec) if fitting_names(arrays, spec) else "own"
    if form != "own" or keras_files.is_older(path):
        converter = keras_files.image_converter_in(path) if kind == "keras" else None
        told = Told(kerashub_preprocessing(converter)) if converter else None
        return _of_form(form, arrays, network, spec, facts, told)
    return Weights(
        **facts,
        network=network,
        spec=spec,
        keras_file=path,
        preprocessing=preprocessing,
        classes=names_or_numbers(classes, number),
    )


def _found_in(checkpoint, spec, source):
    """The state dict in what a trainer saved, with a warning where there are several."""
    found = weights_in(checkpoint, partial(fitting_names, spec=spec))
    if found.choice:
        warn(f"{source}: {found.choice}")
    return found


def _of_form(form, state, network, spec, facts, told=None, kind=None):
    """A state dict in a format, to compare with the library whose names it has.

    What is told of the preprocessing is the format's, unless the file has its own.
    """
    told = told or told_by_format(form, spec)
    if told.assumed:
        warn(
            f"{facts['name']} doesn't tell how its images were prepared: assumed is "
            f"{told.assumed}. If it was another way, set `model.preprocessing`, or correct "
            "the folder that `keras-resnet convert` makes of it."
        )

    def reference():
        for library in LIBRARIES.get(form, ()):
            theirs = torch_reference(library, network, spec)
            if theirs is not None:
                return Reference(library, partial(theirs, state))
        return None

    number = classes_in(state, form, spec)
    names = None if number is None else classes_by_format(kind or form, spec, number)
    return Weights(
        **facts,
        network=network,
        spec=spec,
        state=state,
        form=form,
        preprocessing=told.preprocessing,
        assumed=told.assumed,
        classes=names_or_numbers(names, number),
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
    origin = str(path.resolve())
    return {"name": str(path), "origin": origin, "sha256": sha256_of(path)}


def _what_weights_may_be():
    return (
        "Weights must be a file, the folder of a run, a state dict (name -> tensor or "
        f"array) or 'source:tag' with one of the sources {', '.join(sources.SOURCES)}."
    )
