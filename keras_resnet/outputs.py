"""What a classifier's outputs are: logits or probabilities."""

from __future__ import annotations

import keras


def gives_probabilities(model: keras.Model) -> bool:
    """Tells whether a model's last operation is a softmax, so that none may follow.

    Raises:
        ValueError: If it is an activation that gives neither probabilities nor logits.
    """
    last = _last(model)
    activation = getattr(last, "activation", keras.activations.linear)
    if _is_softmax(last):
        return True
    if activation is not keras.activations.linear:
        raise ValueError(
            "The model must end in logits or in a softmax. Received: the activation "
            f"{getattr(activation, '__name__', activation)!r} in {last.name!r}."
        )
    return False


def check_logits(model: keras.Model, from_logits: bool) -> None:
    """Raises `ValueError` if a model that ends in a softmax is said to give logits."""
    if from_logits and model.layers and _is_softmax(_last(model)):
        raise ValueError(
            "The model must give logits, or `from_logits` must be False. Received: "
            f"from_logits=True and the model named {model.name!r}, which ends in a softmax "
            "and so gives probabilities."
        )


def _last(model):
    # A functional model's operations are its layers and bare `keras.ops`.
    last = getattr(model, "operations", model.layers)[-1]
    return _last(last) if isinstance(last, keras.Model) else last


def _is_softmax(last):
    # By name: `keras.ops.softmax` leaves an operation of this name, and no layer.
    activation = getattr(last, "activation", None)
    return type(last).__name__ == "Softmax" or activation is keras.activations.softmax
