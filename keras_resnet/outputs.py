"""What a classifier's outputs are: logits or probabilities."""

from __future__ import annotations

from typing import Any

import keras


def gives_probabilities(model: keras.Model) -> bool:
    """Tells whether a model's last operation is a softmax, so that none may follow.

    Raises:
        ValueError: If it is an activation that gives neither probabilities nor logits.
    """
    last = _last(model)
    if _is_softmax(last):
        return True
    activation = getattr(last, "activation", keras.activations.linear)
    if activation is not keras.activations.linear:
        raise ValueError(
            "The model must end in logits or in a softmax. Received: the activation "
            f"{getattr(activation, '__name__', activation)!r} in {last.name!r}."
        )
    return False


def check_logits(model: Any, from_logits: bool) -> None:
    """Raises `ValueError` if it is plain that a model gives the other kind of outputs.

    It is plain of a functional or sequential model that ends in a softmax, or in a dense
    layer without activation. Of others nothing is known, and nothing is refused.
    """
    last = _last(model)
    if from_logits and _is_softmax(last):
        raise ValueError(
            "The model must give logits, or `from_logits` must be False. Received: "
            f"from_logits=True and the model named {model.name!r}, which ends in a softmax "
            "and so gives probabilities."
        )
    linear = getattr(last, "activation", None) is keras.activations.linear
    if not from_logits and isinstance(last, keras.layers.Dense) and linear:
        raise ValueError(
            "The model must give probabilities, or `from_logits` must be True. Received: "
            f"from_logits=False and the model named {model.name!r}, which ends in a dense "
            "layer without activation and so gives logits."
        )


def _last(model):
    """The last operation that changes anything; `None` where that isn't known."""
    # A functional model's operations are its layers and bare `keras.ops`. The layers of a
    # subclassed one have no order.
    is_sequential = isinstance(model, keras.Sequential)
    operations = model.layers if is_sequential else getattr(model, "operations", ())
    for operation in reversed(operations):
        if isinstance(operation, keras.Model):
            return _last(operation)
        if not _passes_on(operation):
            return operation
    return None


def _passes_on(operation):
    linear = getattr(operation, "activation", None) is keras.activations.linear
    if isinstance(operation, keras.layers.Activation) and linear:
        return True
    return isinstance(operation, (keras.layers.Identity, keras.layers.Dropout))


def _is_softmax(operation):
    # By name: `keras.ops.softmax` leaves an operation of this name, and no layer.
    softmaxes = (keras.activations.softmax, keras.ops.softmax)
    activation = getattr(operation, "activation", None)
    return type(operation).__name__ == "Softmax" or activation in softmaxes
