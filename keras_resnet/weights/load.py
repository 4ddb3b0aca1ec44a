"""Weights into our networks: all or nothing."""

import json
import pathlib
import re
import warnings
from collections.abc import Mapping

import numpy as np

from keras_resnet.config.preprocessing import Preprocessing
from keras_resnet.weights import caffe, darknet, sources
from keras_resnet.weights.conventions import FORMATS
from keras_resnet.weights.files import as_array, layers_in, read_state_dict

# The readers of files that are not a dict of named arrays, by suffix.
BINARY = {".weights": darknet, ".caffemodel": caffe}


def load_weights(model, weights, spec, *, network=None, new_classifier=False):
    """Fills a model of ours with published weights, a file's or a state dict's.

    Args:
        model: A network of ours, as `build` or `backbone` returned it.
        weights: Source and tag, as of `weights.sources.fetch`; path of a ``.weights.h5`` or
            ``.keras`` file of the same network, of a ``.safetensors``, ``.pth``,
            ``.pt``, ``.th`` or ``.npz`` file with a state dict in the names of one of
            `formats.FORMATS`, of darknet's ``.weights`` or Caffe's ``.caffemodel``; or a
            state dict (name -> tensor or array). A state dict's classifier is left out
            if the model has none; its first convolution is adapted to the model's
            input channels.
        spec: The `ResNetSpec` that the model was built from.
        network: Key of `ARCHITECTURES`, by which sources are asked; by default the
            model's name.
        new_classifier: Whether the model keeps its own random classifier where that of
            the weights is for another number of classes.

    Returns:
        The `Preprocessing` that goes with the weights; `None` where nothing is known.

    Raises:
        FileNotFoundError: If there is no such file.
        ConnectionError: If published weights can't be downloaded.
        ValueError: If names or shapes don't fit the model. The model then keeps the
            weights that it had.
    """
    form = known = None
    if sources.is_published(weights):
        found = sources.fetch(weights, network or model.name, spec)
        weights, known = found.weights, found.preprocessing
    if isinstance(weights, (str, pathlib.Path)):
        path = pathlib.Path(weights)
        if not path.is_file():
            names = ", ".join(sources.SOURCES)
            raise FileNotFoundError(
                f"`weights` must be None, a file, a state dict or 'source:tag' with one "
                f"of the sources {names}. No file at {path}."
            )
        if path.name.endswith((".weights.h5", ".keras")):
            _load_keras(model, path, new_classifier)
            return preprocessing_beside(path)
        if path.suffix in BINARY:
            reader = BINARY[path.suffix]
            known = reader.PREPROCESSING
            form, weights = FORMATS["own"], reader.read(path, spec)
        else:
            weights = read_state_dict(path)
    if not isinstance(weights, Mapping):
        raise ValueError(
            "`weights` must be None, a file, a state dict (name -> tensor or array) or "
            f"'source:tag'. Received: {weights!r}."
        )
    load_state_dict(model, weights, spec, form=form, new_classifier=new_classifier)
    return known


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
    """Raises `ValueError` unless a Keras file has the model's layers.

    Keras itself goes by their kinds and order, so that networks with the same shapes
    would take each other's weights. Warns where the strides lie elsewhere, which the
    weights' names and shapes don't show either.
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
            stacklevel=5,
        )


def load_state_dict(model, state_dict, spec, *, form=None, new_classifier=False):
    """Fills a model from a state dict.

    Warns where weights of the v1.5 form, as torchvision's own are, would go unnoticed
    into the v1 form, whose names and shapes are the same.

    Args:
        model: As of `load_weights`.
        state_dict: From name to tensor or array.
        spec: As of `load_weights`.
        form: Of `formats.FORMATS`; by default the one whose names the state dict has.
        new_classifier: As of `load_weights`.

    Raises:
        ValueError: If a weight is missing, left over or of another shape.
    """
    paths = [tuple(variable.path.split("/")[-2:]) for variable in model.weights]
    form = form or recognized(state_dict, spec, model)
    _warn_of_stride(form, spec, model.name)
    try:
        arrays = dict(form.prepare(state_dict, spec))
    except KeyError as error:
        raise ValueError(
            f"The state dict must hold {error.args[0]!r}. Is it another network's? It "
            f"holds {len(state_dict)} entries, e.g. {sorted(state_dict)[:3]}."
        ) from error
    except (IndexError, ValueError) as error:  # A shape, or a name that is too short.
        raise ValueError(
            f"The state dict's names and shapes must fit {model.name!r}. Is it another "
            f"network's, or damaged? ({error})"
        ) from error
    _replace_classifier(arrays, form, model, spec, new_classifier)

    keys = [form.key(spec, layer, name) for layer, name in paths]
    _check_keys(keys, arrays, model, len(state_dict))
    values = [
        _fitted(as_array(arrays[key]), key, variable, form)
        for key, variable in zip(keys, model.weights, strict=True)
    ]
    model.set_weights(values)


def _warn_of_stride(form, spec, name):
    """Warns where names and shapes fit, and the weights are of the other stride."""
    if spec.order != "original":
        return
    block = spec.stages[0].block
    on_the_3x3 = (FORMATS["torchvision"], FORMATS["kerashub"])
    if form in on_the_3x3 and block == "bottleneck":
        warnings.warn(
            f"{name!r} has its stride on the first 1x1 convolution, as in the paper. "
            "Weights of torchvision, timm, KerasHub and fb.resnet.torch were trained "
            "with it on the 3x3 and give wrong logits here: load them into "
            "'resnet50_v1_5', 'resnet101_v1_5' or 'resnet152_v1_5'.",
            stacklevel=4,
        )
    elif form is FORMATS["keras_applications"] and block == "bottleneck_v1_5":
        warnings.warn(
            f"{name!r} has its stride on the 3x3 convolution. keras.applications' weights "
            "were trained with it on the first 1x1 and give wrong logits here: load them "
            "into 'resnet50', 'resnet101' or 'resnet152'.",
            stacklevel=4,
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


def recognized(state_dict, spec, model):
    """The `Format` of whose names for the model a state dict has most."""
    paths = [variable.path.split("/")[-2:] for variable in model.weights]
    # By which some forms differ alone, also where the model has no classifier.
    paths += [("logits", "kernel"), ("logits", "bias")]

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


def preprocessing_beside(path):
    """The `Preprocessing` of a run's ``model.keras``, or of a converted network's.

    `None` for any other file.

    Raises:
        ValueError: If the file beside it does not tell it.
    """
    for name in ("source.json", "record.json") if path.name == "model.keras" else ():
        file = path.with_name(name)
        if file.is_file():
            try:
                says = json.loads(file.read_text(encoding="utf-8"))
                return Preprocessing.from_json(says["preprocessing"])
            except (ValueError, KeyError, TypeError) as error:
                raise ValueError(
                    f"{file} must tell what images go through before {path.name}, and it "
                    f"doesn't ({error!r}). Put it right, or move {path.name} elsewhere."
                ) from error
    return None


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
