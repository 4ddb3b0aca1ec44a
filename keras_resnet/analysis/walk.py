"""Measures a network at the points of a grid, and goes on where it was interrupted."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

import keras
import numpy as np

from keras_resnet.analysis.batches import Batches, Data
from keras_resnet.evaluation import metrics
from keras_resnet.outputs import check_logits

# After so many images a point may be known to lie far above the clip.
IMAGES_BEFORE_A_STOP = 64
FAR = 1.5  # Times the clip.


@dataclass(frozen=True)
class Point:
    """A point that has just been measured.

    Attributes:
        index: Its place in the arrays of the result.
        loss: Mean cross-entropy in nats, at most the clip.
        error: Top-1 error in percent.
        done: Number of points that are known by now.
        total: Number of all points.
    """

    index: tuple[int, ...]
    loss: float
    error: float
    done: int
    total: int


# Called with each point once it is measured, for example to save it.
OnPoint: TypeAlias = Callable[[Point], object]


@dataclass(frozen=True, kw_only=True)
class Walk:
    """Measures a model at the points of a grid, wherever they lie."""

    model: keras.Model
    batches: list[tuple[np.ndarray, np.ndarray]]
    images: int
    from_logits: bool
    clip: float | None

    @classmethod
    def of(
        cls,
        model: keras.Model,
        data: Data,
        from_logits: bool,
        clip: float | None,
        batch_size: int,
    ) -> "Walk":
        """A walk on data that are checked."""
        check_logits(model, from_logits)
        if clip is not None and not clip > 0:
            raise ValueError(
                f"`clip` must be above 0, or None. Received: clip={clip!r}."
            )
        batches = list(Batches(model, data, batch_size))
        images = sum(len(labels) for _, labels in batches)
        if not images:
            raise ValueError(metrics.NO_IMAGES)
        return cls(
            model=model,
            batches=batches,
            images=images,
            from_logits=from_logits,
            clip=clip,
        )

    def measured(
        self,
        move: Callable[[tuple[int, ...]], None],
        shape: tuple[int, ...],
        known: np.ndarray | None,
        on_point: OnPoint | None,
    ) -> np.ndarray:
        """Loss and error of all points, ``(2, *shape)``, of which some may be known.

        Args:
            move: Gives the model the weights of the point with an index.
            shape: Of the grid.
            known: Loss and error from an earlier call, NaN where they are not known.
            on_point: Called with each point that is measured.
        """
        values = _start(known, shape)
        total = values[0].size
        missing = [tuple(map(int, index)) for index in np.argwhere(np.isnan(values[0]))]
        with _own_weights_at_the_end(self.model):
            for done, index in enumerate(missing, start=total - len(missing) + 1):
                move(index)
                loss, error = self.loss_and_error()
                values[(slice(None), *index)] = loss, error
                if on_point:
                    on_point(Point(index, loss, error, done, total))
        return values

    def loss_and_error(self) -> tuple[float, float]:
        """Of the model as it is: as `evaluation.evaluate`, up to the clip."""
        total, wrong, seen, full_batch = 0.0, 0, 0, 0
        for images, labels in self.batches:
            full_batch = max(full_batch, len(images))
            outputs = metrics.outputs_of(self.model, images, full_batch)
            finite = np.isfinite(outputs).all(axis=1)
            seen += len(labels)
            wrong += int(np.sum((outputs.argmax(axis=1) != labels) | ~finite))
            if finite.all():
                values = metrics.log_probabilities(outputs, self.from_logits)
                total -= float(np.sum(values[np.arange(len(labels)), labels]))
            else:
                total = np.inf
            if self._is_above_clip(total, seen):
                return float(self.clip or 0), 100 * wrong / seen
        loss = total / seen
        return (loss if self.clip is None else min(loss, self.clip)), 100 * wrong / seen

    def _is_above_clip(self, total: float, seen: int) -> bool:
        """Whether the mean of all images is sure, or all but sure, to be above the clip."""
        if self.clip is None:
            return False
        far = seen >= IMAGES_BEFORE_A_STOP and total > FAR * self.clip * seen
        return far or total > self.clip * self.images


@contextmanager
def _own_weights_at_the_end(model: keras.Model) -> Iterator[None]:
    """Gives a model its weights back, also where an error or an interrupt comes between."""
    own = model.get_weights()
    try:
        yield
    finally:
        for variable, weight in zip(model.weights, own, strict=True):
            variable.assign(weight)


def ascending(name: str, positions: Any) -> np.ndarray:
    """Positions in ascending order."""
    axis = np.asarray(positions, "float64")
    if axis.ndim != 1 or not axis.size or not np.isfinite(axis).all():
        raise ValueError(
            f"`{name}` must be one or more finite numbers. Received: {positions!r}."
        )
    if np.any(np.diff(axis) <= 0):
        raise ValueError(
            f"`{name}` must be in ascending order. Received: {positions!r}."
        )
    return axis


def _start(known: np.ndarray | None, shape: tuple[int, ...]) -> np.ndarray:
    """Loss and error to go on from: a copy of those that are known, or NaN."""
    if known is None:
        return np.full((2, *shape), np.nan)
    values = np.array(known, "float64")
    if values.shape != (2, *shape):
        raise ValueError(
            "`known` must hold loss and error of each point of the grid, of shape "
            f"{(2, *shape)}. Received: shape {values.shape}."
        )
    if np.any(np.isnan(values[0]) != np.isnan(values[1])):
        raise ValueError(
            "`known` must have both loss and error of a point, or NaN twice. Received: "
            "points with one of them."
        )
    return values
