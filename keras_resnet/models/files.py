"""Files that hold a state dict: names and arrays.

No pickle is ever executed: ``.pth`` files are read by torch with
``weights_only=True``, ``.npz`` without objects, ``.safetensors`` by safetensors.
"""

import pathlib
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
