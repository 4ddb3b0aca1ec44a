"""SGD with the papers' weight decay."""

from collections.abc import Sequence
from typing import Any

import keras


@keras.saving.register_keras_serializable(package="keras_resnet")
class CoupledSGD(keras.optimizers.SGD):
    """SGD whose weight decay is a part of the gradient: ``g + weight_decay * w``.

    This is the decay of Caffe and Torch. Keras's own ``SGD(weight_decay=)`` is
    decoupled: it shrinks the weights outside the momentum, which at momentum 0.9 is
    about ten times weaker. A kernel regularizer would miss gamma, beta and biases,
    and would show its penalty in the loss.

    Args:
        learning_rate: A float or a schedule.
        momentum: Between 0 and 1, in Caffe's form (``v = m * v - lr * g``).
        nesterov: Whether the momentum is Nesterov's.
        coupled_weight_decay: The decay ``d``, at least 0.
        exclude_from_decay: Names of variables that do not decay, such as
            ``("gamma", "beta", "bias")``. The papers decay all of them.
        **kwargs: Of `keras.optimizers.SGD`.

    Raises:
        ValueError: If ``coupled_weight_decay`` is negative, or ``weight_decay`` is given.
    """

    def __init__(
        self,
        learning_rate: float | keras.optimizers.schedules.LearningRateSchedule = 0.01,
        momentum: float = 0.0,
        nesterov: bool = False,
        coupled_weight_decay: float = 0.0,
        exclude_from_decay: Sequence[str] = (),
        name: str = "coupled_sgd",
        **kwargs: Any,
    ) -> None:
        if kwargs.get("weight_decay") is not None:
            raise ValueError(
                "`weight_decay` is Keras's decoupled decay: give "
                "`coupled_weight_decay` alone. "
                f"Received: weight_decay={kwargs['weight_decay']}."
            )
        if coupled_weight_decay < 0:
            raise ValueError(
                "`coupled_weight_decay` must not be negative. "
                f"Received: coupled_weight_decay={coupled_weight_decay}."
            )
        super().__init__(
            learning_rate, momentum=momentum, nesterov=nesterov, name=name, **kwargs
        )
        self.coupled_weight_decay: float = coupled_weight_decay
        self.exclude_from_decay: tuple[str, ...] = tuple(exclude_from_decay)

    def build(self, variables: list[keras.Variable]) -> None:
        super().build(variables)
        self._decays: list[bool] = [
            v.name not in self.exclude_from_decay for v in variables
        ]

    def update_step(
        self, gradient: Any, variable: keras.Variable, learning_rate: Any
    ) -> None:
        if self.momentum and _fit_one_operation(gradient, variable):
            rate = keras.ops.cast(learning_rate, "float32")
            self._in_one_operation(
                gradient, variable, rate, self.momentum, self.coupled_weight_decay
            )
            return
        if self._decays_variable(variable):
            weight = keras.ops.convert_to_tensor(variable)
            gradient = gradient + self.coupled_weight_decay * weight
        super().update_step(gradient, variable, learning_rate)

    def _backend_update_step(self, grads, trainable_variables, learning_rate):
        """All variables' updates, on TensorFlow without a detour where nothing is reduced.

        Keras takes the gradients through `tf.distribute` on one device too, and makes
        the same constants for each variable. The method is private to Keras: one that
        calls another trains by `update_step`, with the same results.
        """
        if keras.backend.backend() != "tensorflow" or _distributed():
            super()._backend_update_step(grads, trainable_variables, learning_rate)
            return
        rate, momentum, decay = (
            keras.ops.convert_to_tensor(number, "float32")
            for number in (learning_rate, self.momentum, self.coupled_weight_decay)
        )
        for gradient, variable in zip(grads, trainable_variables, strict=True):
            if self.momentum and _fit_one_operation(gradient, variable):
                self._in_one_operation(gradient, variable, rate, momentum, decay)
            else:
                self.update_step(gradient, variable, learning_rate)

    def _in_one_operation(self, gradient, variable, rate, momentum, decay):
        """Updates a variable by TensorFlow's operation: Keras's own is a dozen to trace.

        Momentum and decay are numbers, or tensors of them that variables share.
        """
        import tensorflow as tf

        if self._decays_variable(variable):
            gradient = gradient + decay * keras.ops.convert_to_tensor(variable)
        tf.raw_ops.ResourceApplyKerasMomentum(
            var=variable.handle,
            accum=self.momentums[self._get_variable_index(variable)].handle,
            lr=rate,
            grad=gradient,
            momentum=momentum,
            use_nesterov=self.nesterov,
        )

    def _decays_variable(self, variable):
        decays = self._decays[self._get_variable_index(variable)]
        return self.coupled_weight_decay and decays

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {
            "coupled_weight_decay": self.coupled_weight_decay,
            "exclude_from_decay": self.exclude_from_decay,
        }


def _distributed():
    """Whether TensorFlow trains under a strategy."""
    import tensorflow as tf

    return tf.distribute.has_strategy()


def _fit_one_operation(gradient, variable):
    """Whether TensorFlow's operation for momentum takes a gradient and its variable."""
    if keras.backend.backend() != "tensorflow":
        return False
    import tensorflow as tf

    dense = isinstance(gradient, tf.Tensor)
    return dense and gradient.dtype == variable.dtype == tf.float32
