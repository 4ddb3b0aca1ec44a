"""What is in a batch: images as the backbone wants them, and the true boxes."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from keras import ops

from keras_resnet.config.detector import DetectorSpec
from keras_resnet.detection import checks
from keras_resnet.detection.boxes import Tensor, clip, sides

# Sides of what a pyramid is built on are multiples of this, as in torchvision and
# Detectron2: else anchors, whose distances are whole numbers of pixels, lie elsewhere than
# what their cells see.
MULTIPLE = 32


def normalized(batch: Mapping[str, Any], spec: DetectorSpec) -> tuple[Tensor, Tensor]:
    """The images as the backbone wants them.

    What fills an image up becomes 0 behind the normalization, as in torchvision and
    Detectron2.

    Args:
        batch: ``"images"`` ``(batch, height, width, 3)``, RGB from 0 to 255, or
            ``(batch, height, width, 1)``, grey, and perhaps
            ``"image_shapes"`` ``(batch, 2)``.
        spec: The detector's row.

    Returns:
        Float32 images, for a pyramid with sides of multiples of `MULTIPLE`, and their
        heights and widths before they were filled up, float32 ``(batch, 2)``.

    Raises:
        ValueError: If the tensors don't have these axes.
    """
    checks.check_shapes(batch)
    images = ops.cast(batch["images"], "float32")
    if spec.channel_order == "bgr":
        images = ops.flip(images, axis=-1)
    mean, std = (
        ops.convert_to_tensor(numbers, "float32") for numbers in (spec.mean, spec.std)
    )
    images = (images - mean) / std
    shapes = shapes_of(batch)
    height, width = ops.shape(images)[1:3]
    if batch.get("image_shapes") is not None:
        seen = inside(shapes, height, width)[..., None]
        images = images * ops.cast(seen, "float32")
    if spec.neck == "fpn":
        more = [[0, -side % MULTIPLE] for side in (height, width)]
        images = ops.pad(images, [[0, 0], *more, [0, 0]])
    return images, shapes


def shapes_of(batch: Mapping[str, Any]) -> Tensor:
    """Heights and widths of the images before they were filled up, float32 ``(batch, 2)``.

    Args:
        batch: As of `normalized`.
    """
    if batch.get("image_shapes") is not None:
        return ops.cast(batch["image_shapes"], "float32")
    count, *sides = ops.shape(batch["images"])[:3]
    size = ops.stack([ops.cast(side, "float32") for side in sides])
    return ops.broadcast_to(size, (count, 2))


def inside(shapes: Tensor, height: Any, width: Any) -> Tensor:
    """Which pixels are no filling, bool ``(batch, height, width)``.

    Args:
        shapes: Heights and widths of the images in the batch, ``(batch, 2)``.
        height: Of the batch.
        width: Of the batch.
    """
    shapes = ops.cast(shapes, "float32")
    rows = ops.cast(ops.arange(height), "float32") < shapes[:, :1]
    columns = ops.cast(ops.arange(width), "float32") < shapes[:, 1:]
    return rows[:, :, None] & columns[:, None]


def truth_of(
    batch: Mapping[str, Any], shapes: Tensor, num_classes: int
) -> dict[str, Tensor]:
    """The true boxes of a batch, with one more row, so that there is one at least.

    Boxes are cut off at the edges of their images, as torchvision's and Detectron2's
    training does (references/detection/coco_utils.py; data/detection_utils.py).

    Args:
        batch: ``"bounding_boxes"``, a dict of ``"boxes"`` ``(batch, n, 4)`` and
            ``"classes"`` ``(batch, n)``.
        shapes: Height and width of each image, ``(batch, 2)``.
        num_classes: Number of classes, without the background.

    Returns:
        ``"boxes"`` float32 ``(batch, n + 1, 4)``, ``"classes"`` int32 and ``"real"`` bool
        ``(batch, n + 1)``: the others have no such class, or no area in their image, and
        are -1.
    """
    boxes = ops.cast(batch["bounding_boxes"]["boxes"], "float32")
    classes = ops.cast(batch["bounding_boxes"]["classes"], "int32")
    boxes = ops.pad(boxes, [[0, 0], [0, 1], [0, 0]], constant_values=-1.0)
    classes = ops.pad(classes, [[0, 0], [0, 1]], constant_values=-1)
    finite = ops.all(ops.isfinite(boxes), axis=-1)
    boxes = clip(boxes, shapes)
    real = finite & (classes >= 0) & (classes < num_classes) & (sides(boxes) > 0)
    # What isn't real has a weight of 0, by which not even infinity may be multiplied.
    boxes = ops.where(real[..., None], boxes, -1.0)
    return {"boxes": boxes, "classes": ops.where(real, classes, -1), "real": real}


def per_channel(mean: Sequence[Any]) -> tuple[float, ...]:
    """A mean of each of three channels, also of weights that have one for each pixel."""
    return tuple(float(value) for value in np.mean(np.reshape(mean, (-1, 3)), axis=0))
