"""What is in a batch: images as the backbone wants them, and the true boxes."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_resnet.config.detector import DetectorSpec
from keras_resnet.detection.boxes import Tensor, usable_boxes

# Sides of what a pyramid is built on are multiples of this, as in torchvision and
# Detectron2: else anchors, whose distances are whole numbers of pixels, lie elsewhere than
# what their cells see.
MULTIPLE = 32


def normalized(batch: Mapping[str, Any], spec: DetectorSpec) -> tuple[Tensor, Tensor]:
    """The images as the backbone wants them.

    What fills an image up becomes 0 behind the normalization, as in torchvision and
    Detectron2.

    Args:
        batch: ``"images"`` ``(batch, height, width, 3)``, RGB from 0 to 255, and perhaps
            ``"image_shapes"`` ``(batch, 2)``.
        spec: The detector's row.

    Returns:
        Float32 images, for a pyramid with sides of multiples of `MULTIPLE`, and their
        heights and widths before they were filled up, float32 ``(batch, 2)``.
    """
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


def truth_of(batch: Mapping[str, Any]) -> dict[str, Tensor]:
    """The true boxes of a batch, with one more row, so that there is one at least.

    Args:
        batch: ``"bounding_boxes"``, a dict of ``"boxes"`` ``(batch, n, 4)`` and
            ``"classes"`` ``(batch, n)``.

    Returns:
        ``"boxes"`` float32 ``(batch, n + 1, 4)``, ``"classes"`` int32 and ``"real"`` bool
        ``(batch, n + 1)``: the others have the class -1, or no area.
    """
    boxes = ops.cast(batch["bounding_boxes"]["boxes"], "float32")
    classes = ops.cast(batch["bounding_boxes"]["classes"], "int32")
    boxes = ops.pad(boxes, [[0, 0], [0, 1], [0, 0]], constant_values=-1.0)
    classes = ops.pad(classes, [[0, 0], [0, 1]], constant_values=-1)
    real = (classes >= 0) & usable_boxes(boxes, 0.0)
    return {"boxes": boxes, "classes": classes, "real": real}


def unknown_classes(
    truth: dict[str, Tensor], num_classes: int, *, xla: bool
) -> Tensor | None:
    """Raises an error where a true box is of a class that the detector doesn't have.

    What is compiled, on JAX and by XLA, can't raise any.

    Args:
        truth: What `truth_of` returned; where no error can be raised, its classes are made
            such as there are.
        num_classes: Number of classes.
        xla: Whether TensorFlow compiles with XLA.

    Returns:
        Where no error can be raised, whether there is such a box, a scalar bool; else
        `None`.

    Raises:
        ValueError: If there is one, of tensors whose values are known.
        tf.errors.InvalidArgumentError: The same, in a graph of TensorFlow's.
    """
    most = ops.max(ops.where(truth["real"], truth["classes"], -1))
    said = (
        f"Classes must be from 0 to {num_classes - 1}, as the detector has {num_classes}; "
        "the background is not among them."
    )
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        if not tf.executing_eagerly() and not xla:
            tf.debugging.assert_less(most, num_classes, said)
            return None
        known = tf.executing_eagerly()
    elif backend == "jax":
        import jax

        known = not isinstance(most, jax.core.Tracer)
    else:
        known = getattr(most, "device", None) is None or most.device.type != "meta"
    if not known:
        # No gradient may come from beyond the last class.
        truth["classes"] = ops.minimum(truth["classes"], num_classes - 1)
        return most >= num_classes
    if int(most) >= num_classes:
        raise ValueError(f"{said} Received: class {int(most)}.")
    return None


def per_channel(mean: Sequence[Any]) -> tuple[float, ...]:
    """A mean of each of three channels, also of weights that have one for each pixel."""
    return tuple(float(value) for value in np.mean(np.reshape(mean, (-1, 3)), axis=0))
