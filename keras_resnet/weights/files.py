"""Files of weights: state dicts (names and arrays), and what Keras's tell of layers.

No pickle is ever executed: ``.pth`` files are read by torch with
``weights_only=True``, ``.npz`` without objects, ``.safetensors`` by safetensors.
"""

import io
import json
import pathlib
import zipfile
from functools import partial

import numpy as np


def read_state_dict(path):
    """Reads a ``.safetensors``, ``.pth``, ``.pt``, ``.th`` or ``.npz`` file.

    Returns:
        A dict from name to array or tensor. What training saved around it, as
        ``{"state_dict": …, "epoch": …}``, is unpacked.

    Raises:
        ValueError: If it is another kind of file, is damaged, or holds anything but
            tensors.
    """
    path = pathlib.Path(path)
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


def layers_in(path):
    """Reads which layers a ``.keras`` or ``.weights.h5`` file has.

    Returns:
        A dict from a layer's name to whether it has weights (nothing of files that don't
        tell names), and one to its strides (nothing of ``.weights.h5``).
    """
    import h5py

    strides = {}
    if path.suffix == ".keras":
        with zipfile.ZipFile(path) as archive:
            layers = json.loads(archive.read("config.json"))["config"]["layers"]
            file = io.BytesIO(archive.read("model.weights.h5"))
        configs = [layer["config"] for layer in layers]
        strides = {c["name"]: c["strides"] for c in configs if c.get("strides")}
    else:
        file = path
    with h5py.File(file) as stored:
        variables = [group["vars"] for group in stored["layers"].values()]
        names = {v.attrs["name"]: len(v) > 0 for v in variables if "name" in v.attrs}
    return names, strides


DTYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4"}


def _read_safetensors(deserialize, path):
    """As `safetensors.numpy.load`, which has no bfloat16; timm saves some weights so."""
    state = {}
    for name, tensor in deserialize(path.read_bytes()):
        if tensor["dtype"] == "BF16":  # The upper half of a float32.
            halves = np.frombuffer(tensor["data"], "<u2").astype("<u4")
            array = (halves << 16).view("<f4")
        else:
            array = np.frombuffer(tensor["data"], DTYPES[tensor["dtype"]])
        state[name] = array.reshape(tensor["shape"])
    return state


def as_array(value):
    """As float32."""
    if hasattr(value, "detach"):
        value = value.detach().cpu().float()
    return np.asarray(value, "float32")
