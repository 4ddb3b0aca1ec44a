"""How long the paths through a network are, and which of them carry the gradient.

A network of n residual blocks has 2^n paths, since each block can be gone through or
around (Veit et al. 2016, sec. 3). Most are about n / 2 blocks long, yet the gradient comes
by much shorter ones (sec. 5).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import keras
import numpy as np

from keras_resnet.analysis.batches import check_weights, checked
from keras_resnet.analysis.differentiation import (
    Tensor,
    as_array,
    as_tensors,
    mean_cross_entropy,
    stateless,
    value_and_gradients,
)
from keras_resnet.analysis.routing import Routed, residual_network
from keras_resnet.outputs import check_logits

Progress: TypeAlias = Callable[[int, int], object]


@dataclass(frozen=True, kw_only=True)
class PathGradients:
    """The gradient at a network's images that comes by paths of each length.

    Attributes:
        lengths: Numbers of blocks that a path goes through, 0 … n, integers ``(n + 1,)``.
        frequency: The share of all paths that has each length, ``(n + 1,)``: binomial.
        norm: Euclidean norm of the loss's gradient with respect to an image, by one path
            of each length alone: the mean over images and sampled paths, ``(n + 1,)``.
        deviation: Standard deviation of the means of the sampled paths, ``(n + 1,)``.
        share: Of the sum over all paths of these norms, what the paths of each length
            have together, ``(n + 1,)``: frequency times norm, divided by the sum.
        samples: Number of paths that were drawn for each length.
        images: Number of images.
        seed: Of the draws.
        training: Whether batch norm normalized by the batch.
    """

    lengths: np.ndarray
    frequency: np.ndarray
    norm: np.ndarray
    deviation: np.ndarray
    share: np.ndarray
    samples: int
    images: int
    seed: int
    training: bool

    def covering(self, share: float = 0.95) -> tuple[int, int]:
        """The narrowest range of lengths, first and last, whose paths have a share.

        Args:
            share: From 0 to 1.
        """
        total = np.concatenate([[0.0], np.cumsum(self.share)])
        ranges = [
            (last - first, first, last)
            for first in range(len(self.share))
            for last in range(first, len(self.share))
            if total[last + 1] - total[first] >= share - 1e-12
        ]
        _, first, last = min(ranges)
        return first, last


def path_lengths(blocks: int) -> np.ndarray:
    """The share of the paths through a network that have each length.

    Veit et al. 2016, sec. 5 and fig. 6a: a binomial distribution of mean ``blocks / 2``.

    Args:
        blocks: Number of residual blocks, at least 0.

    Returns:
        Shares by the number of blocks that a path goes through, from 0, float64 of shape
        ``(blocks + 1,)``, of sum 1.
    """
    return np.array([math.comb(blocks, k) / 2**blocks for k in range(blocks + 1)])


def draw_path(
    blocks: int, random: np.random.Generator, length: int | None = None
) -> np.ndarray:
    """Draws a path, each of those allowed with the same probability.

    Args:
        blocks: Number of residual blocks.
        random: Of NumPy.
        length: Number of blocks that it goes through; by default it may be any path.

    Returns:
        Whether the path goes through each block, Booleans of shape ``(blocks,)``.
    """
    if length is None:
        return random.random(blocks) < 0.5
    through = np.zeros(blocks, bool)
    through[random.permutation(blocks)[:length]] = True
    return through


def gradient_by_path(
    model: keras.Model | Routed,
    images: np.ndarray,
    labels: np.ndarray,
    *,
    samples: int = 10,
    seed: int = 0,
    training: bool = False,
    from_logits: bool = True,
    progress: Progress | None = None,
) -> PathGradients:
    """Measures how much gradient comes to the images by paths of each length.

    Veit et al. 2016, sec. 5 and fig. 6b and c: the whole network computes forward; on the
    way back the gradient takes only the residual of the blocks that a path goes through,
    and only the shortcut of the others.

    Args:
        model: A functional classifier with residual additions, or a `routing.Routed`.
        images: ``(n, height, width, channels)``, as the model takes them.
        labels: Integers of shape ``(n,)``.
        samples: Number of paths that are drawn for each length.
        seed: Of the draws.
        training: Whether batch norm normalizes by the batch, as at initialisation it
            must; by default it does by its moving statistics.
        from_logits: Whether the model gives logits; else it gives probabilities.
        progress: Called with the number of paths computed and that of all.

    Raises:
        ValueError: If the model has no residual additions, fewer than two classes or NaN
            in its weights, if images or labels do not fit it, or unless there are samples.
    """
    if samples < 1:
        raise ValueError(
            f"`samples` must be at least 1. Received: samples={samples!r}."
        )
    gradient_of = gradient_by_route(
        model, images, labels, training=training, from_logits=from_logits
    )
    n = gradient_of.blocks
    random = np.random.default_rng(seed)
    norms = np.zeros((n + 1, samples))
    for length in range(n + 1):
        for sample in range(samples):
            through = draw_path(n, random, length)
            gradient = gradient_of(~through, through)
            rows = gradient.reshape(len(gradient), -1).astype("float64")
            norms[length, sample] = np.linalg.norm(rows, axis=1).mean()
            if progress:
                progress(length * samples + sample + 1, norms.size)
    frequency, mean = path_lengths(n), norms.mean(axis=1)
    weighted = frequency * mean
    return PathGradients(
        lengths=np.arange(n + 1),
        frequency=frequency,
        norm=mean,
        deviation=norms.std(axis=1),
        share=weighted / max(weighted.sum(), np.finfo("float64").tiny),
        samples=samples,
        images=len(images),
        seed=seed,
        training=training,
    )


@dataclass(frozen=True)
class RouteGradient:
    """The gradient with respect to the images by chosen routes.

    Attributes:
        blocks: Number of blocks of the network.
    """

    blocks: int
    _gradient: Callable[[np.ndarray], np.ndarray]

    def __call__(self, carry: Any, residual: Any) -> np.ndarray:
        """The gradient of each image's own loss, of the images' shape.

        Args:
            carry: What is passed back into each block's shortcut, from 0 to 1,
                ``(blocks,)``; with ones here and there it is the ordinary gradient.
            residual: What is passed back into each block's residual.
        """
        return self._gradient(np.stack([carry, residual], axis=1).ravel())


def gradient_by_route(
    model: keras.Model | Routed,
    images: np.ndarray,
    labels: np.ndarray,
    *,
    training: bool = False,
    from_logits: bool = True,
) -> RouteGradient:
    """A function that computes the gradient by any route, compiled once for all.

    Args:
        model: As of `gradient_by_path`.
        images: As of `gradient_by_path`.
        labels: As of `gradient_by_path`.
        training: As of `gradient_by_path`.
        from_logits: As of `gradient_by_path`.

    Raises:
        ValueError: As `gradient_by_path`.
    """
    routed = residual_network(model)
    check_logits(routed.model, from_logits)
    images, labels = checked(routed.model, images, labels)
    check_weights(routed.model)
    routed.delete([])
    gates = routed.gates()
    others = [v for v in routed.model.variables if not any(v is g for g in gates)]
    network = stateless(lambda x: routed.model(x, training=training), [*gates, *others])
    targets = as_tensors([labels])[0]

    def loss(pixels: list[Tensor], values: list[Tensor]) -> Tensor:
        logits = network(values, pixels[0])
        # The sum, so that each image's gradient is that of its own loss.
        return len(images) * mean_cross_entropy(logits, targets, from_logits)

    gradients = value_and_gradients(loss, compiled=True)
    pixels = as_tensors([images.astype(routed.model.inputs[0].dtype)])

    def gradient(passed: np.ndarray) -> np.ndarray:
        # JAX would compile the weights into the function if they were no arguments.
        values = as_tensors([*passed.astype(gates[0].dtype), *others])
        return as_array(gradients(pixels, values)[1][0])

    return RouteGradient(len(routed.blocks), gradient)
