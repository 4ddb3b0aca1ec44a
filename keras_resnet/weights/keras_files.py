"""Reads Keras's files: ``.keras``, ``.weights.h5`` and the older ``.h5``.

Names, arrays and configurations are read, and nothing is built of them.
"""

import contextlib
import io
import json
import pathlib
import zipfile
from collections.abc import Iterator
from typing import Any

import numpy as np

from keras_resnet.config.architectures import network_of
from keras_resnet.config.preprocessing import Preprocessing
from keras_resnet.config.spec import ResNetSpec
from keras_resnet.weights.files import from_bfloat16
from keras_resnet.weights.kinds import check_expansion

# The classifiers of our networks, of keras.applications and of KerasHub.
CLASSIFIERS = ("logits", "predictions")
# Variables of Keras's layers in the order of its files, by the first one's dimensions.
NORMALIZATION = ("gamma", "beta", "moving_mean", "moving_variance")
LINEAR = ("kernel", "bias")


def read_config(path: pathlib.Path) -> dict[str, Any]:
    """Reads the configuration of the model in a ``.keras`` file, without its weights."""
    with zipfile.ZipFile(path) as archive:
        return json.loads(archive.read("config.json"))["config"]


def is_detector(path: pathlib.Path) -> bool:
    """Whether a ``.keras`` file holds a detector of ours, `detection.FasterRCNN`."""
    try:
        return "detector" in read_config(path)
    except (zipfile.BadZipFile, OSError, KeyError, ValueError):
        return False  # It is something else, or damaged.


def has_detectors_weights(path: pathlib.Path) -> bool:
    """Whether a ``.keras`` or ``.weights.h5`` file holds weights of a detector of ours."""
    if zipfile.is_zipfile(path):
        return is_detector(path)
    try:
        with _hdf5(path) as stored:
            return "features" in stored and "box_head" in stored
    except OSError:
        return False  # It is something else, or damaged.


def told_by_config(path: pathlib.Path) -> tuple[str, int | None]:
    """Reads which model a ``.keras`` file holds, without building it.

    Returns:
        The model's name, and the number of its classes; `None` without a classifier.

    Raises:
        ValueError: If it isn't a file of a model, or is damaged.
    """
    try:
        config = read_config(path)
        if "layers" not in config:  # KerasHub's tasks, or a class of somebody's own.
            return config["name"], config.get("num_classes")
        layers = [layer["config"] for layer in config["layers"]]
        units = [one["units"] for one in layers if one["name"] in CLASSIFIERS]
        return config["name"], units[0] if units else None
    except Exception as error:  # Zip files and JSON raise many kinds.
        raise ValueError(
            f"{path} must be a whole .keras file of a network of ours. Reading it failed "
            f"with {type(error).__name__}: {error}"
        ) from error


def image_converter_in(path: pathlib.Path) -> dict[str, Any] | None:
    """Reads how a ``.keras`` file of KerasHub prepares images.

    Returns:
        The configuration of its ``ImageConverter``; `None` if it has none.
    """
    preprocessor = read_config(path).get("preprocessor") or {}
    converter = preprocessor.get("config", {}).get("image_converter") or {}
    return converter.get("config")


def told_beside(
    path: pathlib.Path,
) -> tuple[str | None, ResNetSpec | None, list[str] | None, Preprocessing | None]:
    """Reads what the file beside a ``model.keras`` tells about it.

    A run has ``record.json`` there, a converted network ``source.json``.

    Returns:
        The network's name and spec, the names of its classes, and its preprocessing. All
        are `None` for any other file.

    Raises:
        ValueError: If the file beside it doesn't tell the preprocessing.
    """
    for name in ("source.json", "record.json") if path.name == "model.keras" else ():
        file = path.with_name(name)
        if file.is_file():
            try:
                says = json.loads(file.read_text(encoding="utf-8"))
                preprocessing = Preprocessing.from_json(says["preprocessing"])
                network, classes = says.get("network"), says.get("classes")
                return network, network_of(says), classes, preprocessing
            except (ValueError, KeyError, TypeError) as error:
                raise ValueError(
                    f"{file} must tell what images go through before {path.name}, and it "
                    f"doesn't ({error!r}). Put it right, or move {path.name} elsewhere."
                ) from error
    return None, None, None, None


def layers_in(path: pathlib.Path) -> tuple[dict[str, bool], dict[str, Any]]:
    """Reads which layers a ``.keras`` or ``.weights.h5`` file has.

    Returns:
        A dict from each layer's name to whether it has weights; it is empty if the file
        has no names. And a dict from a layer's name to its strides, which
        ``.weights.h5`` files don't have.
    """
    strides = {}
    if zipfile.is_zipfile(path):
        configs = [layer["config"] for layer in read_config(path)["layers"]]
        strides = {c["name"]: c["strides"] for c in configs if c.get("strides")}
    with _hdf5(path) as stored:
        groups = [group["vars"] for group in stored["layers"].values()]
        names = {v.attrs["name"]: len(v) > 0 for v in groups if "name" in v.attrs}
    return names, strides


def is_older(path: pathlib.Path) -> bool:
    """Tells whether a file is of the kind that Keras 2 wrote, and 3 to ``.h5`` files."""
    with _hdf5(path) as stored:
        return _is_older(stored)


def arrays_in(path: pathlib.Path) -> dict[str, np.ndarray]:
    """Reads the arrays of all layers in a Keras file, those of models within models too.

    Args:
        path: A ``.keras``, ``.weights.h5`` or ``.h5`` file.

    Returns:
        From ``layer/variable`` to array, in Keras's layout. Empty if the file has no
        names of layers, as Keras wrote them in the beginning of its version 3.

    Raises:
        ValueError: If the file is damaged, or would take much more memory than its size.
    """
    try:
        with _hdf5(path) as stored:
            found = dict(_older(stored) if _is_older(stored) else _layers(stored))
            for one in found.values():
                if one.external or one.is_virtual or one.file != stored:
                    raise ValueError(
                        f"{path} must hold its arrays itself. Received: one that is in "
                        "another file."
                    )
            check_expansion(path, sum(one.nbytes for one in found.values()))
            return {name: _values(one) for name, one in found.items()}
    except (OSError, KeyError, RuntimeError, zipfile.BadZipFile) as error:
        raise ValueError(
            f"{path} must be a whole file of weights that Keras wrote. Reading it failed "
            f"with {type(error).__name__}: {error}"
        ) from error


@contextlib.contextmanager
def _hdf5(path: pathlib.Path) -> Iterator[Any]:
    import h5py

    file: Any = path
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            file = io.BytesIO(archive.read("model.weights.h5"))
    with h5py.File(file) as stored:
        yield stored


def _values(stored):
    array = np.asarray(stored)
    return from_bfloat16(array) if array.dtype == "V2" else array


def _is_older(stored):
    """Whether it is of Keras 2 or of `save` to an ``.h5`` file, which go by names."""
    return "model_weights" in stored or "layer_names" in stored.attrs


def _older(stored):
    weights = stored["model_weights"] if "model_weights" in stored else stored
    for layer in map(_text, weights.attrs["layer_names"]):
        for name in map(_text, weights[layer].attrs["weight_names"]):
            parts = name.partition(":")[0].split("/")  # Keras 2 ends names with ":0".
            key = "/".join(parts[-2:]) if len(parts) > 1 else f"{layer}/{parts[0]}"
            yield key, weights[layer][name]


def _text(value):
    return value.decode() if isinstance(value, bytes) else str(value)


def _layers(group):
    """The variables of the layers in a group, and in the groups within."""
    for name, inside in group.items():
        if name in ("optimizer", "vars") or not hasattr(inside, "items"):
            continue
        variables = inside.get("vars", {})
        layer = variables.attrs.get("name") if len(variables) else None
        if layer is not None:
            held = [variables[str(index)] for index in range(len(variables))]
            kinds = LINEAR if held[0].ndim > 1 else NORMALIZATION
            for index, one in enumerate(held):
                kind = kinds[index] if len(held) <= len(kinds) else str(index)
                yield f"{layer}/{kind}", one
        yield from _layers(inside)
