"""Puts weights into networks of ours: all of them, or none."""

import contextlib
import os
from collections.abc import Iterator
from functools import partial

import keras
import numpy as np

from keras_resnet.config.preprocessing import Preprocessing
from keras_resnet.config.spec import ResNetSpec
from keras_resnet.config.words import counted
from keras_resnet.weights.checkpoints import weights_in
from keras_resnet.weights.classifier import NEW_CLASSIFIER, is_head, replace_classifier
from keras_resnet.weights.conventions import FORMATS, State, fitting_names, recognized
from keras_resnet.weights.files import as_array, check_weights
from keras_resnet.weights.keras_fill import fill_from_keras_file
from keras_resnet.weights.notes import warn, warn_if_unknown
from keras_resnet.weights.read import read
from keras_resnet.weights.result import Weights


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
    warn_if_unknown(found)
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
    network = weights.network or model.name
    if weights.keras_file is not None:
        fill_from_keras_file(model, weights.keras_file, new_classifier, network)
        return
    with _telling(weights.choice):
        load_state_dict(
            model,
            weights.state,
            weights.spec,
            form=weights.form,
            network=network,
            new_classifier=new_classifier,
        )


def load_state_dict(
    model: keras.Model,
    state_dict: State,
    spec: ResNetSpec,
    *,
    form: str | None = None,
    network: str | None = None,
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
        network: What the network is called in messages; the model's name by default.
        new_classifier: As of `load_weights`.

    Raises:
        ValueError: If a weight is missing, left over or of another shape. The model then
            keeps the weights that it had.
    """
    network = network or model.name
    if form is None:
        found = weights_in(state_dict, partial(fitting_names, spec=spec))
        form = recognized(found.state, spec)
        with _telling(found.choice):
            load_state_dict(
                model,
                found.state,
                spec,
                form=form,
                network=network,
                new_classifier=new_classifier,
            )
        return
    _warn_of_stride(form, spec, network)
    arrays = _prepared(state_dict, form, spec, network)
    form = FORMATS[form]
    replace_classifier(arrays, form, model, spec, new_classifier)
    paths = [tuple(variable.path.split("/")[-2:]) for variable in model.weights]
    keys = [form.key(spec, layer, name) for layer, name in paths]
    classifier = {form.key(spec, "logits", name) for name in ("kernel", "bias")} - {
        None
    }
    _check_keys(keys, classifier, arrays, network, len(state_dict))
    values = [
        _fitted(as_array(arrays[key]), key, variable, form)
        for key, variable in zip(keys, model.weights, strict=True)
    ]
    model.set_weights(values)


@contextlib.contextmanager
def _telling(choice: str | None) -> Iterator[None]:
    """Has errors tell which of several networks' weights were taken."""
    try:
        yield
    except ValueError as error:
        if choice is None:
            raise
        raise ValueError(f"{error} {choice}") from error


def _prepared(state_dict, form, spec, name):
    """The arrays with everything undone that a format does differently from us."""
    try:
        return dict(FORMATS[form].prepare(state_dict, spec))
    except KeyError as error:
        raise ValueError(
            f"The state dict must hold {error.args[0]!r}. Is it another network's? It "
            f"holds {counted(len(state_dict), 'entry', 'entries')}, e.g. "
            f"{sorted(state_dict)[:3]}."
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
        warn(
            f"{name!r} has its stride on the first 1x1 convolution, as in the paper. "
            "Weights of torchvision, timm, KerasHub and fb.resnet.torch were trained "
            "with it on the 3x3 and give wrong logits here: load them into "
            "'resnet50_v1_5', 'resnet101_v1_5' or 'resnet152_v1_5'."
        )
    elif form == "keras_applications" and block == "bottleneck_v1_5":
        warn(
            f"{name!r} has its stride on the 3x3 convolution. keras.applications' weights "
            "were trained with it on the first 1x1 and give wrong logits here: load them "
            "into 'resnet50', 'resnet101' or 'resnet152'."
        )


def _check_keys(keys, classifier, arrays, model, entries):
    """Raises `ValueError` unless the names are those that the model wants."""
    missing = [key for key in dict.fromkeys(keys) if key not in arrays]
    unexpected = sorted(set(map(str, arrays)) - set(map(str, keys)))
    heads = [name for name in unexpected if is_head(name)]
    if missing and classifier.issuperset(missing):
        raise ValueError(
            f"The state dict must hold {missing[0]!r}{_and_more(missing[1:])} for "
            f"{model!r}, whose classifier is one dense layer with a bias. It holds "
            f"{counted(entries, 'entry', 'entries')}, of another classifier "
            f"{heads[:5] or 'none'}. {NEW_CLASSIFIER}"
        )
    if missing:
        first = missing[0]
        raise ValueError(
            f"The state dict must hold {first or 'a name'!r}{_and_more(missing[1:])} for "
            f"{model!r}. Is it another network's? It holds "
            f"{counted(entries, 'entry', 'entries')}, without a place there: "
            f"{unexpected[:5] or 'none'}."
        )
    if unexpected:
        raise ValueError(
            f"The state dict holds {counted(len(unexpected), 'weight')} that {model!r} "
            f"has no place for: {unexpected[:5]}. Is it another network's?"
            + (f" {NEW_CLASSIFIER}" if heads == unexpected else "")
        )


def _and_more(names):
    if not names:
        return ""
    rest = f" and {len(names) - 4} more" if len(names) > 4 else ""
    return "".join(f", {name!r}" for name in names[:4]) + rest


def _fitted(array, name, variable, form):
    """``array`` in Keras's layout: (kh, kw, in, out) for (out, in, kh, kw)."""
    check_weights(array, name, variable.path)
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
            + (f" {NEW_CLASSIFIER}" if "logits" in variable.path else "")
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
