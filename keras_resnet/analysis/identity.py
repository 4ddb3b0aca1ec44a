"""The gradient through identity shortcuts: He et al. 2016b, eq. 5, in numbers."""

from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from keras_resnet.analysis.batches import check_weights, checked
from keras_resnet.analysis.blocks import Block
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


@dataclass(frozen=True, kw_only=True)
class GradientIdentity:
    """Whether the gradient of a stage is that of its end plus that through its residuals.

    Attributes:
        stages: Numbers of the stages with identity shortcuts, ``(stages,)``.
        blocks: Number of blocks that lie between the two ends of each, ``(stages,)``.
        error: Norm of the difference of both sides of the equation, over that of the
            gradient, ``(stages,)``.
        direct: Norm of the part that comes by the shortcuts alone, over that of the
            gradient, ``(stages,)``.
        dtype: In which it is computed.
        images: Number of images.
        training: Whether batch norm normalized by the batch.
    """

    stages: np.ndarray
    blocks: np.ndarray
    error: np.ndarray
    direct: np.ndarray
    dtype: str
    images: int
    training: bool


def gradient_identity(
    model: keras.Model,
    images: np.ndarray,
    labels: np.ndarray,
    *,
    training: bool = True,
    from_logits: bool = True,
    dtype: str = "float32",
) -> GradientIdentity:
    """Checks He et al. 2016b, eq. 5, in numbers, in each stage.

    ``dE/dx_l = dE/dx_L (1 + d/dx_l Σ F(x_i))``, with x_l the input of the first block of
    a stage whose shortcut is the identity, and x_L the output of its last addition. It
    holds where nothing comes after the addition, as in v2. In v1 the ReLU between blocks
    enters, and the error is large.

    Args:
        model: A functional classifier with residual additions.
        images: As of `gradients.gradient_norms`.
        labels: As of `gradients.gradient_norms`.
        training: As of `gradients.gradient_norms`.
        from_logits: As of `gradients.gradient_norms`.
        dtype: In which to compute, ``"float32"`` or ``"float64"``.

    Raises:
        ValueError: As `gradients.gradient_norms`; if the model has no block whose
            shortcut is the identity; or if Keras does not compute in ``dtype`` on the
            backend, as on JAX and PyTorch in float64.
    """
    _check_dtype(dtype)
    check_logits(model, from_logits)
    routed = residual_network(model, dtype=dtype)
    images, labels = checked(model, images, labels)
    check_weights(model)
    runs = _identity_runs(routed)
    if not runs:
        raise ValueError(
            "`model` must have a block whose shortcut is the identity. Received: a model "
            f"named {model.name!r} whose shortcuts all have layers."
        )
    batch = as_tensors([images.astype(dtype), labels])
    parts = [_both_sides(routed, run, batch, training, from_logits) for run in runs]
    return GradientIdentity(
        stages=np.array([run[0].stage for run in runs]),
        blocks=np.array([len(run) for run in runs]),
        error=np.array([error for error, _ in parts]),
        direct=np.array([direct for _, direct in parts]),
        dtype=dtype,
        images=len(images),
        training=training,
    )


def _check_dtype(dtype: str) -> None:
    if dtype not in ("float32", "float64"):
        raise ValueError(
            f"`dtype` must be 'float32' or 'float64'. Received: dtype={dtype!r}."
        )
    if dtype == "float64" and keras.backend.backend() != "tensorflow":
        # `keras.backend.result_type` of float64 and float32 is float32 there.
        raise ValueError(
            "float64 needs the TensorFlow backend: on others, Keras 3 takes means and sums "
            f"of it in float32. Received: backend={keras.backend.backend()!r}."
        )


def _identity_runs(routed: Routed) -> list[list[Block]]:
    """The blocks with identity shortcuts, in runs of one stage."""
    runs: dict[int, list[Block]] = {}
    for block in routed.blocks:
        if block.identity:
            runs.setdefault(block.stage, []).append(block)
    return list(runs.values())


def _both_sides(
    routed: Routed,
    run: list[Block],
    batch: list[Tensor],
    training: bool,
    from_logits: bool,
) -> tuple[float, float]:
    """The relative error of the equation in one stage, and the share of its first part."""
    images, labels = batch
    layers = [routed.addition(block) for block in run]
    start = layers[0].input[layers[0].shortcut]
    residuals = [layer.input[1 - layer.shortcut] for layer in layers]
    before = keras.Model(routed.model.input, start)
    inside = keras.Model(start, [layers[-1].output, *residuals])
    behind = keras.Model(layers[-1].output, routed.model.output)

    def computed(part: keras.Model, x: Tensor) -> Any:
        return stateless(lambda x: part(x, training=training))([], x)

    def energy(x: Tensor) -> Tensor:
        return mean_cross_entropy(computed(behind, x), labels, from_logits)

    def gradient(function: Any, x: Tensor) -> np.ndarray:
        (found,) = value_and_gradients(lambda values: function(values[0]))([x])[1]
        return as_array(found)

    x = keras.ops.stop_gradient(computed(before, images))
    end = keras.ops.stop_gradient(computed(inside, x)[0])
    whole = gradient(lambda x: energy(computed(inside, x)[0]), x)
    direct = gradient(energy, end)
    (passed,) = as_tensors([direct])

    def through_residuals(x: Tensor) -> Tensor:
        _, *parts = computed(inside, x)
        return keras.ops.sum(passed * sum(parts))

    both = direct + gradient(through_residuals, x)
    scale = max(np.linalg.norm(whole), np.finfo(whole.dtype).tiny)
    return (
        float(np.linalg.norm(whole - both) / scale),
        float(np.linalg.norm(direct) / scale),
    )
