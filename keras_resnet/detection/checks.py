"""Checks what a detector is trained on, and how, before it is.

What can be seen of shapes alone is checked wherever a batch comes from, by `check_shapes`.
The values of arrays and of a `tf.data.Dataset` are checked before the backend sees them:
compiled by JAX or XLA, a wrong class would be no error. From elsewhere, objects that can't
be trained on are left out; see `batches.truth_of`.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from keras_resnet.detection import losses
from keras_resnet.detection.boxes import Tensor
from keras_resnet.detection.detector import Detector

PADDING = -1.0  # Of boxes and classes where an image has fewer.
AXES = {
    "images": ("batch", "height", "width", "1 or 3"),
    "image_shapes": ("batch", "2"),
    "boxes": ("batch", "n", "4"),
    "classes": ("batch", "n"),
}
# What the length of the last axis may be; TensorFlow may not know it.
LAST = {"images": (1, 3, None), "image_shapes": (2, None), "boxes": (4, None)}
CLASSES = (
    "`classes` must be less than `num_classes`, {classes}. They count from 0, and the "
    "background has no number of its own. Received one of {{}}."
)
BOXES = (
    "`boxes` must be finite, with `x1 <= x2` and `y1 <= y2`, in pixels. Widths and heights "
    "are not what comes third and fourth. Received one of x1, y1, x2, y2 = {}."
)
NUMBERS = "`classes` must be finite. Received one of {}."
FRACTIONS = (
    "`boxes` must be in pixels. Received some that are all from 0 to 1, as fractions of "
    "the image's sides are, such as {}."
)
SHAPES = (
    "`image_shapes` must be heights and widths of at least 1 and at most the batch's, "
    "{height} and {width}: those of the images as they lie in the batch, without the "
    "padding. Received one of {{}}."
)
PIXELS = "`images` must be finite. Received some that hold {}."


class CheckedModel(Detector):
    """A detector whose data and devices are checked when it is fitted."""

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Tensor:
        """The sum of the losses that `call` has returned, as Keras wants it for a replica.

        Not of `losses`: replicas wait for each other inside of `call`, and that list then
        has another one's as well.
        """
        if not isinstance(x, Mapping) or "bounding_boxes" not in x:
            raise ValueError(
                "Losses need data that are dicts with 'images' and 'bounding_boxes'. "
                "Received: "
                + (f"keys {sorted(x)}." if isinstance(x, Mapping) else "no dicts.")
            )
        return sum(y_pred.values()) / losses.replicas()

    def fit(self, x: Any = None, *args: Any, **options: Any) -> Any:
        """As `keras.Model.fit`; ragged boxes of a `tf.data.Dataset` are filled up.

        Raises:
            ValueError: If arrays hold what can't be trained on. Of a `tf.data.Dataset`, it
                is a `tf.errors.InvalidArgumentError` when its batch is reached. Or if the
                model was built for several devices of TensorFlow's, and XLA is to compile
                it or its optimizer clips gradients.
        """
        # Not in `compile`: Keras doesn't compile what it loads where that is overridden.
        check_replicas(self)
        if options.get("validation_data") is not None:
            data = checked(options["validation_data"], self.num_classes)
            options["validation_data"] = data
        return super().fit(checked(x, self.num_classes), *args, **options)

    def evaluate(self, x: Any = None, *args: Any, **options: Any) -> Any:
        """As `keras.Model.evaluate`, with the checks of `fit`."""
        return super().evaluate(checked(x, self.num_classes), *args, **options)


def check_replicas(model: keras.Model) -> None:
    """Raises `ValueError` if a compiled model would train otherwise on several devices."""
    if keras.backend.backend() != "tensorflow":
        return
    replicas = model.distribute_strategy.num_replicas_in_sync
    if replicas == 1:
        return
    if model.jit_compile:
        raise ValueError(
            "On several of TensorFlow's devices XLA can't compile a detector (keras#19005)."
            f" Received: jit_compile=True, {replicas} devices. Leave `jit_compile` out, or "
            "train on one device, or on several with Keras's JAX backend."
        )
    optimizer = getattr(model, "optimizer", None)  # There is none before `compile`.
    optimizer = getattr(optimizer, "inner_optimizer", optimizer)
    for name in ("clipnorm", "global_clipnorm", "clipvalue"):
        if getattr(optimizer, name, None):
            raise ValueError(
                "On several of TensorFlow's devices Keras clips the gradients of each one "
                "before it adds them up, which is another training. Received: "
                f"{name}={getattr(optimizer, name)}, {replicas} devices. Leave it out and "
                "begin with a smaller learning rate, or train on one device, or on several "
                "with Keras's JAX backend."
            )


def check_shapes(batch: Mapping[str, Any]) -> None:
    """Raises `ValueError` if the tensors of a batch don't have the axes they should."""
    if "images" not in batch:
        raise ValueError(
            f"A batch must be a dict with 'images'. Received: keys {sorted(batch)}."
        )
    parts = {name: batch[name] for name in ("images", "image_shapes") if name in batch}
    if "bounding_boxes" in batch:
        boxes = batch["bounding_boxes"]
        if not isinstance(boxes, Mapping) or not {"boxes", "classes"} <= set(boxes):
            raise ValueError(
                "`bounding_boxes` must be a dict of 'boxes' and 'classes'. Received: "
                + (
                    f"keys {sorted(boxes)}."
                    if isinstance(boxes, Mapping)
                    else "no dict."
                )
            )
        parts |= {name: boxes[name] for name in ("boxes", "classes")}
    lengths: dict[str, dict[Any, str]] = {"batch": {}, "n": {}}
    for name, value in parts.items():
        if value is None:
            continue
        found, wanted = _axes(name, value), AXES[name]
        last = (found or [None])[-1]
        if len(found) != len(wanted) or last not in LAST.get(name, (last,)):
            raise ValueError(
                f"`{name}` must have the shape ({', '.join(wanted)}). Received: {found}."
            )
        for axis, length in zip(wanted, found, strict=True):
            if axis in lengths and length is not None:
                lengths[axis].setdefault(length, name)
    for axis, named in lengths.items():
        if len(named) > 1:
            said = " and ".join(
                f"{length} of `{name}`" for length, name in named.items()
            )
            raise ValueError(
                f"All parts of a batch must have the same `{axis}`. Received: {said}."
            )


def _axes(name, value):
    """The lengths of a tensor's axes, ``()`` where TensorFlow doesn't know how many."""
    shape = getattr(value, "shape", None)
    if shape is None:
        raise ValueError(
            f"`{name}` must be an array or a tensor. Received: a {type(value).__name__}. "
            "Fill rows that have fewer boxes than others up with -1."
        )
    return () if getattr(shape, "rank", 0) is None else tuple(shape)


def checked(data: Any, classes: int) -> Any:
    """Data to train or evaluate on, after the checks of its values.

    Args:
        data: What `keras.Model.fit` takes. Arrays are checked at once, a `tf.data.Dataset`
            batch by batch, and others not at all.
        classes: Number of classes, without the background.

    Returns:
        The same, with ragged boxes filled up with -1.
    """
    if isinstance(data, Mapping) and isinstance(data.get("bounding_boxes"), Mapping):
        check_arrays(data, classes)
        return data
    tf = sys.modules.get("tensorflow")  # Nobody has a data set of it without.
    if tf is None or not isinstance(data, tf.data.Dataset):
        return data

    def look(batch, *others):
        if isinstance(batch, Mapping) and "bounding_boxes" in batch:
            batch = _checked_batch(tf, batch, classes)
        return (batch, *others) if others else batch

    return data.map(look)


def check_arrays(batch: Mapping[str, Any], classes: int) -> None:
    """Raises `ValueError` if the values of arrays can't be trained on."""
    check_shapes(batch)
    images = keras.ops.convert_to_numpy(batch["images"])
    if images.dtype.kind == "f" and not np.isfinite(images).all():
        raise ValueError(PIXELS.format(images[~np.isfinite(images)][0]))
    labels = keras.ops.convert_to_numpy(batch["bounding_boxes"]["classes"])
    if not np.isfinite(labels).all():
        raise ValueError(NUMBERS.format(labels[~np.isfinite(labels)][0]))
    if (labels >= classes).any():
        raise ValueError(CLASSES.format(classes=classes).format(labels.max()))
    boxes = keras.ops.convert_to_numpy(batch["bounding_boxes"]["boxes"])
    right = np.isfinite(boxes).all(-1) & (boxes[..., :2] <= boxes[..., 2:]).all(-1)
    if not (right | (labels < 0)).all():
        raise ValueError(BOXES.format(boxes[~right & (labels >= 0)][0].tolist()))
    real = boxes[labels >= 0]
    if real.size and (real >= 0).all() and (real <= 1).all():
        raise ValueError(FRACTIONS.format(real[0].tolist()))
    if batch.get("image_shapes") is not None:
        shapes = keras.ops.convert_to_numpy(batch["image_shapes"])
        height, width = sides = images.shape[1:3]
        if (wrong := ~((shapes >= 1) & (shapes <= sides)).all(-1)).any():
            said = SHAPES.format(height=height, width=width)
            raise ValueError(said.format(shapes[wrong][0].tolist()))


def _checked_batch(tf, batch, classes):
    """A batch of tensors of TensorFlow's, dense, and checked when it is computed."""
    if isinstance(batch["images"], tf.RaggedTensor):
        raise ValueError(
            "`images` must be of one size in a batch: fill them up at the bottom and on "
            "the right, and give heights and widths as 'image_shapes'. Received: ragged."
        )
    boxes = dict(batch["bounding_boxes"])
    for name, axes in (("boxes", (None, None, 4)), ("classes", (None, None))):
        if isinstance(boxes[name], tf.RaggedTensor):
            values = tf.cast(boxes[name], tf.float32)  # Whole numbers may have no sign.
            boxes[name] = values.to_tensor(PADDING, shape=axes)
    batch = {**batch, "bounding_boxes": boxes}
    check_shapes(batch)
    labels, corners = boxes["classes"], tf.cast(boxes["boxes"], tf.float32)
    labels = tf.cast(labels, tf.float32)
    right = tf.reduce_all(tf.math.is_finite(corners), -1)
    right &= tf.reduce_all(corners[..., :2] <= corners[..., 2:], -1)
    wrong = tf.boolean_mask(corners, ~right & (labels >= 0))
    real = tf.boolean_mask(corners, labels >= 0)
    fractions = tf.reduce_all((real >= 0) & (real <= 1))
    checks = [
        _nothing(tf, labels[~tf.math.is_finite(labels)], NUMBERS),
        _nothing(tf, labels[labels >= classes], CLASSES.format(classes=classes)),
        _nothing(tf, wrong, BOXES),
        _nothing(tf, real[: tf.cast(fractions, tf.int32)], FRACTIONS),
    ]
    images = batch["images"]
    if batch.get("image_shapes") is not None:
        shapes = tf.cast(batch["image_shapes"], tf.float32)
        sides = tf.shape(images)[1:3]
        inside = (shapes >= 1) & (shapes <= tf.cast(sides, tf.float32))
        wrong = tf.boolean_mask(shapes, ~tf.reduce_all(inside, -1))
        said = SHAPES.format(height="its height", width="its width")
        checks.append(_nothing(tf, wrong, said))
    if images.dtype.is_floating:
        checks.append(_nothing(tf, images[~tf.math.is_finite(images)], PIXELS))
    with tf.control_dependencies(checks):
        return {**batch, "images": tf.identity(images)}


def _nothing(tf, wrong, message):
    """An operation that fails, and says what it was, unless nothing is wrong."""
    before, after = message.split("{}")
    empty = tf.equal(tf.shape(wrong)[0], 0)
    return tf.debugging.Assert(empty, [before, wrong[:1], after])
