"""The way that a network's weights take in training, in the two directions that show most.

Li et al. 2018, "Visualizing the loss landscape of neural nets", sec. 7: in random
directions a trajectory hardly moves, since they are at a right angle to nearly all others.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from keras_resnet.analysis.directions import Direction, checked_weights, is_kernel


@dataclass(frozen=True, kw_only=True)
class Trajectory:
    """Snapshots of a network's weights and the plane in which they differ most.

    Attributes:
        directions: Two directions of length 1, at a right angle, as `landscape.surface`
            takes them for the weights of the last snapshot. Biases, batch norm and other
            tensors of one dimension have the direction zero.
        positions: Where each snapshot lies in the plane, ``(snapshots, 2)``; the last one
            is at (0, 0).
        explained: The shares of the snapshots' variance along the two directions.
    """

    directions: tuple[Direction, Direction]
    positions: np.ndarray
    explained: np.ndarray

    def axes(
        self, points: int = 25, margin: float = 0.2
    ) -> tuple[np.ndarray, np.ndarray]:
        """Positions for `landscape.surface` that hold the whole trajectory.

        Args:
            points: Of each axis.
            margin: How far it goes on at both ends, as a share of the trajectory's extent.
                Where it has less extent than a tenth of the other axis, it has a tenth.

        Returns:
            ``x`` and ``y``, each ``(points,)``.
        """
        low, high = self.positions.min(axis=0), self.positions.max(axis=0)
        extent = np.maximum(high - low, 0.1 * (high - low).max())
        middle, half = (low + high) / 2, (0.5 + margin) * extent
        x, y = np.linspace(middle - half, middle + half, points).T
        return x, y


@dataclass(frozen=True, kw_only=True)
class TrainingPath:
    """Where a network's weights were in the plane of their trajectory.

    Attributes:
        updates: Numbers of updates, in ascending order, integers ``(snapshots,)``.
        positions: As of `Trajectory`, ``(snapshots, 2)``.
        explained: As of `Trajectory`.
    """

    updates: np.ndarray
    positions: np.ndarray
    explained: np.ndarray


def project_trajectory(snapshots: Sequence[Sequence[np.ndarray]]) -> Trajectory:
    """Finds the plane in which the snapshots of a training differ most.

    It is that of the first two principal components of the differences to the last
    snapshot, centred, of all kernels together.

    Args:
        snapshots: Weights as ``model.get_weights()`` gives them, three or more, in the
            order of training.

    Raises:
        ValueError: If there are fewer than three snapshots, if they lie on a line, or if
            they differ in shape or hold NaN.
    """
    if len(snapshots) < 3:
        raise ValueError(
            "`snapshots` must be weights of three moments or more. Received: "
            f"{len(snapshots)}."
        )
    last = [np.asarray(weight) for weight in snapshots[-1]]
    snapshots = [checked_weights("snapshots", one, like=last) for one in snapshots]
    moving = [number for number, weight in enumerate(last) if is_kernel(weight)]
    # The matrix of differences is never whole: it would be several times the snapshots.
    products = sum(
        part @ part.T for number in moving for part in [_differences(snapshots, number)]
    )
    centre = np.eye(len(snapshots)) - 1 / len(snapshots)
    values, vectors = np.linalg.eigh(centre @ products @ centre)
    values, vectors = values[::-1], centre @ vectors[:, ::-1]
    if not values[1] > 1e-10 * values[0]:
        raise ValueError(
            "The snapshots must differ in two directions or more. Received: "
            f"{len(snapshots)} that lie on a line."
        )
    scaled = vectors[:, :2] / np.sqrt(values[:2])
    positions = products @ scaled
    # A component and its opposite are as good: training begins at positive positions.
    signs = np.where(positions[np.abs(positions).argmax(axis=0), [0, 1]] < 0, -1, 1)
    scaled = scaled * signs
    first: Direction = [np.zeros_like(weight) for weight in last]
    second: Direction = [np.zeros_like(weight) for weight in last]
    for number in moving:
        both = scaled.T @ _differences(snapshots, number)
        for direction, flat in zip((first, second), both, strict=True):
            weight = last[number]
            direction[number] = flat.reshape(weight.shape).astype(weight.dtype)
    return Trajectory(
        directions=(first, second),
        positions=positions * signs,
        explained=values[:2] / np.maximum(values, 0).sum(),
    )


def _differences(snapshots: Sequence[Sequence[np.ndarray]], number: int) -> np.ndarray:
    """Of one tensor to that of the last snapshot, ``(snapshots, values)``, float64."""
    flat = [np.ravel(one[number]).astype("float64") for one in snapshots]
    return np.stack(flat) - flat[-1]
