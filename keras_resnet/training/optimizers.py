"""SGD with weight decay as the papers meant it, and their learning rates."""

import keras

from keras_resnet.config.recipes import OneCycle, PlateauDecay, StepDecay


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
        learning_rate=0.01,
        momentum=0.0,
        nesterov=False,
        coupled_weight_decay=0.0,
        exclude_from_decay=(),
        name="coupled_sgd",
        **kwargs,
    ):
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
        self.coupled_weight_decay = coupled_weight_decay
        self.exclude_from_decay = tuple(exclude_from_decay)

    def build(self, variables):
        super().build(variables)
        self._decays = [v.name not in self.exclude_from_decay for v in variables]

    def update_step(self, gradient, variable, learning_rate):
        if (
            self.coupled_weight_decay
            and self._decays[self._get_variable_index(variable)]
        ):
            weight = keras.ops.convert_to_tensor(variable)
            gradient = gradient + self.coupled_weight_decay * weight
        super().update_step(gradient, variable, learning_rate)

    def get_config(self):
        return super().get_config() | {
            "coupled_weight_decay": self.coupled_weight_decay,
            "exclude_from_decay": self.exclude_from_decay,
        }


def learning_rate(schedule, steps):
    """The Keras form of a recipe's schedule: a float or a `LearningRateSchedule`.

    Args:
        schedule: `StepDecay`, `OneCycle` or `PlateauDecay`; the last begins as a
            float that the callback `ReduceOnPlateau` lowers.
        steps: Updates in total.
    """
    rate = schedule.learning_rate
    match schedule:
        case PlateauDecay():
            return rate
        case StepDecay(at=()):
            return rate
        case StepDecay(at=at, factor=factor):
            # Keras changes the rate after the boundary; the paper's "at 32k" is the
            # first update with the new one.
            return keras.optimizers.schedules.PiecewiseConstantDecay(
                [step - 1 for step in at],
                [rate * factor**drops for drops in range(len(at) + 1)],
            )
        case OneCycle(warmup=warmup):
            rise = round(warmup * steps)
            return keras.optimizers.schedules.CosineDecay(
                0.0 if rise else rate,
                max(1, steps - rise),
                warmup_target=rate if rise else None,
                warmup_steps=rise,
            )
    raise TypeError(
        "`schedule` must be a StepDecay, OneCycle or PlateauDecay. "
        f"Received: schedule={schedule!r}."
    )
