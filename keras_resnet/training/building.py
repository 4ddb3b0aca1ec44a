"""What Keras would build by tracing a network, built without."""

import keras


def build_loss_and_metrics(model: keras.Model, *, soft_labels: bool) -> None:
    """Makes what Keras would trace the whole network once more for, when `fit` begins.

    Args:
        model: A compiled model that gives logits ``(batch, classes)``.
        soft_labels: Whether its labels are ``(batch, classes)``, or integers.
    """
    logits = keras.ops.zeros((1, model.output_shape[-1]))
    labels = logits if soft_labels else keras.ops.zeros((1,), "int32")
    with keras.StatelessScope():  # Nothing is counted.
        model.compute_metrics(None, labels, logits)
        model.compute_loss(None, labels, logits)
