"""How large the gradients of a network's kernels are, and the network as initialised."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import keras
import numpy as np

from keras_resnet.analysis.batches import check_weights, checked
from keras_resnet.analysis.blocks import Block
from keras_resnet.analysis.differentiation import (
    as_array,
    as_tensors,
    mean_cross_entropy,
    norm,
    stateless,
    value_and_gradients,
)
from keras_resnet.analysis.directions import checked_weights
from keras_resnet.analysis.graphs import clone
from keras_resnet.analysis.routing import routed_or_not
from keras_resnet.outputs import check_logits


@dataclass(frozen=True, kw_only=True)
class GradientNorms:
    """The gradients of the loss with respect to a network's kernels.

    Attributes:
        layers: Names of the layers that have a kernel, in the order of the network.
        norms: Euclidean norm of the gradient of each kernel, ``(layers,)``.
        convolutions: Whether each is a convolution, Booleans ``(layers,)``.
        first: Index of the first convolution of the first block; 0 where no blocks are
            found.
        loss: Mean cross-entropy of the images, in nats.
        images: Number of images.
        training: Whether batch norm normalized by the batch.
    """

    layers: tuple[str, ...]
    norms: np.ndarray
    convolutions: np.ndarray
    first: int
    loss: float
    images: int
    training: bool

    @property
    def ratio(self) -> float:
        """The norm of the first block's first convolution over that of the last one.

        It is NaN where both are 0, as with zero gamma at initialisation.

        With batch norm in training, gradients grow on the way back through a plain net by
        a factor for each layer, and hardly in a residual one (Yang et al. 2019, "A mean
        field theory of batch normalization").
        """
        of_kind = self.convolutions if self.convolutions.any() else self.norms >= 0
        last = np.flatnonzero(of_kind)[-1]
        with np.errstate(divide="ignore", invalid="ignore"):
            return float(self.norms[self.first] / self.norms[last])


def gradient_norms(
    model: keras.Model,
    images: np.ndarray,
    labels: np.ndarray,
    *,
    training: bool = True,
    from_logits: bool = True,
) -> GradientNorms:
    """Measures the gradients of all kernels, with the weights that the model has.

    For the gradients at initialisation, give it `initialized` of the model.

    Args:
        model: A functional classifier, with or without residual additions.
        images: ``(n, height, width, channels)``, as the model takes them.
        labels: Integers of shape ``(n,)``.
        training: Whether batch norm normalizes by the batch, as in training and as it
            must before there are moving statistics; else by its moving statistics.
        from_logits: Whether the model gives logits; else it gives probabilities.

    Raises:
        ValueError: If the model is not functional, has fewer than two classes or NaN in
            its weights, or if images or labels do not fit it.
    """
    check_logits(model, from_logits)
    routed = routed_or_not(model)
    images, labels = checked(model, images, labels)
    check_weights(model)
    kernels = _kernels(routed.model)
    network = stateless(
        lambda x: routed.model(x, training=training), list(kernels.values())
    )
    pixels, targets = as_tensors([images, labels])
    loss, gradients = value_and_gradients(
        lambda values: mean_cross_entropy(network(values, pixels), targets, from_logits)
    )(list(kernels.values()))
    ranks = np.array([len(kernel.shape) for kernel in kernels.values()])
    return GradientNorms(
        layers=tuple(kernels),
        norms=np.array([norm(gradient) for gradient in gradients]),
        convolutions=ranks > 2,
        first=_first(list(kernels), ranks > 2, routed.blocks),
        loss=float(as_array(loss)),
        images=len(images),
        training=training,
    )


@dataclass(frozen=True, kw_only=True)
class GradientsAlong:
    """The gradients of a network's kernels along its training.

    Attributes:
        updates: Numbers of updates, in ascending order, integers ``(moments,)``.
        layers: As of `GradientNorms`.
        norms: Of the gradient of each kernel at each moment, ``(moments, layers)``.
        ratio: `GradientNorms.ratio` at each moment, ``(moments,)``.
        loss: Mean cross-entropy at each moment, in nats, ``(moments,)``.
    """

    updates: np.ndarray
    layers: tuple[str, ...]
    norms: np.ndarray
    ratio: np.ndarray
    loss: np.ndarray


def gradient_norms_along(
    model: keras.Model,
    moments: Iterable[tuple[int, Sequence[np.ndarray]]],
    images: np.ndarray,
    labels: np.ndarray,
    *,
    training: bool = True,
    from_logits: bool = True,
    progress: Callable[[int], object] | None = None,
) -> GradientsAlong:
    """Measures the gradients of all kernels with the weights of several moments.

    The model has its own weights at the end, also after an error.

    Args:
        model: As of `gradient_norms`.
        moments: Numbers of updates with the weights after them, as ``get_weights()`` gives
            them, in the order of training. They are read one after the other.
        images: As of `gradient_norms`.
        labels: As of `gradient_norms`.
        training: As of `gradient_norms`.
        from_logits: As of `gradient_norms`.
        progress: Called with the number of moments measured so far.

    Raises:
        ValueError: As `gradient_norms`; and if there is no moment, or weights don't fit.
    """
    own, found = model.get_weights(), {}
    how = {"training": training, "from_logits": from_logits}
    try:
        for update, weights in moments:
            model.set_weights(checked_weights("moments", weights, like=own))
            found[update] = gradient_norms(model, images, labels, **how)
            if progress:
                progress(len(found))
    finally:
        model.set_weights(own)
    if not found:
        raise ValueError("`moments` must hold one moment or more. Received: none.")
    each = list(found.values())
    return GradientsAlong(
        updates=np.array(list(found)),
        layers=each[0].layers,
        norms=np.array([one.norms for one in each]),
        ratio=np.array([one.ratio for one in each]),
        loss=np.array([one.loss for one in each]),
    )


def _kernels(model: keras.Model) -> dict[str, keras.Variable]:
    """The kernels of convolutions and dense layers, by the names of the layers."""
    kernels = {}
    for layer in model.layers:
        kernel = getattr(layer, "kernel", None)
        if kernel is not None and len(kernel.shape) > 1:
            kernels[layer.name] = kernel
    if not kernels:
        raise ValueError(
            "`model` must have convolutions or dense layers. Received: a model named "
            f"{model.name!r} without any."
        )
    return kernels


def _first(
    layers: list[str], convolutions: np.ndarray, blocks: tuple[Block, ...]
) -> int:
    """Index of the first convolution on the residual of the first block, if any."""
    of_block = set(blocks[0].residual) if blocks else set(layers)
    for index, name in enumerate(layers):
        if convolutions[index] and name in of_block:
            return index
    return 0


def initialized(model: keras.Model, seed: int) -> keras.Model:
    """A network as it is before training: the model's layers with new random weights.

    Args:
        model: A functional model; it stays as it is.
        seed: Of all random numbers. It is set for Python, NumPy and the backend, as by
            `keras.utils.set_random_seed`. An initializer with a seed of its own keeps it.

    Raises:
        ValueError: If the model is not functional.
    """
    keras.utils.set_random_seed(seed)
    return clone(model, weights=False)
