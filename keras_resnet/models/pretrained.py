"""Weights into our networks and out of them: files, checks, all or nothing.

No pickle is ever executed: ``.pth`` files are read by torch with
``weights_only=True``, ``.npz`` without objects, ``.safetensors`` by safetensors.
"""

import pathlib
import re
import warnings
from functools import partial

import numpy as np

from keras_resnet.models.names import FORMATS


def load_weights(model, weights, spec, *, new_classifier=False):
    """Fills a model of ours with weights from a file or a state dict.

    Args:
        model: A network of ours, as `build` or `backbone` returned it.
        weights: Path of a ``.weights.h5`` or ``.keras`` file of the same network, of
            a ``.safetensors``, ``.pth``, ``.pt``, ``.th`` or ``.npz`` file with a state
            dict in the names of one of `names.FORMATS`, or such a state dict (name ->
            tensor or array). A state dict's classifier is left out if the model has
            none; its first convolution is adapted to the model's input channels.
        spec: The `ResNetSpec` that the model was built from.
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
                f"`weights` must be None, a file or a state dict. No file at {path}."
            )
        if path.name.endswith((".weights.h5", ".keras")):
            return _load_keras(model, path, new_classifier)
        weights = read_state_dict(path)
    return load_state_dict(model, weights, spec, new_classifier=new_classifier)


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
        from safetensors.numpy import load_file

        read = load_file
    elif path.suffix == ".npz":
        read = partial(np.load, allow_pickle=False)
    elif path.suffix in (".pth", ".pt", ".th"):
        import torch

        read = partial(torch.load, map_location="cpu", weights_only=True)
    else:
        raise ValueError(
            "Weights must be a .keras, .weights.h5, .safetensors, .pth, .pt, .th or "
            f".npz file. Received: {path}."
        )
    try:
        state = dict(read(path))
        for wrapper in ("state_dict", "model", "params"):
            if isinstance(state.get(wrapper), dict):
                state = state[wrapper]
        return {name: _as_array(value) for name, value in state.items()}
    except Exception as error:  # Zip, pickle and safetensors raise many kinds.
        # Torch's message is left out: it advises to load without `weights_only`,
        # which would run whatever code a file brings.
        raise ValueError(
            f"{path} must hold a state dict, of tensors only, whole and undamaged. "
            f"Reading it failed with {type(error).__name__}."
        ) from error


def _as_array(value):
    """As float32; NumPy has no bfloat16, in which timm saves some weights."""
    if hasattr(value, "detach"):
        value = value.detach().cpu().float()
    return np.asarray(value, "float32")


def load_state_dict(model, state_dict, spec, *, new_classifier=False):
    """Fills a model from a state dict in the names of any of `names.FORMATS`.

    Warns where weights of the v1.5 form, as torchvision's own are, would go unnoticed
    into the v1 form, whose names and shapes are the same.

    Raises:
        ValueError: If a weight is missing, left over or of another shape.
    """
    paths = [tuple(variable.path.split("/")[-2:]) for variable in model.weights]
    form = _recognized(state_dict, spec, paths)
    if form is FORMATS["torchvision"] and spec.stages[0].block == "bottleneck":
        warnings.warn(
            f"{model.name!r} has its stride on the first 1x1 convolution, as in the "
            "paper. Weights of torchvision, timm and fb.resnet.torch were trained with "
            "it on the 3x3 and give wrong logits here: load them into "
            "'resnet50_v1_5', 'resnet101_v1_5' or 'resnet152_v1_5'.",
            stacklevel=2,
        )
    try:
        arrays = dict(form.prepare(state_dict, spec))
    except KeyError as error:
        raise ValueError(
            f"The state dict must hold {error.args[0]!r}. Is it another network's? It "
            f"holds {len(state_dict)} entries, e.g. {sorted(state_dict)[:3]}."
        ) from error
    _replace_classifier(arrays, form, model, spec, new_classifier)

    values = []
    for (layer, name), variable in zip(paths, model.weights, strict=True):
        key = form.key(spec, layer, name)
        if key not in arrays:
            raise ValueError(
                f"The state dict must hold {key or 'a name'!r} for {variable.path!r} of "
                f"{model.name!r}. Is it another network's? It holds {len(state_dict)} "
                f"entries, e.g. {sorted(state_dict)[:3]}."
            )
        values.append(_fitted(_as_array(arrays.pop(key)), key, variable, form))
    if arrays:
        raise ValueError(
            f"The state dict holds weights that {model.name!r} has no place for: "
            f"{sorted(arrays)[:5]}. Is it another network's?"
        )
    model.set_weights(values)


def _recognized(state_dict, spec, paths):
    """The format whose names the state dict has most of."""

    def known(form):
        keys = {form.key(spec, layer, name) for layer, name in paths} - {None}
        stripped = {str(name).removeprefix("module.") for name in state_dict}
        return len(keys & stripped)

    return max(FORMATS.values(), key=known)


def _replace_classifier(arrays, form, model, spec, new_classifier):
    """Leaves out the classifier of the weights where the model has none or its own."""
    kernel, bias = (form.key(spec, "logits", name) for name in ("kernel", "bias"))
    layer = next((layer for layer in model.layers if layer.name == "logits"), None)
    if layer is None:
        arrays.pop(kernel, None)
        arrays.pop(bias, None)
    elif new_classifier and len(arrays.get(bias, ())) != layer.units:
        values = layer.get_weights()
        arrays[kernel] = values[0].T if form.torch else values[0]
        arrays[bias] = values[1]


def _fitted(array, name, variable, form):
    """``array`` in Keras's layout: (kh, kw, in, out) for (out, in, kh, kw)."""
    shape = tuple(variable.shape)
    if form.torch and array.ndim == 4:
        array = array.transpose(2, 3, 1, 0)
    elif form.torch and array.ndim == 2:
        array = array.T
    if len(shape) == 2 and array.shape[:2] == (1, 1):
        array = array[0, 0]  # A classifier written as a 1x1 convolution.
    if variable.path.split("/")[-2] in ("stem_conv", "stem_1_conv"):
        array = with_input_channels(array, shape)
    if array.shape != shape:
        raise ValueError(
            f"{name!r} must have the shape {shape} (in Keras's layout) "
            f"to fit {variable.path!r}: do `classes` and `input_shape` match the "
            f"weights? Received: {array.shape}."
        )
    return array


def with_input_channels(kernel, shape):
    """A first convolution for RGB, adapted to another number of input channels.

    Grey images get the sum of the three, since each of R, G and B is that grey; of
    more channels each gets one of the three in turn, scaled so that the response to
    an image that is the same in all of them stays, as timm does it.
    """
    channels = shape[-2] if len(shape) == 4 else None
    if kernel.ndim != 4 or kernel.shape[-2] != 3 or channels in (None, 3):
        return kernel
    if channels == 1:
        return kernel.sum(axis=-2, keepdims=True)
    repeated = [kernel[:, :, [channel % 3]] for channel in range(channels)]
    return np.concatenate(repeated, axis=-2) * np.float32(3 / channels)


def to_state_dict(model, spec, form):
    """The weights of a model in a source's names and layout.

    Args:
        model: A network of ours.
        spec: The `ResNetSpec` that it was built from.
        form: ``"torchvision"`` or ``"timm"``, which also fits timm's resnetv2 and
            darknet53.

    Returns:
        A dict from name to float32 array, that loads there with ``strict=True``.

    Raises:
        ValueError: If the source has no such network.
    """
    torch_forms = ["torchvision"]
    if form == "timm":
        torch_forms += ["timm_v2", "timm_darknet"]
    elif form != "torchvision":
        raise ValueError(
            "A state dict can be written for 'torchvision' or 'timm'. "
            f"Received: {form!r}."
        )
    for name in torch_forms:
        arrays = _named_arrays(model, spec, FORMATS[name])
        if arrays:
            return arrays
    raise ValueError(
        f"{form} has no network like {model.name!r}: its names fit v1 networks"
        + (", the resnetv2_ ones and darknet53." if form == "timm" else ".")
    )


def _named_arrays(model, spec, form):
    arrays = {}
    for variable, array in zip(model.weights, model.get_weights(), strict=True):
        layer, name = variable.path.split("/")[-2:]
        key = form.key(spec, layer, name)
        if key is None:
            return None
        if array.ndim == 4:
            array = array.transpose(3, 2, 0, 1)
        elif array.ndim == 2:
            array = array.T
            if form is FORMATS["timm_v2"]:
                array = array[:, :, None, None]
        arrays[key] = np.ascontiguousarray(array)
        if name == "moving_mean":
            counter = key.replace("running_mean", "num_batches_tracked")
            arrays[counter] = np.zeros((), "int64")
    return arrays
