"""Weights of detectors: torchvision's state dicts, read and written; files of ours, read.

`torch_names` has their names and layouts. The published weights of
``fasterrcnn_resnet50_fpn`` are for batch norms without an ε (pytorch/vision#2940).
"""

from __future__ import annotations

import os
import pathlib
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import keras
import numpy as np

from keras_resnet.detection import heads
from keras_resnet.detection.own_files import OWN, read_detector
from keras_resnet.detection.torch_names import (
    PREDICTOR,
    to_ours,
    to_theirs,
    variables,
)
from keras_resnet.files import local_path
from keras_resnet.weights.checkpoints import weights_in
from keras_resnet.weights.conventions import State
from keras_resnet.weights.download import HASH, download, refuse
from keras_resnet.weights.files import as_array, check_weights, read_checkpoint
from keras_resnet.weights.packages import imported

if TYPE_CHECKING:
    from keras_resnet.detection.faster_rcnn import FasterRCNN

EPSILON = 1e-5  # Of our batch norms, and of torchvision's unless weights say otherwise.
WITHOUT_EPSILON = "258fb6c6"  # How the SHA-256 of these weights begins.

# Names of before torchvision 0.13, and what they are now.
EARLIER = {
    r"(backbone\.fpn\.(?:inner|layer)_blocks\.\d)\.(weight|bias)": r"\1.0.\2",
    r"(rpn\.head\.conv)\.(weight|bias)": r"\1.0.0.\2",
}


def load_weights(
    model: FasterRCNN,
    weights: str | os.PathLike[str] | State,
    *,
    classes_may_differ: bool = False,
) -> None:
    """Fills a detector with published weights, those of a file or of a state dict.

    Args:
        model: A `FasterRCNN`.
        weights: ``"torchvision:COCO_V1"``; the path of a file of PyTorch, safetensors or
            NumPy with a state dict of torchvision's detector, or of a ``.keras`` or
            ``.weights.h5`` file of ours; the folder of a run or of a converted detector;
            or a state dict.
        classes_may_differ: As of `load_state_dict`.

    Names of classes come with published weights, ``.keras`` files and folders, where they
    are as many as the model's classes. ``.keras`` files and folders also say how pixels are
    normalized (``mean``, ``std`` and ``channel_order`` of the model's ``spec``).

    Raises:
        FileNotFoundError: If there is no such file.
        ConnectionError: If published weights can't be downloaded.
        ImportError: If the library that publishes or reads them isn't installed.
        ValueError: If names or shapes don't fit the model, which then keeps its weights.
    """
    epsilon, names = EPSILON, None
    if isinstance(weights, str) and weights.startswith("torchvision:"):
        weights, names = _published(weights, model.spec.name)
    if isinstance(weights, Mapping):
        state = weights
    else:
        path = local_path(weights)
        path = path / "model.keras" if path.is_dir() else path
        if path.suffix in OWN:
            source = read_detector(path, model, classes_may_differ)
            copy_weights(model, source)
            _see_as(model, source)
            if source.class_names and source.num_classes == model.num_classes:
                model.class_names = source.class_names
            return
        state = state_dict_in(path)
        found = HASH.search(path.name)
        epsilon = 0.0 if found and found[1] == WITHOUT_EPSILON else EPSILON
    load_state_dict(
        model, state, epsilon=epsilon, classes_may_differ=classes_may_differ
    )
    if names is not None and len(names) == model.num_classes:
        model.class_names = names


def _see_as(model, source):
    """Lets a model normalize pixels as the one does whose weights it has."""
    colors = ("mean", "std", "channel_order")
    model.spec = replace(
        model.spec, **{name: getattr(source.spec, name) for name in colors}
    )
    # What Keras traced before has the old numbers in it.
    model.train_function = model.test_function = model.predict_function = None


def state_dict_in(path: pathlib.Path) -> State:
    """The state dict in a file, also where a trainer saved other things beside it.

    Args:
        path: Of PyTorch's, safetensors' or NumPy's file.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If there is none in it.
    """

    def fits(state):
        return sum(key.startswith(("backbone.", "rpn.", "roi_heads.")) for key in state)

    found = weights_in(read_checkpoint(path), fits)
    if not found.state:
        raise ValueError(
            f"{path} must hold a state dict, of tensors by their names. Received: none in "
            "it."
        )
    return found.state


def _published(weights, name):
    """The file of torchvision's weights, and the names of their classes."""
    models = imported("torchvision.models", f"'{weights}'")
    tag = weights.partition(":")[2]
    if name not in models.list_models(module=models.detection):
        refuse(weights, name, "torchvision doesn't have this detector.")
    entries = models.get_model_weights(name).__members__
    if tag not in entries:
        tags = ", ".join(f"torchvision:{entry}" for entry in entries)
        refuse(weights, name, f"There are {tags}.")
    path, _ = download(entries[tag].url)
    names = entries[tag].meta["categories"]
    # COCO's numbers that no class has are "N/A", and names must differ. The first is the
    # background's.
    apart = (f"N/A {n}" if name == "N/A" else name for n, name in enumerate(names))
    return path, tuple(apart)[1:]


def load_state_dict(
    model: FasterRCNN,
    state_dict: State,
    *,
    epsilon: float = EPSILON,
    classes_may_differ: bool = False,
) -> None:
    """Fills a detector from a state dict of torchvision's: all of it, or nothing.

    Args:
        model: A `FasterRCNN`.
        state_dict: From name to tensor or array.
        epsilon: That of the batch norms which the weights were trained with. The
            difference from ours is added to their variances.
        classes_may_differ: Whether the model keeps its own last layers if the state dict's
            are for another number of classes, or know no context.

    Raises:
        ValueError: If a weight is missing, left over or of another shape. The model then
            keeps the weights that it had.
    """
    state = _without_counters(state_dict)
    found = variables(model)
    logits = state.get("roi_heads.box_predictor.cls_score.weight")
    wanted = model.box_head.get_layer("box_logits").kernel.shape[::-1]
    new = logits is not None and tuple(logits.shape) != tuple(wanted)
    if new and classes_may_differ:
        kept = {key for key, (layer, _, _) in found.items() if layer in PREDICTOR}
        found = {key: value for key, value in found.items() if key not in kept}
        state = {key: value for key, value in state.items() if key not in kept}
    _check_names(found, state, model.name)
    values = []
    for key, (layer, name, variable) in found.items():
        array = as_array(state[key])
        if name == "moving_variance":
            array = array + (epsilon - EPSILON)
        check_weights(array, key, variable.path)
        array = to_ours(array, layer, model)
        if array.shape != tuple(variable.shape):
            raise ValueError(
                f"{key!r} must have the shape {tuple(variable.shape)} (in Keras's layout) "
                f"to fit {variable.path!r}: does `num_classes` match the weights? "
                f"Received: {array.shape}."
            )
        values.append((variable, array))
    for variable, array in values:
        variable.assign(array)


def copy_weights(model: FasterRCNN, source: FasterRCNN) -> None:
    """Gives a detector what another one of ours has, but for what depends on the classes.

    Args:
        model: The one to fill. Where it has another number of classes, the two layers that
            depend on it stay as they are.
        source: The other.

    Raises:
        ValueError: If another layer has other weights. The model then keeps its own.
    """
    theirs = {
        layer.name: layer.get_weights()
        for layer in heads.parts(source.features, source.box_head)
    }
    found = []
    for layer in heads.parts(model.features, model.box_head):
        own, given = layer.get_weights(), theirs.pop(layer.name, [])
        same = [one.shape for one in own] == [one.shape for one in given]
        if same:
            found.append((layer, given))
        elif layer.name not in PREDICTOR:
            raise ValueError(
                f"The weights must be those of a detector like {model.spec.name!r}. "
                f"Received: {source.spec.name!r}, whose layer {layer.name!r} is another."
            )
    if theirs:
        raise ValueError(
            f"The weights must be those of a detector like {model.spec.name!r}. Received: "
            f"{source.spec.name!r}, which has more layers, such as {min(theirs)!r}."
        )
    for layer, given in found:
        layer.set_weights(given)


def classes_of(state_dict: State) -> int | None:
    """The number of classes of torchvision's state dict, `None` if it doesn't tell.

    Args:
        state_dict: From name to tensor or array.
    """
    logits = state_dict.get("roi_heads.box_predictor.cls_score.bias")
    return None if logits is None else len(logits) - 1


def _without_counters(state_dict):
    """The weights by torchvision's newer names, without numbers of batches seen."""
    state = {}
    for key, value in state_dict.items():
        for earlier, now in EARLIER.items():
            key = re.sub(rf"^{earlier}$", now, key)
        if not key.endswith("num_batches_tracked"):
            state[key] = value
    return state


def _check_names(wanted, state, model):
    missing = [key for key in wanted if key not in state]
    unexpected = sorted(set(state) - set(wanted))
    if missing or unexpected:
        raise ValueError(
            f"The state dict must hold what {model!r} has, no more and no less. It lacks "
            f"{missing[:5] or 'nothing'}, and the model has no place for "
            f"{unexpected[:5] or 'nothing'}. Is it another detector's? Received: "
            f"{len(state)} entries."
        )


def to_state_dict(model: FasterRCNN) -> dict[str, np.ndarray]:
    """The weights of a detector in torchvision's names and layout.

    Args:
        model: A `FasterRCNN`.

    Returns:
        From name to array, float32 except for the counters of batches that batch norms
        have seen. torchvision's detector loads it with ``strict=True``; that of a
        ``"c4"`` has no counterpart there: its last stage is
        ``roi_heads.box_head.layer4``. Nor has one with context, whose last layers are
        wider.

    Raises:
        ValueError: If torchvision has no such backbone.
    """
    state = {}
    for key, (layer, name, variable) in variables(model).items():
        array = to_theirs(keras.ops.convert_to_numpy(variable), layer, model)
        state[key] = np.ascontiguousarray(array)
        if name == "moving_mean" and not _is_frozen(layer, model):
            counter = key.replace("running_mean", "num_batches_tracked")
            state[counter] = np.zeros((), "int64")
    return state


def _is_frozen(layer, model):
    frozen = model.frozen and model.spec.frozen_batch_norm
    return frozen and not layer.startswith(("fpn_", "box_"))
