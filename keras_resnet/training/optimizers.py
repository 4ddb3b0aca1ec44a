"""SGD with weight decay as the papers meant it, and their learning rates."""

import keras

from keras_resnet.config.schedules import (
    CosineDecay,
    PlateauDecay,
    PolynomialDecay,
    StepDecay,
)


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


@keras.saving.register_keras_serializable(package="keras_resnet")
class BurnIn(keras.optimizers.schedules.LearningRateSchedule):
    """Darknet's polynomial decay: a rise with a power, then a fall with the same.

    Args:
        learning_rate: That both are a share of.
        steps: Updates in total.
        warmup_steps: Updates of the rise, after which the fall is where it would be
            without one.
        power: Of both.
    """

    def __init__(self, learning_rate, steps, warmup_steps, power):
        self.learning_rate = learning_rate
        self.steps = steps
        self.warmup_steps = warmup_steps
        self.power = power

    def __call__(self, step):
        step = keras.ops.cast(step, "float32")
        rise = step / max(1, self.warmup_steps)
        fall = keras.ops.maximum(0.0, 1 - step / self.steps)
        share = keras.ops.where(step < self.warmup_steps, rise, fall)
        return self.learning_rate * share**self.power

    def get_config(self):
        return dict(vars(self))


def learning_rate(schedule, steps):
    """The Keras form of a recipe's schedule: a float or a `LearningRateSchedule`.

    Args:
        schedule: One of `config/recipe.py`; a `PlateauDecay` begins as a float that
            the callback `ReduceOnPlateau` lowers.
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
        case CosineDecay(warmup=warmup, warmup_from=share):
            rise = round(warmup * steps)
            return keras.optimizers.schedules.CosineDecay(
                share * rate if rise else rate,
                max(1, steps - rise),
                warmup_target=rate if rise else None,
                warmup_steps=rise,
            )
        case PolynomialDecay(power=power, warmup=warmup):
            return BurnIn(rate, steps, round(warmup * steps), power)
    raise TypeError(
        "`schedule` must be a StepDecay, CosineDecay, PolynomialDecay or PlateauDecay. "
        f"Received: schedule={schedule!r}."
    )
