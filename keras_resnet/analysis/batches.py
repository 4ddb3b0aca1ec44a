"""Images and labels that an analysis is made on, checked against the model."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

import keras
import numpy as np

# ``(images, labels)``, or an iterable of such pairs.
Data: TypeAlias = tuple[Any, Any] | Iterable[tuple[Any, Any]]


@dataclass(frozen=True)
class Batches:
    """Batches of images and labels for a model, as often as they are iterated over.

    Attributes:
        model: Whose images they are.
        data: Images ``(n, ...)`` as the model takes them with labels ``(n,)``, or an
            iterable of such pairs.
        batch_size: Of arrays, how many images make a batch.
    """

    model: keras.Model
    data: Any
    batch_size: int = 128

    def __post_init__(self) -> None:
        check_weights(self.model)
        if not _is_pair(self.data) and iter(self.data) is self.data:
            # An iterator comes to its end in the first pass.
            object.__setattr__(self, "data", list(self.data))

    def __iter__(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        if not _is_pair(self.data):
            for images, labels, *_ in self.data:
                yield checked(self.model, images, labels)
            return
        images, labels = checked(self.model, *self.data)
        for start in range(0, len(images), self.batch_size):
            end = start + self.batch_size
            yield images[start:end], labels[start:end]


def _is_pair(data: Any) -> bool:
    """Whether data are images and labels, rather than batches of them."""
    return isinstance(data, tuple) and len(data) == 2 and hasattr(data[1], "shape")


def checked(
    model: keras.Model, images: Any, labels: Any
) -> tuple[np.ndarray, np.ndarray]:
    """A batch of images and labels as arrays, if they fit the model.

    Raises:
        ValueError: If the model does not tell two classes or more apart, or images and
            labels do not fit it.
    """
    images = checked_images(model, images)
    labels = np.asarray(labels)
    shape = model.output_shape
    if not (isinstance(shape, tuple) and len(shape) == 2 and (shape[1] or 0) > 1):
        raise ValueError(
            "The model must be a classifier of two or more classes, with outputs of shape "
            f"(batch, classes). Received: an output of shape {shape}."
        )
    if labels.shape != (len(images),) or not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(
            "Labels must be integers, one per image. "
            f"Received: {len(images)} images, labels of shape {labels.shape} and "
            f"type {labels.dtype}."
        )
    if not 0 <= labels.min() <= labels.max() < shape[1]:
        raise ValueError(
            f"Labels must lie in 0 ... {shape[1] - 1}, the classes of the model. "
            f"Received: labels from {labels.min()} to {labels.max()}."
        )
    return images, labels


def checked_images(model: keras.Model, images: Any) -> np.ndarray:
    """A batch of images as an array, if they fit the model.

    Raises:
        ValueError: If there are none, if they have another shape than the model's input,
            or if they hold NaN or infinite values.
    """
    images = np.asarray(images)
    expected = getattr(model, "input_shape", None)
    if not isinstance(expected, tuple):
        raise ValueError(
            "The model must be functional or sequential, with one input. Received: "
            f"{type(model).__name__} named {model.name!r}."
        )
    fits = images.ndim == len(expected) and all(
        wanted in (None, given)
        for wanted, given in zip(expected[1:], images.shape[1:], strict=True)
    )
    if not fits or not len(images):
        raise ValueError(
            "Images must have the shape of the model's input, "
            f"{('n', *expected[1:])} with n of at least 1. "
            f"Received: images of shape {images.shape}."
        )
    if not np.isfinite(images).all():
        raise ValueError(
            "Images must be finite numbers. Received: NaN or infinite ones."
        )
    return images


def check_weights(model: keras.Model) -> None:
    """Checks that all weights are numbers.

    Raises:
        ValueError: If a weight is NaN or infinite; the message names the first one.
    """
    for weight in model.weights:
        value = keras.ops.convert_to_numpy(weight)
        if not np.isfinite(value).all():
            raise ValueError(
                "All weights must be finite. Received: NaN or infinite values in "
                f"{weight.path!r} of the model named {model.name!r}. Training has "
                "probably diverged: take an earlier checkpoint."
            )
