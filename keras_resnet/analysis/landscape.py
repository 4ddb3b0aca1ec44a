"""The loss of a network along directions away from its weights.

Li et al. 2018, "Visualizing the loss landscape of neural nets". Batch norm normalizes by
its moving statistics everywhere. Each function gives the network its own weights back at
the end, also after an error, and goes on where an earlier call was interrupted.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from keras_resnet.analysis.batch_norm import recompute_statistics
from keras_resnet.analysis.batches import Data
from keras_resnet.analysis.directions import (
    Direction,
    checked_weights,
    cosine,
    is_float,
)
from keras_resnet.analysis.walk import OnPoint, Walk, ascending

# Multiples of a direction, by default: on both sides of a network, and between two.
AROUND = tuple(np.linspace(-1, 1, 25).tolist())
BETWEEN = tuple(np.linspace(0, 1, 25).tolist())


@dataclass(frozen=True, kw_only=True)
class Line:
    """The loss along one direction.

    Attributes:
        positions: Multiples of the direction, ``(points,)``.
        loss: Mean cross-entropy in nats, ``(points,)``; what is above ``clip`` is ``clip``.
        error: Top-1 error in percent, ``(points,)``. Where the loss is ``clip``, it may
            be that of the first images alone.
        clip: The greatest loss that is told apart; `None` where all are.
        images: Number of images.
    """

    positions: np.ndarray
    loss: np.ndarray
    error: np.ndarray
    clip: float | None
    images: int


@dataclass(frozen=True, kw_only=True)
class Surface:
    """The loss over the plane of two directions.

    Attributes:
        x: Multiples of the first direction, ``(columns,)``.
        y: Multiples of the second direction, ``(rows,)``.
        loss: Mean cross-entropy in nats, ``(rows, columns)``; what is above ``clip`` is
            ``clip``.
        error: Top-1 error in percent, ``(rows, columns)``. Where the loss is ``clip``, it
            may be that of the first images alone.
        cosine: Of the angle between the two directions.
        clip: The greatest loss that is told apart; `None` where all are.
        images: Number of images.
    """

    x: np.ndarray
    y: np.ndarray
    loss: np.ndarray
    error: np.ndarray
    cosine: float
    clip: float | None
    images: int


def line(
    model: keras.Model,
    data: Data,
    direction: Direction,
    *,
    positions: Sequence[float] | np.ndarray = AROUND,
    known: np.ndarray | None = None,
    clip: float | None = 10.0,
    on_point: OnPoint | None = None,
    from_logits: bool = True,
    batch_size: int = 64,
) -> Line:
    """Measures the loss with the weights ``w + position * direction``.

    Args:
        model: As of `surface`.
        data: As of `surface`.
        direction: As `directions.random_direction` or `directions.direction_to` gives it.
        positions: Multiples of the direction, in ascending order.
        known: As of `surface`, of shape ``(2, points)``.
        clip: As of `surface`.
        on_point: As of `surface`.
        from_logits: As of `surface`.
        batch_size: As of `surface`.

    Raises:
        ValueError: As `surface`.
    """
    axis = ascending("positions", positions)
    walk = Walk.of(model, data, from_logits, clip, batch_size)
    own = model.get_weights()
    direction = checked_weights("direction", direction, like=own)
    moving = [number for number, part in enumerate(direction) if np.any(part)]

    def move(index: tuple[int, ...]) -> None:
        step = float(axis[index[0]])
        for number in moving:
            model.weights[number].assign(own[number] + step * direction[number])

    loss, error = walk.measured(move, (len(axis),), known, on_point)
    return Line(positions=axis, loss=loss, error=error, clip=clip, images=walk.images)


def surface(
    model: keras.Model,
    data: Data,
    directions: tuple[Direction, Direction],
    positions: tuple[Sequence[float] | np.ndarray, Sequence[float] | np.ndarray] = (
        AROUND,
        AROUND,
    ),
    *,
    known: np.ndarray | None = None,
    clip: float | None = 10.0,
    on_point: OnPoint | None = None,
    from_logits: bool = True,
    batch_size: int = 64,
) -> Surface:
    """Measures the loss with the weights ``w + x * first + y * second`` on a grid.

    Most of a surface lies far above what is drawn of it. A point is not measured to its
    end once its loss must be above ``clip``, or where the mean over the first 64 images
    or more is above 1.5 times ``clip``.

    Args:
        model: A built classifier of any kind. One whose batch norms are folded
            (`export.fold_batch_norm`) takes less time; `directions.random_direction` says
            which directions of it are the same. It has its own weights at the end.
        data: Images ``(n, height, width, channels)`` as the model takes them and integer
            labels ``(n,)``, or an iterable of batches of both: images of training without
            augmentation, in random order, since the first ones decide about stopping.
        directions: Two, as `directions.random_direction` gives them.
        positions: Multiples ``x`` of the first and ``y`` of the second direction, each in
            ascending order.
        known: Loss and error of an interrupted call with the same arguments, of shape
            ``(2, rows of y, columns of x)``, NaN at the points to be measured. Nothing is
            measured twice.
        clip: The greatest loss that is told apart; `None` measures each point to its end.
        on_point: Called with each `walk.Point` after it is measured. To be able to go on,
            save what it tells, its loss in ``known[0]`` and its error in ``known[1]``.
        from_logits: Whether the model gives logits; else it gives probabilities.
        batch_size: Of arrays, how many images are computed at a time.

    Returns:
        A `Surface`. At (0, 0) it has the loss that `evaluation.evaluate` measures on the
        same batches.

    Raises:
        ValueError: If the model has fewer than two classes or NaN in its weights, if
            images, labels, directions or ``known`` do not fit, or if positions are not in
            ascending order.
    """
    x, y = (ascending(*axis) for axis in zip(("x", "y"), positions, strict=True))
    walk = Walk.of(model, data, from_logits, clip, batch_size)
    own = model.get_weights()
    first, second = (checked_weights("directions", one, like=own) for one in directions)
    angle = cosine(first, second)
    moving = [n for n in range(len(own)) if np.any(first[n]) or np.any(second[n])]

    def move(index: tuple[int, ...]) -> None:
        up, right = float(y[index[0]]), float(x[index[1]])
        for n in moving:
            step = right * first[n] + up * second[n]
            model.weights[n].assign(own[n] + step)

    loss, error = walk.measured(move, (len(y), len(x)), known, on_point)
    return Surface(
        x=x,
        y=y,
        loss=loss,
        error=error,
        cosine=angle,
        clip=clip,
        images=walk.images,
    )


def interpolate(
    model: keras.Model,
    weights: Sequence[Any],
    data: Data,
    *,
    positions: Sequence[float] | np.ndarray = BETWEEN,
    statistics: np.ndarray | None = None,
    known: np.ndarray | None = None,
    on_point: OnPoint | None = None,
    from_logits: bool = True,
    batch_size: int = 64,
) -> Line:
    """Measures the loss between a network and another one of the same layers.

    At ``position`` the weights are ``(1 - position) * own + position * other``, biases and
    batch norm's parameters too. The statistics that batch norm needs there are not those
    between the two, so that without ``statistics`` the loss between them is higher than
    it has to be.

    Args:
        model: As of `surface`; its batch norms must not be folded.
        weights: Of the other network, as its ``get_weights()`` gives them.
        data: As of `surface`.
        positions: 0 is the model, and 1 the other network; in ascending order.
        statistics: Images of training, as the model takes them, from which batch norm's
            moving statistics are computed anew at each point, the ends too. Without them
            they are interpolated as the weights are; the variances can become negative
            outside of 0 ... 1.
        known: As of `surface`, of shape ``(2, points)``.
        on_point: As of `surface`.
        from_logits: As of `surface`.
        batch_size: As of `surface`; at least 128 for ``statistics``.

    Returns:
        A `Line`. No point is clipped: a network that gives NaN has an infinite loss.

    Raises:
        ValueError: As `surface`; and if the other network's weights do not fit.
    """
    axis = ascending("positions", positions)
    walk = Walk.of(model, data, from_logits, None, batch_size)
    own = model.get_weights()
    other = checked_weights("weights", weights, like=own)

    def move(index: tuple[int, ...]) -> None:
        share = float(axis[index[0]])
        for variable, a, b in zip(model.weights, own, other, strict=True):
            if is_float(a):
                variable.assign((1 - share) * a + share * b)
        if statistics is not None:
            recompute_statistics(model, statistics, batch_size=max(128, batch_size))

    loss, error = walk.measured(move, (len(axis),), known, on_point)
    return Line(positions=axis, loss=loss, error=error, clip=None, images=walk.images)
