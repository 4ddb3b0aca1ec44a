"""How sharply the loss bends at a network's weights: the Hessian's top eigenvalue."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import keras
import numpy as np

from keras_resnet.analysis.batches import Batches, Data
from keras_resnet.analysis.differentiation import (
    Tensor,
    as_array,
    as_tensors,
    hessian_products,
    mean_cross_entropy,
    stateless,
)
from keras_resnet.analysis.graphs import clone
from keras_resnet.outputs import check_logits

Progress: TypeAlias = Callable[[int, int], object]


@dataclass(frozen=True, kw_only=True)
class Curvature:
    """The eigenvalue of the loss's Hessian that has the greatest absolute value.

    Attributes:
        eigenvalue: The last estimate. It is negative where the loss bends downwards more
            than upwards, as it can away from a minimum.
        iterations: Number of iterations that were made.
        change: By how much the last iteration changed the estimate, relative to it.
        residual: Euclidean norm of ``H v - eigenvalue * v`` for the last unit vector ``v``,
            relative to the eigenvalue: an eigenvalue of the Hessian lies so near.
        converged: Whether the change is within the tolerance.
        tolerance: As asked for.
        estimates: The estimate after each iteration, ``(iterations,)``.
        parameters: Number of rows of the Hessian.
        images: Number of images.
        seed: Of the first vector.
    """

    eigenvalue: float
    iterations: int
    change: float
    residual: float
    converged: bool
    tolerance: float
    estimates: np.ndarray
    parameters: int
    images: int
    seed: int


def top_hessian_eigenvalue(
    model: keras.Model,
    data: Data,
    *,
    tolerance: float = 1e-3,
    most_iterations: int = 100,
    seed: int = 0,
    from_logits: bool = True,
    batch_size: int = 128,
    progress: Progress | None = None,
) -> Curvature:
    """Computes the Hessian's eigenvalue of the greatest absolute value.

    By power iteration on products of the Hessian with vectors, as PyHessian (Yao et al.
    2020, sec. 3). The loss is the mean cross-entropy of all images without weight decay,
    with batch norm by its moving statistics; the Hessian is that by the model's trainable
    weights.

    Args:
        model: A functional classifier.
        data: Images and labels, or batches of them, as of `delete_each`.
        tolerance: It ends when an iteration changes the estimate by at most so much,
            relative to it.
        most_iterations: It ends after so many in any case, each of which takes about as
            long as two passes of training over the images.
        seed: Of the normal random numbers of the first vector.
        from_logits: Whether the model gives logits; else it gives probabilities.
        batch_size: How many images are computed at a time.
        progress: Called with the number of iterations made and the most that there can be.

    Raises:
        ValueError: If the model is not functional, has no trainable weights, fewer than two
            classes or NaN in its weights; if images or labels do not fit it; or unless
            there are iterations and a tolerance.
    """
    check_logits(model, from_logits)
    network = clone(model)
    weights = network.trainable_variables
    if not weights:
        raise ValueError(
            "`model` must have trainable weights, by which the Hessian is. Received: a "
            f"model named {model.name!r} without any."
        )
    batches = Batches(model=network, data=data, batch_size=batch_size)
    images = sum(len(of_batch) for of_batch, _ in batches)
    product = _Product(network, batches, images, from_logits)
    found = power_iteration(
        product,
        [tuple(weight.shape) for weight in weights],
        tolerance=tolerance,
        most_iterations=most_iterations,
        seed=seed,
        progress=progress,
    )
    return Curvature(images=images, **found)


class _Product:
    """The product of the Hessian of a network's mean loss with a vector."""

    def __init__(
        self, network: keras.Model, batches: Batches, images: int, from_logits: bool
    ) -> None:
        weights = network.trainable_variables
        # JAX would compile these into the function if they were no arguments.
        others = network.non_trainable_variables
        called = stateless(lambda x: network(x, training=False), [*weights, *others])

        def loss(values: list[Tensor], rest: list[Tensor], x: Any, labels: Any) -> Any:
            return mean_cross_entropy(called([*values, *rest], x), labels, from_logits)

        self._batches = batches
        self._images = images
        self._weights = as_tensors(weights)
        self._others = as_tensors(others)
        self._products = hessian_products(loss, compiled=True)

    def __call__(self, vectors: Sequence[np.ndarray]) -> list[np.ndarray]:
        total = [np.zeros(vector.shape) for vector in vectors]
        for images, labels in self._batches:
            batch = as_tensors([images, labels])
            found = self._products(self._weights, vectors, self._others, *batch)
            share = len(images) / self._images
            total = [
                whole + share * as_array(part)
                for whole, part in zip(total, found, strict=True)
            ]
        return total


def power_iteration(
    product: Callable[[Sequence[np.ndarray]], Sequence[Any]],
    shapes: Sequence[tuple[int, ...]],
    *,
    tolerance: float = 1e-3,
    most_iterations: int = 100,
    seed: int = 0,
    dtype: str = "float32",
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Finds the eigenvalue of the greatest absolute value of a symmetric matrix.

    Args:
        product: Multiplies the matrix by a vector, which is a list of arrays.
        shapes: Of these arrays.
        tolerance: As of `top_hessian_eigenvalue`.
        most_iterations: As of `top_hessian_eigenvalue`.
        seed: As of `top_hessian_eigenvalue`.
        dtype: Of the arrays that ``product`` gets; the sums here are of float64.
        progress: As of `top_hessian_eigenvalue`.

    Returns:
        The fields of `Curvature` but for ``images``.

    Raises:
        ValueError: If a product is not finite, or unless there are iterations and a
            tolerance of at least 0.
    """
    if most_iterations < 1 or not tolerance >= 0:
        raise ValueError(
            "`most_iterations` must be at least 1 and `tolerance` at least 0. Received: "
            f"most_iterations={most_iterations!r}, tolerance={tolerance!r}."
        )
    sizes = [math.prod(shape) for shape in shapes]
    vector = np.random.default_rng(seed).normal(size=sum(sizes))
    vector /= np.linalg.norm(vector)
    estimates: list[float] = []
    change = residual = math.inf
    while len(estimates) < most_iterations and change > tolerance:
        found = product(_split(vector.astype(dtype), sizes, shapes))
        image = np.concatenate([np.ravel(one).astype("float64") for one in found])
        estimate, length = float(vector @ image), float(np.linalg.norm(image))
        if not math.isfinite(length):
            raise ValueError(
                "The Hessian must be finite. Received: NaN or infinite values in its "
                f"product with a vector, in iteration {len(estimates) + 1}."
            )
        scale = abs(estimate) or length or 1.0  # 1 where the product is 0.
        residual = float(np.linalg.norm(image - estimate * vector)) / scale
        before = estimates[-1] if estimates else math.inf if length else 0.0
        change = abs(estimate - before) / scale
        estimates.append(estimate)
        vector = image / (length or 1.0)
        if progress:
            progress(len(estimates), most_iterations)
    return {
        "eigenvalue": estimates[-1],
        "iterations": len(estimates),
        "change": change,
        "residual": residual,
        "converged": change <= tolerance,
        "tolerance": tolerance,
        "estimates": np.array(estimates),
        "parameters": len(vector),
        "seed": seed,
    }


def _split(
    vector: np.ndarray, sizes: Sequence[int], shapes: Sequence[tuple[int, ...]]
) -> list[np.ndarray]:
    """The parts of a vector in the shapes of the arrays that it is made of."""
    parts = np.split(vector, np.cumsum(sizes)[:-1])
    return [part.reshape(shape) for part, shape in zip(parts, shapes, strict=True)]
