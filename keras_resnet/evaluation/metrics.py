"""Loss, top-1 and top-5 error of a classifier: the one place where they are computed.

Of a model on batches (`evaluate`), or of predictions that are made already
(`from_probabilities`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from keras_resnet.outputs import check_logits

NO_IMAGES = "There must be at least one image to evaluate on. Received: none."


@dataclass(frozen=True, kw_only=True)
class Metrics:
    """How good a classifier is on ``n`` images.

    Attributes:
        top1_error: Percentage of images whose most probable class is wrong.
        top5_error: Percentage of images whose class is not among the five most
            probable; `None` if there are five classes or fewer, where none can be.
        loss: Mean cross-entropy, in nats.
        n: Number of images.
    """

    top1_error: float
    top5_error: float | None
    loss: float
    n: int

    @property
    def accuracy(self) -> float:
        """Percentage of images whose most probable class is right."""
        return 100 - self.top1_error


def evaluate(
    model: keras.Model, batches: Iterable[tuple[Any, Any]], *, from_logits: bool = True
) -> Metrics:
    """Measures a classifier; every image counts the same, whatever its batch.

    Args:
        model: `keras.Model` that gives ``(batch, classes)``.
        batches: Iterable of ``(images, labels)``, e.g. a finite `tf.data.Dataset`:
            images as the model takes them, labels as integers of shape ``(batch,)``.
        from_logits: Whether the model gives logits; else it gives probabilities.

    Raises:
        ValueError: If there is no batch, if labels don't fit the model's classes, if
            the model gives NaN, or if it ends in a softmax and ``from_logits`` is true.
    """
    return _metrics(_predicted(model, batches, from_logits))


def measure(
    model: keras.Model, batches: Iterable[tuple[Any, Any]], *, from_logits: bool = True
) -> tuple[Metrics, np.ndarray, np.ndarray]:
    """Measures a classifier as `evaluate`, and keeps what it predicts as `predict`.

    Returns:
        What `evaluate` returns, and the two arrays that `predict` returns.
    """
    predicted = list(_predicted(model, batches, from_logits))
    return _metrics(predicted), *_joined(predicted)


def from_probabilities(probabilities: np.ndarray, labels: np.ndarray) -> Metrics:
    """Measures predictions that are made already.

    Args:
        probabilities: Floats of shape ``(n, classes)``, of at least one image, each
            row with a sum of 1.
        labels: Integers of shape ``(n,)``, the true classes.

    Raises:
        ValueError: If labels don't fit the classes, there are no images, or rows are no
            probabilities.
    """
    probabilities, labels = check_predictions(probabilities, labels)
    return _metrics([(logarithm(probabilities), labels)])


def check_predictions(
    probabilities: np.ndarray, labels: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Checks predictions that are made already.

    Args:
        probabilities: As for `from_probabilities`.
        labels: As for `from_probabilities`.

    Returns:
        The same as float64 and int64.

    Raises:
        ValueError: If labels don't fit the classes, there are no images, or rows are no
            probabilities.
    """
    probabilities, labels = np.asarray(probabilities, "float64"), np.asarray(labels)
    if not len(probabilities):
        raise ValueError(NO_IMAGES)
    check_outputs(probabilities, len(probabilities), labels)
    if not np.isfinite(probabilities).all():
        raise ValueError(
            "Probabilities must be finite numbers. Received: NaN or infinite ones for "
            f"{np.sum(~np.isfinite(probabilities).all(axis=1))} of {len(labels)} images."
        )
    if not are_probabilities(probabilities):
        raise ValueError(
            "Probabilities must lie in 0 ... 1, those of an image with a sum of 1. "
            f"Received: {_ranges(probabilities)}. Of logits, take the softmax first."
        )
    return probabilities, labels.astype("int64")


def are_probabilities(values: np.ndarray) -> bool:
    """Whether the rows of an array, ``(n, classes)``, are probabilities."""
    # In half precision the sum of a thousand may be off by 0.01.
    return bool(values.min() >= 0 and np.allclose(values.sum(axis=1), 1, atol=0.02))


def _ranges(values):
    sums = values.sum(axis=1)
    return (
        f"values from {values.min():.3g} to {values.max():.3g}, sums from "
        f"{sums.min():.3g} to {sums.max():.3g}"
    )


def _metrics(predictions):
    """`Metrics` of pairs of log-probabilities and labels, batch by batch."""
    top1 = top5 = n = classes = 0
    loss = 0.0
    for log_probabilities, labels in predictions:
        rank = _rank(log_probabilities, labels)
        top1 += int(np.sum(rank >= 1))
        top5 += int(np.sum(rank >= 5))
        loss -= float(np.sum(log_probabilities[np.arange(len(labels)), labels]))
        n += len(labels)
        classes = log_probabilities.shape[1]
    return Metrics(
        top1_error=100 * top1 / n,
        top5_error=100 * top5 / n if classes > 5 else None,
        loss=loss / n,
        n=n,
    )


def predict(
    model: keras.Model, batches: Iterable[tuple[Any, Any]], *, from_logits: bool = True
) -> tuple[np.ndarray, np.ndarray]:
    """Predicts class probabilities, in the order of the batches.

    Args:
        model: As for `evaluate`.
        batches: As for `evaluate`.
        from_logits: As for `evaluate`.

    Returns:
        Probabilities, float32 of shape ``(n, classes)``, and labels, int64 of shape
        ``(n,)``.

    Raises:
        ValueError: As `evaluate`.
    """
    return _joined(list(_predicted(model, batches, from_logits)))


def _joined(predicted):
    """Probabilities, float32, and labels of pairs as `_predicted` yields them."""
    probabilities = [np.exp(values).astype("float32") for values, _ in predicted]
    return np.concatenate(probabilities), np.concatenate([y for _, y in predicted])


def _predicted(model, batches, from_logits):
    """Yields log-probabilities (float64) and labels (int64), batch by batch."""
    check_logits(model, from_logits)
    full_batch = 0
    for images, labels in batches:
        images, labels = np.asarray(images), np.asarray(labels)
        if not len(images):
            continue
        full_batch = max(full_batch, len(images))
        outputs = outputs_of(model, images, full_batch)
        check_outputs(outputs, len(images), labels)
        yield log_probabilities(outputs, from_logits), labels.astype("int64")
    if not full_batch:
        raise ValueError(NO_IMAGES)


def outputs_of(model: keras.Model, images: np.ndarray, full_batch: int) -> np.ndarray:
    """Computes the outputs of a batch, float64, filled up to ``full_batch`` images."""
    # A short last batch is filled up: another shape would be compiled anew, need not
    # divide among JAX devices, and an odd one crashes some TensorFlow builds.
    n = len(images)
    if n < full_batch:
        filling = np.repeat(images[-1:], full_batch - n, axis=0)
        images = np.concatenate([images, filling])
    outputs = np.asarray(model.predict_on_batch(images), "float64")
    # Under MirroredStrategy, every replica predicts the whole batch, and the replicas'
    # answers come one after the other: the first are all there is to know.
    return outputs[:n]


def check_outputs(outputs: np.ndarray, images: int, labels: np.ndarray) -> None:
    """Raises `ValueError` unless outputs and labels fit a number of images."""
    if outputs.ndim != 2:
        raise ValueError(
            "The model must give one row of classes per image, (batch, classes). "
            f"Received: an output of shape {outputs.shape}."
        )
    if labels.shape != (images,) or not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(
            "Labels must be integers, one per image. "
            f"Received: {images} images, labels of shape {labels.shape} and "
            f"type {labels.dtype}."
        )
    classes = outputs.shape[1]
    if not 0 <= labels.min() <= labels.max() < classes:
        raise ValueError(
            f"Labels must lie in 0 ... {classes - 1}, the classes of the model. "
            f"Received: labels from {labels.min()} to {labels.max()}."
        )


def log_probabilities(outputs: np.ndarray, from_logits: bool) -> np.ndarray:
    """Computes the logarithms of probabilities, from logits or probabilities.

    Raises:
        ValueError: If there are NaN or infinite outputs, or no probabilities.
    """
    highest = outputs.max(axis=1, keepdims=True)
    if not np.isfinite(highest).all():
        raise ValueError(
            "The model must give finite numbers. Received: NaN or infinite outputs for "
            f"{np.sum(~np.isfinite(highest))} of {len(outputs)} images. Training has "
            "probably diverged: take an earlier checkpoint or a lower learning rate."
        )
    if from_logits:
        # Without subtracting the highest, exp() overflows above 709.
        shifted = outputs - highest
        return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    if not are_probabilities(outputs):
        raise ValueError(
            "With `from_logits=False` the model must give probabilities. "
            f"Received: {_ranges(outputs)}."
        )
    return logarithm(outputs)


def logarithm(probabilities: np.ndarray) -> np.ndarray:
    """Logarithms of probabilities, of 0 too: a float32 softmax underflows to it."""
    return np.log(np.maximum(probabilities, np.finfo("float32").tiny))


def _rank(values, labels):
    """Counts the classes ahead of the true one; of equals, the first is ahead."""
    own = values[np.arange(len(labels)), labels][:, None]
    earlier = np.arange(values.shape[1]) < labels[:, None]
    return np.sum((values > own) | ((values == own) & earlier), axis=1)
