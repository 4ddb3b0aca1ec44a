"""Puts weights into networks of ours: all of them, or none."""

import os
import re
import warnings

import keras
import numpy as np

from keras_resnet.config.preprocessing import Preprocessing
from keras_resnet.config.spec import ResNetSpec
from keras_resnet.weights.conventions import FORMATS, State, recognized
from keras_resnet.weights.files import as_array, layers_in
from keras_resnet.weights.read import Weights, read


def load_weights(
    model: keras.Model,
    weights: str | os.PathLike[str] | State,
    spec: ResNetSpec,
    *,
    network: str | None = None,
    new_classifier: bool = False,
) -> Preprocessing | None:
    """Fills a network of ours with published weights, a file's, a run's or a state dict's.

    Args:
        model: A network as `models.resnet.build` or `backbone` returned it.
        weights: The source, as `weights.read.read` takes it. The classifier of a state
            dict is left out if the model has none, and its first convolution is adapted
            to the model's number of input channels.
        spec: The `ResNetSpec` that the model was built from.
        network: Name of the network, which decides what a publisher has for it. The
            model's name by default.
        new_classifier: Whether the model keeps its own random classifier where that of
            the weights is for another number of classes.

    Returns:
        The `Preprocessing` that goes with the weights; `None` if it isn't known.

    Raises:
        FileNotFoundError: If there is no such file or folder.
        ConnectionError: If published weights can't be downloaded.
        ImportError: If the library that publishes or reads them isn't installed.
        ValueError: If names or shapes don't fit the model. The model then keeps the
            weights that it had.
    """
    found = read(weights, network or model.name, spec)
    fill(model, found, new_classifier=new_classifier)
    return found.preprocessing


def fill(model: keras.Model, weights: Weights, *, new_classifier: bool = False) -> None:
    """Fills a network of ours with weights that have been read.

    Args:
        model: As of `load_weights`, built from ``weights.spec``.
        weights: What `weights.read.read` returned.
        new_classifier: As of `load_weights`.

    Raises:
        ValueError: If names or shapes don't fit the model. The model then keeps the
            weights that it had.
    """
    if weights.keras_file is not None:
        _load_keras(model, weights.keras_file, new_classifier)
    else:
        load_state_dict(
            model,
            weights.state,
            weights.spec,
            form=weights.form,
            new_classifier=new_classifier,
        )


def _load_keras(model, path, new_classifier):
    before = model.get_weights()
    try:
        _check_layers(model, path)
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
            f"`include_top` and the network's name. {error}"
        ) from error


def _check_layers(model, path):
    """Raises `ValueError` unless a Keras file has layers of the model's names.

    Keras matches layers by kind and order only, so that networks of equal shapes would
    take each other's weights. Strides show in neither names nor shapes: a warning tells
    where they differ.
    """
    names, strides = layers_in(path)
    # Additions tell residual from plain nets, where shortcuts have no weights.
    held = {name for name in names if names[name] or name.endswith("_add")}
    wanted = {
        layer.name
        for layer in model.layers
        if layer.weights or layer.name.endswith("_add")
    }
    # Keras leaves out a classifier that the model hasn't, and misses one that it has.
    if held and held - {"logits"} != wanted - {"logits"}:
        raise ValueError(
            f"Its layers are another network's: {sorted(held - wanted)[:3]} have no place "
            f"here, {sorted(wanted - held)[:3]} are missing there."
        )
    if not strides:
        return
    ours = {layer.name: getattr(layer, "strides", 1) for layer in model.layers}
    differences = [
        np.max(ours.get(name, 1)) - np.max(strides.get(name, 1))
        for name in {*ours, *strides}
    ]
    # Both: with another output_stride they are all smaller, or all greater.
    if min(differences) < 0 < max(differences):
        warnings.warn(
            f"{path} is of a network with the layers of {model.name!r}, but strides in "
            "other places: its weights give wrong logits here. Load them into the network "
            "that they were trained in, such as 'resnet50_v1_5' instead of 'resnet50'.",
            stacklevel=6,
        )


def load_state_dict(
    model: keras.Model,
    state_dict: State,
    spec: ResNetSpec,
    *,
    form: str | None = None,
    new_classifier: bool = False,
) -> None:
    """Fills a network of ours from a state dict.

    Weights of the v1.5 form, such as torchvision's, have the names and shapes of the v1
    form: a warning says so where one is loaded into the other.

    Args:
        model: As of `load_weights`.
        state_dict: From name to tensor or array.
        spec: As of `load_weights`.
        form: The format of the state dict, a key of `conventions.FORMATS`; by default
            the one whose names it has.
        new_classifier: As of `load_weights`.

    Raises:
        ValueError: If a weight is missing, left over or of another shape. The model then
            keeps the weights that it had.
    """
    form = form or recognized(state_dict, spec)
    _warn_of_stride(form, spec, model.name)
    arrays = _prepared(state_dict, form, spec, model.name)
    form = FORMATS[form]
    _replace_classifier(arrays, form, model, spec, new_classifier)
    paths = [tuple(variable.path.split("/")[-2:]) for variable in model.weights]
    keys = [form.key(spec, layer, name) for layer, name in paths]
    _check_keys(keys, arrays, model, len(state_dict))
    values = [
        _fitted(as_array(arrays[key]), key, variable, form)
        for key, variable in zip(keys, model.weights, strict=True)
    ]
    model.set_weights(values)


def _prepared(state_dict, form, spec, name):
    """The arrays with everything undone that a format does differently from us."""
    try:
        return dict(FORMATS[form].prepare(state_dict, spec))
    except KeyError as error:
        raise ValueError(
            f"The state dict must hold {error.args[0]!r}. Is it another network's? It "
            f"holds {len(state_dict)} entries, e.g. {sorted(state_dict)[:3]}."
        ) from error
    except (IndexError, ValueError) as error:  # A shape, or a name that is too short.
        raise ValueError(
            f"The state dict's names and shapes must fit {name!r}. Is it another "
            f"network's, or damaged? ({error})"
        ) from error


def _warn_of_stride(form, spec, name):
    """Warns where names and shapes fit, but the weights were trained with other strides."""
    if spec.order != "original":
        return
    block = spec.stages[0].block
    if form in ("torchvision", "kerashub") and block == "bottleneck":
        warnings.warn(
            f"{name!r} has its stride on the first 1x1 convolution, as in the paper. "
            "Weights of torchvision, timm, KerasHub and fb.resnet.torch were trained "
            "with it on the 3x3 and give wrong logits here: load them into "
            "'resnet50_v1_5', 'resnet101_v1_5' or 'resnet152_v1_5'.",
            stacklevel=5,
        )
    elif form == "keras_applications" and block == "bottleneck_v1_5":
        warnings.warn(
            f"{name!r} has its stride on the 3x3 convolution. keras.applications' weights "
            "were trained with it on the first 1x1 and give wrong logits here: load them "
            "into 'resnet50', 'resnet101' or 'resnet152'.",
            stacklevel=5,
        )


def _check_keys(keys, arrays, model, entries):
    """Raises `ValueError` unless the names are those that the model wants."""
    missing = [key for key in dict.fromkeys(keys) if key not in arrays]
    unexpected = sorted(set(map(str, arrays)) - set(map(str, keys)))
    if missing:
        first = missing[0]
        raise ValueError(
            f"The state dict must hold {first or 'a name'!r}{_and_more(missing[1:])} for "
            f"{model.name!r}. Is it another network's? It holds {entries} entries, "
            f"without a place there: {unexpected[:5] or 'none'}."
        )
    if unexpected:
        raise ValueError(
            f"The state dict holds {len(unexpected)} weights that {model.name!r} has no "
            f"place for: {unexpected[:5]}. Is it another network's?"
        )


def _and_more(names):
    if not names:
        return ""
    rest = f" and {len(names) - 4} more" if len(names) > 4 else ""
    return "".join(f", {name!r}" for name in names[:4]) + rest


def _replace_classifier(arrays, form, model, spec, new_classifier):
    """Leaves out the weights' classifier where the model has none or keeps its own."""
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


def with_input_channels(kernel: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Adapts a first convolution for RGB images to another number of input channels.

    For one channel the three are added, since a grey image has the same value in R, G and
    B. For more than three they are repeated in turn and scaled so that the response to an
    image with equal channels stays the same, as timm does it.

    Args:
        kernel: Shape ``(height, width, channels, filters)``, or anything else.
        shape: Shape that the model wants.

    Returns:
        The adapted kernel; the same one if it isn't a convolution for RGB images, or if
        the model wants three channels too.
    """
    channels = shape[-2] if len(shape) == 4 else None
    if kernel.ndim != 4 or kernel.shape[-2] != 3 or channels in (None, 3):
        return kernel
    if channels == 1:
        return kernel.sum(axis=-2, keepdims=True)
    repeated = [kernel[:, :, [channel % 3]] for channel in range(channels)]
    return np.concatenate(repeated, axis=-2) * np.float32(3 / channels)
