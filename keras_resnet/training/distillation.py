"""Distillation: a network learns from another one's logits as well as from labels."""

import hashlib
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from keras_resnet.outputs import check_logits


@keras.saving.register_keras_serializable(package="keras_resnet")
class Teacher(keras.Model):
    """A frozen functional model within the one that learns from it.

    Attributes:
        sha256: Fingerprint of its weights, which were trained elsewhere.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.trainable = False
        digest = hashlib.sha256()
        for weight in self.get_weights():
            digest.update(np.ascontiguousarray(weight))
        self.sha256: str = digest.hexdigest()

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        # As at inference always: the model around it would hand on its own `training`,
        # and dropout would make another teacher for each batch.
        return super().call(inputs, training=False, mask=mask)


def teacher_of(model: keras.Model) -> Teacher | None:
    """The `Teacher` in a model, or `None`."""
    return next((layer for layer in model.layers if isinstance(layer, Teacher)), None)


def without_teacher(
    variables: Sequence[keras.Variable], model: keras.Model
) -> list[keras.Variable]:
    """Those of a model's variables that are not its teacher's, in their order.

    A teacher doesn't change, so its weights, 240 MB of ResNet-152-D, are neither saved
    nor averaged.
    """
    teacher = teacher_of(model)
    foreign = set() if teacher is None else {id(one) for one in teacher.variables}
    return [variable for variable in variables if id(variable) not in foreign]


@keras.saving.register_keras_serializable(package="keras_resnet")
class DistillationLoss(keras.layers.Layer):
    """Returns the student's logits, and adds their distance from the teacher's to the loss.

    The distance is ``T**2`` times the cross-entropy of ``softmax(student / T)`` against
    ``softmax(teacher / T)``: Hinton et al. 2015, sec. 2; He et al. 2019, sec. 5.3. It
    is added during training only.

    Args:
        temperature: The ``T``.
    """

    def __init__(self, temperature: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.temperature: float = temperature

    def call(self, logits: Any, teacher_logits: Any, training: bool = False) -> Any:
        if training:
            temperature = self.temperature
            targets = keras.ops.softmax(
                keras.ops.stop_gradient(teacher_logits) / temperature
            )
            loss = keras.losses.categorical_crossentropy(
                targets, logits / temperature, from_logits=True
            )
            self.add_loss(temperature**2 * keras.ops.mean(loss))
        return logits

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"temperature": self.temperature}


def with_teacher(
    student: keras.Model, teacher: keras.Model, temperature: float
) -> keras.Model:
    """A model to compile and fit: the student, with a teacher's logits in its loss.

    Args:
        student: Functional model from images to logits ``(batch, classes)``.
        teacher: The same, from the same images to the same classes; it is frozen.
        temperature: As of `DistillationLoss`.

    Returns:
        A `keras.Model` that shares the student's layers.

    Raises:
        ValueError: If the logits or the images have other shapes, or one of the two ends
            in a softmax.
    """
    for model in (student, teacher):
        check_logits(model, True)
    if student.output.shape[1:] != teacher.output.shape[1:]:
        raise ValueError(
            "The teacher must have the student's classes. Received: logits of shape "
            f"{teacher.output.shape} and {student.output.shape}."
        )
    teacher = Teacher(teacher.input, teacher.output, name="teacher")
    logits = DistillationLoss(temperature, dtype="float32", name="distillation")(
        student.output, teacher(student.input)
    )
    return keras.Model(student.input, logits, name=student.name)
