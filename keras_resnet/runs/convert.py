"""Writes weights from any source as one file, or as a folder that works like a run's.

The folder holds ``model.keras`` and ``source.json``, which tells where the weights are
from, their SHA-256, the preprocessing that they need and the names of their classes.
`runs.load.load` reads it.
"""

import json
import os
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import keras
import numpy as np

from keras_resnet import applications
from keras_resnet.config.architectures import ARCHITECTURES
from keras_resnet.config.values import to_values
from keras_resnet.data import sources
from keras_resnet.data.images import normalize, resize_and_crop
from keras_resnet.devices.precision import computing_in
from keras_resnet.files import local_path
from keras_resnet.models import saved
from keras_resnet.models.resnet import with_channels
from keras_resnet.runs import detector_convert, environment
from keras_resnet.runs.converted import Converted, comparison, named, write
from keras_resnet.runs.load import load_classifier as load
from keras_resnet.targets import check_place
from keras_resnet.weights.files import write_state_dict
from keras_resnet.weights.load import fill
from keras_resnet.weights.notes import assumed_of, warn_if_unknown
from keras_resnet.weights.read import read
from keras_resnet.weights.result import Reference
from keras_resnet.weights.sources_torch import torch_reference
from keras_resnet.weights.to_torch import to_state_dict

STATE_DICTS = (".safetensors", ".npz", ".pth")
IMAGES = 4  # The number of images on which logits are compared.


@computing_in("float32")
def convert(
    source: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    network: str | None = None,
    to: str | None = None,
    classes: str | os.PathLike[str] | Sequence[str] | None = None,
    overwrite: bool = False,
) -> Converted:
    """Writes weights in another form, and compares logits with those of their source.

    Args:
        source: Published weights, a file or the folder of a run, as `weights.read.read`
            takes them.
        out: A ``.keras``, ``.weights.h5``, ``.safetensors``, ``.npz`` or ``.pth`` file;
            without ``to`` the last three hold our own names. Or a folder for
            `runs.load.load`: any path without a suffix.
        network: Name of the network, or of a detector, if the source doesn't tell it.
        to: ``"torchvision"`` or ``"timm"``, to write a state dict in the library's names,
            which it loads with ``strict=True``. Those of detectors are always in
            torchvision's.
        classes: Names of the classes for the folder, in the order of the logits:
            ``"imagenet"``, ``"cifar10"``, a text file with one name a line, or a list of
            names. By default those that the source is known to have, or else numbers.
        overwrite: Whether what is at ``out`` may be replaced.

    Returns:
        What was written and compared.

    Raises:
        FileExistsError: If something is at ``out`` that may not be replaced, or no folder
            can be there.
        PermissionError: If nothing can be written there.
        FileNotFoundError: If there is no such source.
        ConnectionError: If published weights can't be downloaded.
        ImportError: If a library that is needed isn't installed.
        ValueError: If the weights don't fit the network, or can't be written so. After
            any error nothing has been written.
    """
    out = local_path(out)
    _check_output(out, to, overwrite)
    if classes is not None and out.suffix:
        raise ValueError(
            "`classes` (--classes) goes into a folder; a file of weights has no names of "
            f"classes. Received: classes={classes!r}, out={str(out)!r}."
        )
    if detector_convert.means_detector(source, network):
        return detector_convert.convert(source, out, network, to, classes)
    found, model = _loaded(source, network)
    if classes is not None:
        found = replace(found, classes=named(classes, model.output_shape[-1]))
    state, reference = None, found.reference()
    if to is not None:
        state = to_state_dict(model, found.spec, to)
        theirs = torch_reference(to, found.network, found.spec)
        if theirs is not None:
            reference = Reference(to, partial(theirs, state))
    done = Converted(path=out, network=found.network, assumed=assumed_of(found))
    if reference is not None:
        done = _compared(done, model, reference)
    write(
        out,
        lambda path: _write_file(model, state, path),
        lambda folder: _write_folder(found, model, done, folder),
    )
    return done


def _loaded(source, network):
    """What was read, and a network of ours with these weights that gives logits."""
    # Its own graph is kept where there is a run: it may differ from the published one.
    folder = local_path(source)
    run = load(folder) if folder.is_dir() else None
    found = read(source, network)
    if run is not None:
        return found, run.model
    prepare = found.preprocessing
    published = found.network in ARCHITECTURES
    model = applications.create(
        found.network if published else found.spec,
        classes=len(found.classes) if found.classes else None,
        input_shape=prepare and with_channels(prepare.size, prepare.channels),
    )
    fill(model, found)
    warn_if_unknown(found)
    if prepare is not None:
        model.preprocessing = prepare
    return found, model


# --- Compared ---------------------------------------------------------------------


def _compared(done, model, reference):
    """What was done, with the differences of the logits on a few images."""
    images = _images(model.preprocessing)
    expected = np.asarray(reference.logits(images))
    logits = np.asarray(model.predict_on_batch(images))
    if logits.shape != expected.shape:
        raise ValueError(
            "The source's network must give as many logits as ours. "
            f"Received: {expected.shape}, ours {logits.shape}."
        )
    return replace(
        done,
        library=reference.library,
        difference=float(np.abs(logits - expected).max()),
        largest=float(np.abs(expected).max()),
    )


def _images(prepare):
    """A few bundled images, each made of three grey ones, prepared for the weights."""
    grey = sources.load("fashion_mini").test.images[: 3 * IMAGES, ..., 0]
    images = np.stack([grey[channel::3] for channel in range(3)], axis=-1)
    images = resize_and_crop(images[..., : prepare.channels], prepare)
    return np.asarray(normalize(images, prepare))


# --- Written ----------------------------------------------------------------------


def _check_output(out, to, overwrite):
    whole = out.name.endswith((".keras", ".weights.h5"))
    if to is not None and out.suffix not in STATE_DICTS:
        raise ValueError(
            f"`to` (--to) writes a state dict, a {', '.join(STATE_DICTS)} file. "
            f"Received: to={to!r}, out={str(out)!r}."
        )
    if out.suffix and not whole and out.suffix not in STATE_DICTS:
        raise ValueError(
            "The output must be a folder, without a suffix, or a .keras, .weights.h5, "
            f"{', '.join(STATE_DICTS)} file. Received: {str(out)!r}."
        )
    check_place(out, "`out`")
    if not out.exists():
        return
    if not overwrite:
        raise FileExistsError(
            f"The output must not exist yet. Received: {out}. Choose another name, or "
            "pass `overwrite=True` (--overwrite)."
        )
    if bool(out.suffix) == out.is_dir() or (
        out.is_dir() and not (out / "source.json").is_file()
    ):
        raise FileExistsError(
            f"What is overwritten at {out} must be of the same kind, a file or a folder "
            "that `keras-resnet convert` wrote. Choose another name."
        )


def _write_file(model, state, path):
    if path.suffix == ".keras":
        saved.save(model, path)
    elif path.name.endswith(".weights.h5"):
        model.save_weights(path)
    else:
        write_state_dict(own_state(model) if state is None else state, path)


def own_state(model: keras.Model) -> dict[str, np.ndarray]:
    """Returns the weights of a model by our own names, in Keras's layout."""
    names = ("/".join(w.path.split("/")[-2:]) for w in model.weights)
    return dict(zip(names, model.get_weights(), strict=True))


def _write_folder(found, model, done, folder):
    saved.save(model, folder / "model.keras")
    classes = found.classes or map(str, range(model.output_shape[-1]))
    source = {
        "network": found.network,
        "network_values": to_values(found.spec),
        "source": found.name,
        "origin": found.origin,
        "sha256": found.sha256,
        **comparison(done),
        "preprocessing": model.preprocessing.as_json(),
        "preprocessing_assumed": assumed_of(found),
        "classes": list(classes),
        "versions": environment.versions(),
    }
    text = json.dumps(source, indent=2, ensure_ascii=False) + "\n"
    (folder / "source.json").write_text(text, encoding="utf-8")
