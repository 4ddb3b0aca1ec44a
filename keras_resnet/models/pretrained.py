"""Foreign weights into our networks: names, layouts and checks.

No pickle is ever executed: ``.pth`` files are read by torch with
``weights_only=True``, ``.safetensors`` by safetensors.
"""

import pathlib
import re
import warnings
from functools import partial

import numpy as np

VARIABLES = {  # Of a batch norm, from torch's names to Keras's.
    "weight": "gamma",
    "bias": "beta",
    "running_mean": "moving_mean",
    "running_var": "moving_variance",
}


def load_weights(model, weights, *, new_classifier=False):
    """Fills a model of ours with weights from a file or a PyTorch state dict.

    Args:
        model: A network of ours, as `build` returned it.
        weights: Path of a ``.weights.h5`` or ``.keras`` file of the same network, of
            a ``.safetensors``, ``.pth`` or ``.pt`` file with a state dict in
            torchvision's names, or such a state dict (name -> tensor or array). A
            state dict's classifier is left out if the model has none.
        new_classifier: Whether the model keeps its own random classifier where that of
            the weights is for another number of classes.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If names or shapes don't fit the model. The model then keeps the
            weights that it had.
    """
    if isinstance(weights, (str, pathlib.Path)):
        path = pathlib.Path(weights)
        if not path.is_file():
            raise FileNotFoundError(
                f"`weights` must be None, a file or a state dict. No file at {path}. "
                "Published weights are not downloaded yet."
            )
        if path.name.endswith((".weights.h5", ".keras")):
            return _load_keras(model, path, new_classifier)
        weights = read_state_dict(path)
    return load_state_dict(model, weights, new_classifier=new_classifier)


def _load_keras(model, path, new_classifier):
    before = model.get_weights()
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            model.load_weights(path, skip_mismatch=new_classifier)
        skipped = re.findall(r"name=(\w+)", " ".join(str(w.message) for w in caught))
        if set(skipped) - {"logits"}:
            raise ValueError(f"the layers {sorted(set(skipped))[:5]} don't match.")
    except Exception as error:  # Keras and h5py raise many kinds.
        model.set_weights(before)
        raise ValueError(
            f"The weights in {path} don't fit {model.name!r}: check `classes`, "
            f"`include_top` and the network's name. Keras said: {error}"
        ) from error


def read_state_dict(path):
    """Reads a ``.safetensors``, ``.pth`` or ``.pt`` file: name -> array.

    Raises:
        ValueError: If it is another kind of file, is damaged, or holds anything but
            tensors.
    """
    path = pathlib.Path(path)
    if path.suffix == ".safetensors":
        from safetensors.numpy import load_file

        read = load_file
    elif path.suffix in (".pth", ".pt"):
        import torch

        read = partial(torch.load, map_location="cpu", weights_only=True)
    else:
        raise ValueError(
            "Weights must be a .keras, .weights.h5, .safetensors, .pth or .pt file. "
            f"Received: {path}."
        )
    try:
        return dict(read(path))
    except Exception as error:  # Zip, pickle and safetensors raise many kinds.
        # Torch's message is left out: it advises to load without `weights_only`,
        # which would run whatever code a file brings.
        raise ValueError(
            f"{path} must hold a state dict, of tensors only, whole and undamaged. "
            f"Reading it failed with {type(error).__name__}."
        ) from error


def load_state_dict(model, state_dict, *, new_classifier=False):
    """Fills a v1 or v1.5 model from a state dict in torchvision's names.

    Warns where weights of the v1.5 form, as torchvision's own are, would go unnoticed
    into the v1 form, whose names and shapes are the same.

    Raises:
        ValueError: If a weight is missing, left over or of another shape.
    """
    if _has_stride_on_first_1x1(model):
        warnings.warn(
            f"{model.name!r} has its stride on the first 1x1 convolution, as in the "
            "paper. Weights of torchvision, timm and fb.resnet.torch were trained with "
            "it on the 3x3 and give wrong logits here: load them into "
            "'resnet50_v1_5', 'resnet101_v1_5' or 'resnet152_v1_5'.",
            stacklevel=2,
        )
    arrays = {
        name: np.asarray(value)
        for name, value in state_dict.items()
        if not name.endswith("num_batches_tracked")
    }
    classifier = next((layer for layer in model.layers if layer.name == "logits"), None)
    if classifier is None:
        arrays.pop("fc.weight", None)
        arrays.pop("fc.bias", None)
    elif new_classifier and len(arrays.get("fc.bias", ())) != classifier.units:
        kernel, bias = classifier.get_weights()
        arrays["fc.weight"], arrays["fc.bias"] = kernel.T, bias

    values = []
    for variable in model.weights:
        name = torch_name(variable.path)
        if name not in arrays:
            raise ValueError(
                f"The state dict must hold {name!r} for {variable.path!r} of "
                f"{model.name!r}. Is it another network's? It holds {len(state_dict)} "
                f"entries, e.g. {sorted(state_dict)[:3]}."
            )
        values.append(_fitted(arrays.pop(name), name, variable))
    if arrays:
        raise ValueError(
            f"The state dict holds weights that {model.name!r} has no place for: "
            f"{sorted(arrays)[:5]}. Is it another network's?"
        )
    model.set_weights(values)


def _has_stride_on_first_1x1(model):
    first = [layer for layer in model.layers if layer.name == "stage2_block1_1_conv"]
    return bool(first) and first[0].kernel_size == (1, 1) and first[0].strides == (2, 2)


def torch_name(path):
    """Torchvision's name for the path of one of our variables.

    ``"stage2_block1_shortcut_bn/gamma"`` is ``"layer2.0.downsample.1.weight"``.
    """
    layer, variable = path.split("/")[-2:]
    if layer == "logits":
        return {"kernel": "fc.weight", "bias": "fc.bias"}[variable]
    kind = "conv" if layer.endswith("_conv") else "bn"
    torch_variable = (
        "weight"
        if kind == "conv"
        else {keras: torch for torch, keras in VARIABLES.items()}[variable]
    )
    if layer.startswith("stem_"):
        return f"{kind}1.{torch_variable}"
    match = re.fullmatch(r"stage(\d+)_block(\d+)_(shortcut|[1-3])_(?:conv|bn)", layer)
    if match is None:
        raise ValueError(
            f"Torchvision's networks have no counterpart of {path!r}: its weights fit "
            "resnet18, resnet34 and the _v1_5 networks."
        )
    stage, block, place = match.groups()
    prefix = f"layer{stage}.{int(block) - 1}"
    if place == "shortcut":
        return f"{prefix}.downsample.{0 if kind == 'conv' else 1}.{torch_variable}"
    return f"{prefix}.{kind}{place}.{torch_variable}"


def _fitted(array, name, variable):
    """``array`` in Keras's layout: (kh, kw, in, out) for (out, in, kh, kw)."""
    if array.ndim == 4:
        array = array.transpose(2, 3, 1, 0)
    elif array.ndim == 2:
        array = array.T
    if array.shape != tuple(variable.shape):
        raise ValueError(
            f"{name!r} must have the shape {tuple(variable.shape)} (in Keras's layout) "
            f"to fit {variable.path!r}: do `classes` and `input_shape` match the "
            f"weights? Received: {array.shape}."
        )
    return array
