"""torchvision's detectors, to compare what ours puts out with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from keras_resnet.config.detectors import DETECTORS
from keras_resnet.detection.batches import normalized
from keras_resnet.detection.weights import to_state_dict

if TYPE_CHECKING:
    from keras_resnet.detection.faster_rcnn import FasterRCNN


def logits(
    model: FasterRCNN, image: np.ndarray
) -> tuple[np.ndarray, np.ndarray] | None:
    """Logits of a detector, and those of torchvision's with the same weights.

    They are the region proposal network's for an image, and the box head's for a piece of
    its finest map. What lies between the two needs operators of torchvision that can't be
    loaded everywhere.

    Args:
        model: A `FasterRCNN`.
        image: ``(height, width, 3)``, RGB from 0 to 255, with sides of multiples of 32.

    Returns:
        Both as float32 ``(n,)``; `None` if torchvision isn't installed or doesn't have this
        detector.

    Raises:
        RuntimeError: If torchvision's doesn't take the weights.
    """
    theirs = _torchvision(model)
    if theirs is None:
        return None
    import torch

    images, _ = normalized({"images": image[np.newaxis]}, model.spec)
    features = model.features(images, training=False)
    side = model.spec.box_head.pooled
    piece = features["maps"][0][:, :side, :side]
    ours = [*features["objectness"], model.box_head(piece, training=False)["logits"]]
    with torch.no_grad():
        x = torch.from_numpy(_channels_first(images))
        maps = list(theirs.backbone(x).values())
        objectness, _ = theirs.rpn.head(maps)
        head = theirs.roi_heads
        said = head.box_predictor(head.box_head(maps[0][:, :, :side, :side]))[0]
        # Anchors of a cell stand beside each other, as ours.
        expected = [one.permute(0, 2, 3, 1) for one in objectness] + [said]
    if model.spec.box_head.background_class == "last":
        ours[-1] = keras.ops.roll(ours[-1], 1, axis=-1)
    return _flat(map(keras.ops.convert_to_numpy, ours)), _flat(
        one.numpy() for one in expected
    )


def _torchvision(model: FasterRCNN) -> Any:
    """torchvision's detector with the weights of ours, in evaluation, or `None`."""
    name = model.spec.name
    try:
        import torch
        from torchvision.models import detection, get_model, list_models
    except (ImportError, RuntimeError):  # The latter if it is another PyTorch's.
        return None
    if name not in DETECTORS or name not in list_models(module=detection):
        return None
    theirs = get_model(
        name,
        weights=None,
        weights_backbone=None,
        num_classes=model.num_classes + 1,
    )
    state = to_state_dict(model)
    theirs.load_state_dict({key: torch.as_tensor(one) for key, one in state.items()})
    return theirs.eval()


def _channels_first(images):
    images = keras.ops.convert_to_numpy(images)
    return np.ascontiguousarray(images.transpose(0, 3, 1, 2))


def _flat(arrays):
    return np.concatenate([np.ravel(one) for one in arrays])
