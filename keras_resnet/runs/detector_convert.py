"""Writes a detector's weights in another form: `runs.convert.convert` for detectors."""

from __future__ import annotations

import json
import os
import pathlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np

from keras_resnet.config.box_batches import BoxBatches
from keras_resnet.config.class_names import check_class_names
from keras_resnet.config.detectors import DETECTORS
from keras_resnet.config.values import to_values
from keras_resnet.data import sources
from keras_resnet.detection import FasterRCNN
from keras_resnet.detection.own_files import keras_file
from keras_resnet.detection.torch_reference import logits
from keras_resnet.detection.weights import (
    classes_of,
    load_weights,
    state_dict_in,
    to_state_dict,
)
from keras_resnet.files import local_path, sha256_of
from keras_resnet.models import saved
from keras_resnet.runs import converted, environment
from keras_resnet.runs.converted import Converted
from keras_resnet.runs.detector_load import (
    is_detector,
    settings_of,
)
from keras_resnet.runs.load import load
from keras_resnet.weights import keras_files
from keras_resnet.weights.files import write_state_dict
from keras_resnet.weights.sources import is_published


@dataclass(frozen=True)
class Found:
    """A detector that was read, and where it is from.

    Attributes:
        model: A `FasterRCNN`; its ``class_names`` are those that the source told.
        settings: How its images are resized.
        source: What the user named.
        sha256: Of the file, `None` where it was downloaded or in a folder.
    """

    model: keras.Model
    settings: BoxBatches
    source: str
    sha256: str | None


def means_detector(source: str | os.PathLike[str], network: str | None) -> bool:
    """Whether `convert` is asked for a detector: by its name, or by what the source is.

    Args:
        source: Published weights, a file or a folder.
        network: Name of a network or detector, or `None`.
    """
    if network in DETECTORS or is_published(source):
        return network in DETECTORS
    return is_detector(source) or keras_files.is_detector(source)


def convert(
    source: str | os.PathLike[str],
    out: pathlib.Path,
    network: str | None,
    to: str | None,
    classes: str | os.PathLike[str] | Sequence[str] | None,
) -> Converted:
    """`runs.convert.convert` of a detector, once ``out`` is checked.

    Args:
        source: As of `read`, as is ``network``.
        out: Of what is written.
        network: The detector's name, or `None`.
        to: ``"torchvision"``, whose names a state dict has anyway, or `None`.
        classes: As of `runs.convert.convert`.

    Returns:
        What was written and compared.

    Raises:
        ValueError: If the weights don't fit the detector, or can't be written so.
    """
    if to not in (None, "torchvision"):
        raise ValueError(
            "A detector's state dict is in torchvision's names: `to` (--to) must be "
            f"torchvision, or be left out. Received: to={to!r}."
        )
    given = None if classes is None else converted.names_of(classes)
    found = read(source, network, given)
    if given is not None:
        given = converted.named(given, found.model.num_classes)
    if not out.suffix:
        name_classes(found, given)
    done = Converted(path=out, network=found.model.spec.name)
    if both := difference(found):
        done = replace(done, library="torchvision", difference=both[0], largest=both[1])
    converted.write(
        out,
        lambda path: write_file(found, path),
        lambda folder: write_folder(found, converted.comparison(done), folder),
    )
    return done


def read(
    source: str | os.PathLike[str],
    network: str | None,
    classes: Sequence[str] | None = None,
) -> Found:
    """Reads a detector from published weights, a file, or the folder of a run.

    Args:
        source: As of `detection.weights.load_weights`.
        network: Name of a row of `DETECTORS`, where the source doesn't tell it.
        classes: Names of the classes, if they are given: a ``.weights.h5`` file doesn't
            tell how many there are.

    Raises:
        FileNotFoundError: If there is no such source.
        ValueError: If the weights are another detector's.
    """
    if is_published(source):
        model = FasterRCNN(network, weights=source)
        return Found(model, settings_of(model.spec), str(source), None)
    path = local_path(source)
    digest = sha256_of(path) if path.is_file() else None
    if is_detector(path):
        found = load(path)
        model, settings = found.model, found.batches
        model.class_names = found.classes
    else:
        model = _of_file(path, network, classes)
        settings = settings_of(model.spec)
    if network not in (None, model.spec.name):
        raise ValueError(
            f"`network` (--network) must be that of {path}, {model.spec.name!r}, or be "
            f"left out. Received: network={network!r}."
        )
    return Found(model, settings, str(source), digest)


def _of_file(path, network, classes):
    """The detector of which a file holds the weights."""
    if keras_files.is_detector(path):
        return keras_file(path)
    number = len(classes) if classes else None
    if path.is_file() and path.suffix != ".h5":
        number = classes_of(state_dict_in(path))
    model = FasterRCNN(network, num_classes=number, frozen=True)
    load_weights(model, path)
    return model


def name_classes(found: Found, classes: Sequence[str] | None) -> tuple[str, ...]:
    """Gives a detector the names of its classes: those given, its own, or numbers.

    Args:
        found: The detector, which keeps the names.
        classes: As many names as it has classes, or `None`.

    Raises:
        ValueError: If they aren't names, each once.
    """
    model = found.model
    names = classes or model.class_names or map(str, range(model.num_classes))
    names = tuple(names)
    check_class_names(names)
    model.class_names = names
    return names


def difference(found: Found) -> tuple[float, float] | None:
    """How far a detector's logits are from torchvision's, on a bundled image.

    Args:
        found: The detector.

    Returns:
        The greatest difference, and the greatest of torchvision's logits; `None` if
        torchvision isn't installed or doesn't have this detector.
    """
    grey = sources.load("fashion_mini").test.images[:48, ..., 0]
    tiled = grey.reshape(3, 4, 4, 28, 28).transpose(1, 3, 2, 4, 0)
    image = np.pad(tiled.reshape(112, 112, 3), [(0, 16), (0, 16), (0, 0)], "edge")
    both = logits(found.model, image)
    if both is None:
        return None
    ours, theirs = both
    return float(np.abs(ours - theirs).max()), float(np.abs(theirs).max())


def write_file(found: Found, path: pathlib.Path) -> None:
    """Writes a detector as a file of Keras's, or its state dict in torchvision's names.

    Args:
        found: The detector.
        path: A ``.keras``, ``.weights.h5``, ``.safetensors``, ``.npz`` or ``.pth`` file.

    Raises:
        ValueError: If torchvision has no such backbone.
    """
    if path.suffix == ".keras":
        saved.save(found.model, path)
    elif path.suffix == ".h5":
        found.model.save_weights(path)
    else:
        write_state_dict(to_state_dict(found.model), path)


def write_folder(
    found: Found, compared: Mapping[str, Any], folder: pathlib.Path
) -> None:
    """Writes a detector as a folder that works like a run's.

    Args:
        found: The detector, which has names of classes.
        compared: What ``source.json`` says of the comparison with the source.
        folder: The folder, which exists.
    """
    saved.save(found.model, folder / "model.keras")
    source = {
        "network": found.model.spec.name,
        "network_values": to_values(found.model.spec),
        "source": found.source,
        "sha256": found.sha256,
        **compared,
        "preprocessing": to_values(found.settings),
        "classes": list(found.model.class_names),
        "versions": environment.versions(),
    }
    text = json.dumps(source, indent=2, ensure_ascii=False) + "\n"
    (folder / "source.json").write_text(text, encoding="utf-8")
