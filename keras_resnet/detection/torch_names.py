"""torchvision's names and layouts for the variables of detectors.

Those of the backbone are in `weights.conventions`. Two things are more than a name: a dense
layer behind a flattened map has its inputs in another order, and the background is
torchvision's first class.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import keras
import numpy as np

from keras_resnet.detection import heads
from keras_resnet.weights.conventions import FORMATS
from keras_resnet.weights.layer_names import TORCH

if TYPE_CHECKING:
    from keras_resnet.detection.faster_rcnn import FasterRCNN

# Our layers outside of the backbone, whose numbers begin with 1, and torchvision's.
NAMES: dict[str, str] = {
    r"fpn_inner(\d)_conv": "backbone.fpn.inner_blocks.{}.0",
    r"fpn_inner(\d)_bn": "backbone.fpn.inner_blocks.{}.1",
    r"fpn_layer(\d)_conv": "backbone.fpn.layer_blocks.{}.0",
    r"fpn_layer(\d)_bn": "backbone.fpn.layer_blocks.{}.1",
    r"rpn_(\d)_conv": "rpn.head.conv.{}.0",
    r"rpn_logits": "rpn.head.cls_logits",
    r"rpn_offsets": "rpn.head.bbox_pred",
    r"box_(\d)_conv": "roi_heads.box_head.{}.0",
    r"box_(\d)_bn": "roi_heads.box_head.{}.1",
    r"box_logits": "roi_heads.box_predictor.cls_score",
    r"box_offsets": "roi_heads.box_predictor.bbox_pred",
}
DENSE: dict[str, dict[str, str]] = {  # By the layers of the box head.
    "dense": {
        "box_dense1": "roi_heads.box_head.fc6",
        "box_dense2": "roi_heads.box_head.fc7",
    },
    "convolutions": {"box_dense1": f"roi_heads.box_head.{heads.CONVOLUTIONS + 1}"},
    "stage": {},
}
PREDICTOR = ("box_logits", "box_offsets")  # The layers that know the number of classes.
FLATTENED = "box_dense1"  # The layer behind a flattened map.


def variables(model: FasterRCNN) -> dict[str, tuple[str, str, keras.Variable]]:
    """Torchvision's name of each variable, with its layer's name, its own and itself.

    Args:
        model: A `FasterRCNN`.

    Raises:
        ValueError: If torchvision has no such backbone.
    """
    return {
        f"{_module(layer.name, model)}.{TORCH[variable.name]}": (
            layer.name,
            variable.name,
            variable,
        )
        for layer in heads.parts(model.features, model.box_head)
        for variable in layer.weights
    }


def _module(layer, model):
    """Torchvision's name for one of our layers."""
    for pattern, name in NAMES.items():
        if match := re.fullmatch(pattern, layer):
            return name.format(*(int(number) - 1 for number in match.groups()))
    if layer in DENSE[model.spec.box_head.layers]:
        return DENSE[model.spec.box_head.layers][layer]
    network = model.spec.network
    key = FORMATS["torchvision"].key(network, layer, "kernel")
    if key is None:
        raise ValueError(
            "State dicts are torchvision's, which has networks of the order of v1 alone. "
            f"Received: a detector on {network.name!r}."
        )
    in_head = model.spec.neck == "c4" and key.startswith(f"layer{len(network.stages)}.")
    prefix = "roi_heads.box_head" if in_head else "backbone.body"
    return f"{prefix}.{key.removesuffix('.weight')}"


def to_ours(array: np.ndarray, layer: str, model: FasterRCNN) -> np.ndarray:
    """An array in our layout.

    Args:
        array: In torchvision's.
        layer: Name of our layer.
        model: The `FasterRCNN`.
    """
    if array.ndim == 4:
        return array.transpose(2, 3, 1, 0)
    if layer in PREDICTOR and model.spec.box_head.background_class == "last":
        # Of boxes it has no background.
        array = np.roll(array, -1, axis=0) if layer == "box_logits" else array[4:]
    if layer == FLATTENED and array.ndim == 2:
        side = model.spec.box_head.pooled
        array = array.reshape(len(array), -1, side, side).transpose(0, 2, 3, 1)
        array = array.reshape(len(array), -1)
    return array.T


def to_theirs(array: np.ndarray, layer: str, model: FasterRCNN) -> np.ndarray:
    """The inverse of `to_ours`.

    Args:
        array: In our layout.
        layer: As of `to_ours`.
        model: As of `to_ours`.
    """
    if array.ndim == 4:
        return array.transpose(3, 2, 0, 1)
    array = array.T
    if layer == FLATTENED and array.ndim == 2:
        side = model.spec.box_head.pooled
        array = array.reshape(len(array), side, side, -1).transpose(0, 3, 1, 2)
        array = array.reshape(len(array), -1)
    if layer in PREDICTOR and model.spec.box_head.background_class == "last":
        if layer == "box_logits":
            return np.roll(array, 1, axis=0)
        array = np.concatenate([np.zeros_like(array[:4]), array])
    return array
