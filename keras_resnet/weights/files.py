"""Reads files: state dicts (names and arrays), and what Keras's files tell of a model.

Reading never executes a pickle: PyTorch reads ``.pth`` files with ``weights_only=True``,
NumPy reads ``.npz`` files without objects, and ``.safetensors`` files can't hold code.
"""

import io
import json
import os
import pathlib
import zipfile
from functools import partial
from typing import Any

import numpy as np

from keras_resnet.config.architectures import network_of
from keras_resnet.config.preprocessing import Preprocessing
from keras_resnet.config.spec import ResNetSpec
from keras_resnet.files import local_path

# NumPy's names for the numbers in safetensors' files.
DTYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4"}


def read_state_dict(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """Reads a ``.safetensors``, ``.pth``, ``.pt``, ``.th`` or ``.npz`` file.

    Returns:
        From name to float32 array, in the file's layout. A checkpoint that holds more
        than its state dict, such as ``{"state_dict": …, "epoch": …}``, is unpacked.

    Raises:
        ImportError: If the file needs safetensors or PyTorch and it isn't installed.
        ValueError: If it is another kind of file, is damaged, or holds anything but
            tensors.
    """
    path = local_path(path)
    if path.suffix == ".safetensors":
        from safetensors import deserialize

        read = partial(_read_safetensors, deserialize)
    elif path.suffix == ".npz":
        read = partial(np.load, allow_pickle=False)
    elif path.suffix in (".pth", ".pt", ".th"):
        import torch

        read = partial(torch.load, map_location="cpu", weights_only=True)
    else:
        raise ValueError(
            "Weights must be a .keras, .weights.h5, .safetensors, .pth, .pt, .th, .npz, "
            f".weights or .caffemodel file. Received: {path}."
        )
    try:
        state = dict(read(path))
        for wrapper in ("state_dict", "model", "params"):
            if isinstance(state.get(wrapper), dict):
                state = state[wrapper]
        return {name: as_array(value) for name, value in state.items()}
    except Exception as error:  # Zip, pickle and safetensors raise many kinds.
        # Torch's message is left out: it advises to load without `weights_only`,
        # which would run whatever code a file brings.
        raise ValueError(
            f"{path} must hold a state dict, of tensors only, whole and undamaged. "
            f"Reading it failed with {type(error).__name__}."
        ) from error


def read_config(path: pathlib.Path) -> dict[str, Any]:
    """Reads the configuration of the model in a ``.keras`` file, without its weights."""
    with zipfile.ZipFile(path) as archive:
        return json.loads(archive.read("config.json"))["config"]


def told_by_config(path: pathlib.Path) -> tuple[str, int | None]:
    """Reads which model a ``.keras`` file holds, without building it.

    Returns:
        The model's name, and the number of its classes; `None` without a classifier.

    Raises:
        ValueError: If it isn't a file of a functional model, or is damaged.
    """
    try:
        config = read_config(path)
        layers = [layer["config"] for layer in config["layers"]]
        units = [layer["units"] for layer in layers if layer["name"] == "logits"]
        return config["name"], units[0] if units else None
    except Exception as error:  # Zip files and JSON raise many kinds.
        raise ValueError(
            f"{path} must be a whole .keras file of a network of ours. Reading it failed "
            f"with {type(error).__name__}: {error}"
        ) from error


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
    import h5py

    strides = {}
    if path.suffix == ".keras":
        with zipfile.ZipFile(path) as archive:
            file = io.BytesIO(archive.read("model.weights.h5"))
        configs = [layer["config"] for layer in read_config(path)["layers"]]
        strides = {c["name"]: c["strides"] for c in configs if c.get("strides")}
    else:
        file = path
    with h5py.File(file) as stored:
        variables = [group["vars"] for group in stored["layers"].values()]
        names = {v.attrs["name"]: len(v) > 0 for v in variables if "name" in v.attrs}
    return names, strides


def _read_safetensors(deserialize, path):
    """Does what `safetensors.numpy.load` does, and reads bfloat16, as timm saves some."""
    state = {}
    for name, tensor in deserialize(path.read_bytes()):
        if tensor["dtype"] == "BF16":  # The upper half of a float32.
            halves = np.frombuffer(tensor["data"], "<u2").astype("<u4")
            array = (halves << 16).view("<f4")
        else:
            array = np.frombuffer(tensor["data"], DTYPES[tensor["dtype"]])
        state[name] = array.reshape(tensor["shape"])
    return state


def as_array(value: Any) -> np.ndarray:
    """Converts an array, or a tensor of PyTorch on any device, to a float32 array."""
    if hasattr(value, "detach"):
        value = value.detach().cpu().float()
    return np.asarray(value, "float32")
