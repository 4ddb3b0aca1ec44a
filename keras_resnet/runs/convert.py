"""Weights from anywhere -> one file, or a folder that works like a run's.

The folder holds ``model.keras`` and ``source.json``: where the weights are from, their
SHA-256, the preprocessing that they need and the names of their classes. `runs.load.load`
reads it.
"""

import json
import pathlib
from dataclasses import dataclass

import keras
import numpy as np

from keras_resnet.config.architectures import ARCHITECTURES
from keras_resnet.data import pipelines, sources
from keras_resnet.data.images import normalize, resize_and_crop
from keras_resnet.files import replace_file, replaced
from keras_resnet.runs import environment, origin
from keras_resnet.weights.sources_torch import torch_reference
from keras_resnet.weights.to_torch import to_state_dict

STATE_DICTS = (".safetensors", ".npz", ".pth")
IMAGES = 4  # On which logits are compared.


@dataclass(frozen=True, kw_only=True)
class Converted:
    """What `convert` did.

    Attributes:
        path: What was written.
        network: Key of `ARCHITECTURES`.
        library: Whose logits were compared with ours; `None` if none could be.
        difference: The greatest one.
        largest: The greatest absolute value among the logits.
    """

    path: pathlib.Path
    network: str
    library: str | None
    difference: float | None
    largest: float | None


def convert(source, out, *, network=None, to=None, overwrite=False):
    """Writes weights in another form, and compares logits with their source's.

    Args:
        source: As of `origin.load`: published weights, a file or a run's folder.
        out: A ``.keras``, ``.weights.h5``, ``.safetensors``, ``.npz`` or ``.pth`` file;
            the last three hold our own names, without ``to``. Or a folder, without a
            suffix, for `runs.load.load`.
        network: As of `origin.load`.
        to: ``"torchvision"`` or ``"timm"``: their names, to be loaded there with
            ``strict=True``.
        overwrite: Whether to replace what is there.

    Returns:
        `Converted`.

    Raises:
        FileExistsError: If something is there.
        FileNotFoundError, ValueError, ConnectionError: If the source can't be loaded,
            or not written so. Nothing has been written then.
    """
    out = pathlib.Path(out)
    _check_output(out, to, overwrite)
    pipelines.leave_gpus_to_keras()
    loaded = origin.load(source, network)
    library, reference = loaded.library, loaded.reference
    state = None
    if to is not None:
        spec = ARCHITECTURES[loaded.network]
        state = to_state_dict(loaded.model, spec, to)
        theirs = torch_reference(to, loaded.network, spec)
        if theirs is not None:
            library, reference = to, lambda images: theirs(state, images)
    difference = largest = None
    if reference is not None:
        difference, largest = _difference(loaded, reference)
    if out.suffix:
        out.parent.mkdir(parents=True, exist_ok=True)
        replace_file(out, lambda path: _write_file(loaded.model, state, path))
    else:
        with replaced(out) as folder:
            folder.mkdir()
            _write_folder(loaded, difference, folder)
    return Converted(
        path=out,
        network=loaded.network,
        library=library if reference is not None else None,
        difference=difference,
        largest=largest,
    )


# --- Compared ---------------------------------------------------------------------


def _difference(loaded, reference):
    """The greatest difference of the logits on a few images, and the greatest logit."""
    images = _images(loaded.preprocessing)
    expected = np.asarray(reference(images))
    if keras.config.image_data_format() == "channels_first":
        images = images.transpose(0, 3, 1, 2)
    logits = np.asarray(loaded.model.predict_on_batch(images))
    if logits.shape != expected.shape:
        raise ValueError(
            "The source's network must give as many logits as ours. "
            f"Received: {expected.shape}, ours {logits.shape}."
        )
    return float(np.abs(logits - expected).max()), float(np.abs(expected).max())


def _images(prepare):
    """Bundled images, three of them as the channels of one, as the weights want them."""
    grey = sources.load("fashion_mini").test.images[: 3 * IMAGES, ..., 0]
    images = np.stack([grey[channel::3] for channel in range(3)], axis=-1)
    images = resize_and_crop(images[..., : prepare.channels], prepare)
    return np.asarray(normalize(images, prepare))


# --- To where ---------------------------------------------------------------------


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
    if not out.exists():
        return
    if not overwrite:
        raise FileExistsError(
            f"Nothing must be at {out} yet. Choose another name, or pass "
            "`overwrite=True` (--overwrite)."
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
        model.save(path)
    elif path.name.endswith(".weights.h5"):
        model.save_weights(path)
    else:
        _write_state_dict(own_state(model) if state is None else state, path)


def own_state(model):
    """The weights of a model by our own names, in Keras's layout."""
    names = ("/".join(w.path.split("/")[-2:]) for w in model.weights)
    return dict(zip(names, model.get_weights(), strict=True))


def _write_state_dict(state, path):
    if path.suffix == ".npz":
        np.savez(path, **state)
    elif path.suffix == ".safetensors":
        from safetensors.numpy import save

        path.write_bytes(save(state))  # Its `save_file` lets nobody else read the file.
    else:
        import torch

        torch.save({name: torch.tensor(array) for name, array in state.items()}, path)


def _write_folder(loaded, difference, folder):
    loaded.model.save(folder / "model.keras")
    source = {
        "network": loaded.network,
        "source": loaded.name,
        "origin": loaded.origin,
        "sha256": loaded.sha256,
        "compared_with": loaded.library if difference is not None else None,
        "greatest_difference": difference,
        "preprocessing": loaded.preprocessing.as_json(),
        "classes": list(loaded.classes),
        "versions": environment.versions(),
    }
    text = json.dumps(source, indent=2, ensure_ascii=False) + "\n"
    (folder / "source.json").write_text(text, encoding="utf-8")
