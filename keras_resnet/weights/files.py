"""Reads and writes files of state dicts, names and arrays, of PyTorch, NumPy, safetensors.

Reading never executes a pickle: `torch_files` says how PyTorch's files are read, NumPy
reads ``.npz`` files without objects, and ``.safetensors`` files can't hold code.
"""

import os
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from keras_resnet.files import local_path
from keras_resnet.weights import torch_files
from keras_resnet.weights.kinds import KINDS, kind_of
from keras_resnet.weights.packages import imported

# NumPy's kinds of types that no weights are of: Booleans, integers, complex numbers.
NO_WEIGHTS = "biuc"
# What batch normalization adds to a variance. A rounded 0 may be a little below 0.
EPSILON = 1e-5
# NumPy's names for the numbers in safetensors' files.
DTYPES = {
    "F64": "<f8",
    "F32": "<f4",
    "F16": "<f2",
    "I64": "<i8",
    "I32": "<i4",
    "I16": "<i2",
    "I8": "<i1",
    "U8": "<u1",
    "BOOL": "?",
}


def read_checkpoint(path: str | os.PathLike[str]) -> Any:
    """Reads a file of `torch.save`, `np.savez` or safetensors, whatever its suffix.

    Returns:
        What was saved: a dict of arrays, or for PyTorch anything that holds tensors.

    Raises:
        ImportError: If the file needs safetensors or PyTorch and it isn't installed.
        ValueError: If it is another kind of file, is damaged, or can't be read without
            running code.
    """
    path = local_path(path)
    kind = kind_of(path)
    if kind not in READERS:
        raise ValueError(f"Weights must be a {KINDS}. Received: {path}, of {kind}.")
    read, package = READERS[kind]
    if package is not None:
        imported(package, f"{path}, a file of {package},")
    try:
        return read(path)
    except Exception as error:  # Zip, pickle and safetensors raise many kinds.
        # PyTorch's message is left out: it advises to load without `weights_only`,
        # which would run whatever code a file brings.
        raise ValueError(
            f"{path} must hold a state dict, of tensors only, whole and undamaged. "
            f"Reading it failed with {type(error).__name__}. If it holds a whole model or "
            "other objects and you trust it, load it where it was made and save "
            "`model.state_dict()`."
        ) from error


def _read_npz(path):
    with np.load(path, allow_pickle=False) as stored:
        return dict(stored)


def _read_safetensors(path):
    """Does what `safetensors.numpy.load` does, and reads bfloat16, as timm saves some."""
    from safetensors import deserialize

    state = {}
    for name, tensor in deserialize(path.read_bytes()):
        if tensor["dtype"] == "BF16":
            array = from_bfloat16(np.frombuffer(tensor["data"], "<u2"))
        else:
            array = np.frombuffer(tensor["data"], DTYPES[tensor["dtype"]])
        state[name] = array.reshape(tensor["shape"])
    return state


# From the kind of a file to its reader, and the package that it needs.
READERS: dict[str, tuple[Callable[[pathlib.Path], Any], str | None]] = {
    "npz": (_read_npz, None),
    "safetensors": (_read_safetensors, "safetensors"),
    "torch": (torch_files.load, "torch"),
}


def from_bfloat16(array: np.ndarray) -> np.ndarray:
    """Converts bfloat16, held in any type of 16 bits, to float32."""
    # They are the upper half of a float32.
    return (array.view("<u2").astype("<u4") << 16).view("<f4")


def as_array(value: Any) -> np.ndarray:
    """Converts an array, or a tensor of PyTorch on any device, to a float32 array.

    Integers, Booleans and complex numbers stay what they are: `check_weights` refuses
    them where they are weights, and what else a state dict holds, such as the numbers of
    batches that were seen, may be of them.
    """
    if hasattr(value, "detach"):
        value = value.detach().cpu()
        value = value.float() if value.is_floating_point() else value.resolve_conj()
    array = np.asarray(value)
    return array if array.dtype.kind in NO_WEIGHTS else np.asarray(array, "float32")


def check_weights(array: np.ndarray, name: str, variable: str) -> None:
    """Refuses weights that no training gives.

    Args:
        array: As it was read: a cast to float32 would hide what it was.
        name: The source's name for them, for the message.
        variable: The path of our variable that they are meant for.

    Raises:
        ValueError: If they aren't real floating-point numbers, if one is NaN or infinite,
            or if a variance is negative.
    """
    if array.dtype.kind in NO_WEIGHTS:
        raise ValueError(
            "Weights must be real floating-point numbers. Received: "
            f"{name!r} of {array.dtype}. A conversion has changed them: save the weights "
            "as they were trained, in float32 or float16."
        )
    if not np.isfinite(array).all():
        raise ValueError(
            f"Weights must be finite numbers. Received: {name!r} with NaN or infinity in "
            f"{np.size(array) - np.isfinite(array).sum()} of {np.size(array)} values. The "
            "training that wrote them diverged, or the file is damaged: take an earlier "
            "checkpoint."
        )
    negative = np.sum(array <= -EPSILON)
    if variable.endswith("moving_variance") and negative:
        raise ValueError(
            f"The variances of batch normalization must not be negative. Received: "
            f"{name!r} with {negative} of {np.size(array)} values below 0, the smallest "
            f"{array.min():.3g}. The file is damaged: make or download it again."
        )


def write_state_dict(state: Mapping[str, np.ndarray], path: pathlib.Path) -> None:
    """Writes a state dict as a file of NumPy, safetensors or, by PyTorch, any other one.

    Args:
        state: From name to array.
        path: A file that ends in ``.npz``, ``.safetensors``, or for PyTorch's in ``.pth``.

    Raises:
        ImportError: If the package that writes it isn't installed.
    """
    if path.suffix == ".npz":
        np.savez(path, **state)
    elif path.suffix == ".safetensors":
        from safetensors.numpy import save

        path.write_bytes(save(state))  # Its `save_file` lets nobody else read the file.
    else:
        import torch

        torch.save({name: torch.tensor(array) for name, array in state.items()}, path)
