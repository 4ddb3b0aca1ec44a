"""A network with weights from anywhere, and what is known of them."""

import hashlib
import pathlib
from collections.abc import Callable
from dataclasses import dataclass

import keras

from keras_resnet import applications
from keras_resnet.config.architectures import ARCHITECTURES
from keras_resnet.config.lookup import find
from keras_resnet.config.preprocessing import Preprocessing
from keras_resnet.models.resnet import allow_depth, with_channels
from keras_resnet.runs import load as runs
from keras_resnet.weights import sources
from keras_resnet.weights.conventions import FORMATS
from keras_resnet.weights.files import read_state_dict
from keras_resnet.weights.load import BINARY, preprocessing_beside, recognized
from keras_resnet.weights.sources_torch import torch_reference


@dataclass(frozen=True, kw_only=True)
class Source:
    """A network that has been loaded, and what is known of it.

    Attributes:
        model: Of ours, with the weights; gives logits.
        network: Key of `ARCHITECTURES`.
        classes: Names of the classes, in the order of the logits.
        name: As the user named it.
        origin: URL of the file, or its path.
        sha256: Of the file; `None` if there is none.
        library: What `reference` is of, e.g. ``"torchvision"``.
        reference: Images -> logits of the source's own network; `None` without one.
    """

    model: keras.Model
    network: str
    classes: tuple[str, ...]
    name: str
    origin: str
    sha256: str | None
    library: str | None = None
    reference: Callable | None = None

    @property
    def preprocessing(self) -> Preprocessing:
        """What the model's images go through."""
        return self.model.preprocessing


def load(source, network=None):
    """Loads weights from anywhere into a network of ours.

    Args:
        source: Published weights, as of `weights.sources.fetch`; a file, as of
            `weights.load.load_weights`; or the folder of a run.
        network: Key of `ARCHITECTURES`; may be left out where ``source`` says it.

    Returns:
        `Source`.

    Raises:
        FileNotFoundError, ValueError, ConnectionError, ImportError: If that can't be.
    """
    if sources.is_published(source):
        return _load_published(source, network)
    path = pathlib.Path(source)
    if path.is_dir():
        return _load_run(path, network)
    if not path.is_file():
        names = ", ".join(sources.SOURCES)
        raise FileNotFoundError(
            "The source must be a file, the folder of a run, or 'source:tag' with one of "
            f"the sources {names}. There is nothing at {path}."
        )
    return _load_file(path, network)


def _load_published(source, network):
    network, spec = _row(network or sources.network_of(source), source)
    found = sources.fetch(source, network, spec)
    state = found.weights
    if isinstance(state, pathlib.Path):
        state = read_state_dict(state)
    reference = found.reference
    model = _filled(network, state, _classes(state, spec), found.preprocessing)
    return Source(
        model=model,
        network=network,
        classes=_names(found.classes, model),
        name=source,
        origin=found.origin,
        sha256=found.sha256,
        library=source.partition(":")[0],
        reference=reference and (lambda images: reference(state, images)),
    )


def _load_run(folder, network):
    run = runs.load(folder)
    own = run.record["network"]
    if network not in (None, own):
        raise ValueError(
            f"The run in {folder} has the network {own!r}: leave `network` (--network) "
            f"out. Received: network={network!r}."
        )
    return Source(
        model=run.model,
        network=own,
        classes=run.classes,
        name=str(folder),
        origin=str(folder.resolve()),
        sha256=_sha256(folder / "model.keras"),
    )


def _load_file(path, network):
    library = reference = known = None
    if path.suffix == ".keras":
        network, state, classes = _of_keras_file(path, network)
        known = preprocessing_beside(path)
        network, spec = _row(network, path)
    else:
        network, spec = _row(network, path)
        classes, state = spec.classes, path
        if path.suffix in BINARY:
            known = BINARY[path.suffix].PREPROCESSING
        elif not path.name.endswith(".weights.h5"):
            state = read_state_dict(path)
            classes = _classes(state, spec)
    model = _filled(network, state, classes, known)
    if isinstance(state, dict):
        library, reference = _reference_of(model, state, network, spec)
    return Source(
        model=model,
        network=network,
        classes=_names(None, model),
        name=str(path),
        origin=str(path.resolve()),
        sha256=_sha256(path),
        library=library,
        reference=reference,
    )


def _of_keras_file(path, network):
    """Network, file and number of classes of a saved model."""
    allow_depth(max(spec.depth for spec in ARCHITECTURES.values()))
    try:
        saved = keras.saving.load_model(path, compile=False)
        named = saved.name if saved.name in ARCHITECTURES else None
        return network or named, path, saved.output_shape[-1]
    except Exception as error:  # Keras, zipfile and h5py raise many kinds.
        raise ValueError(
            f"{path} must be a whole .keras file of a network of ours. Keras said: {error}"
        ) from error


def _row(network, source):
    if network is None:
        raise ValueError(
            f"Of {source} it isn't known which network it is for: say so with `network` "
            "(--network); `keras-resnet list` names them."
        )
    return network, find(ARCHITECTURES, network, kind="network")


def _filled(network, weights, classes, prepare):
    """A network of ours with weights, for images as these weights want them."""
    shape = prepare and with_channels(prepare.size, prepare.channels)
    model = applications.create(
        network, weights=weights, classes=classes, input_shape=shape
    )
    if prepare is not None:
        model.preprocessing = prepare
    return model


def _classes(state, spec):
    """How many classes a state dict has a classifier for."""
    keys = {form.key(spec, "logits", "bias") for form in FORMATS.values()}
    for name, value in state.items():
        if name.removeprefix("module.") in keys:
            return len(value)
    return spec.classes


def _names(names, model):
    number = model.output_shape[-1]
    if names is None or len(names) != number:
        return tuple(map(str, range(number)))
    return tuple(names)


def _reference_of(model, state, network, spec):
    """The library whose names a file has, and its network's logits."""
    form = recognized(state, spec, model)
    libraries = {
        "torchvision": ("torchvision", "timm"),
        "timm_v2": ("timm",),
        "timm_darknet": ("timm",),
    }
    for name, candidates in libraries.items():
        for library in candidates if form is FORMATS[name] else ():
            theirs = torch_reference(library, network, spec)
            if theirs is not None:
                return library, lambda images: theirs(state, images)  # noqa: B023
    return None, None


def _sha256(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
