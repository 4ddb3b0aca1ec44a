"""The papers' learning rates as Keras's schedules, from rows of `config/schedules.py`."""

from dataclasses import replace
from typing import Any

import keras

from keras_resnet.config.schedules import (
    CosineDecay,
    PlateauDecay,
    PolynomialDecay,
    Schedule,
    StepDecay,
)


@keras.saving.register_keras_serializable(package="keras_resnet")
class BurnIn(keras.optimizers.schedules.LearningRateSchedule):
    """Darknet's polynomial decay with burn-in: a rise, then a fall by the same power.

    The rate is ``learning_rate * (step / warmup_steps)**power`` during the first
    ``warmup_steps`` updates and ``learning_rate * (1 - step / steps)**power`` after
    them (src/network.c, get_current_rate).

    Args:
        learning_rate: The rate that both are a share of.
        steps: Updates in total.
        warmup_steps: Updates of the rise, 0 for none.
        power: The power of both.
    """

    def __init__(
        self,
        learning_rate: float,
        steps: int,
        warmup_steps: int = 0,
        power: float = 4.0,
    ) -> None:
        self.learning_rate: float = learning_rate
        self.steps: int = steps
        self.warmup_steps: int = warmup_steps
        self.power: float = power

    def __call__(self, step: Any) -> Any:
        """The learning rate of the update after ``step`` others, a scalar tensor."""
        step = keras.ops.cast(step, "float32")
        rise = step / max(1, self.warmup_steps)
        fall = keras.ops.maximum(0.0, 1 - step / self.steps)
        share = keras.ops.where(step < self.warmup_steps, rise, fall)
        return self.learning_rate * share**self.power

    def get_config(self) -> dict[str, Any]:
        return dict(vars(self))


@keras.saving.register_keras_serializable(package="keras_resnet")
class WarmUp(keras.optimizers.schedules.LearningRateSchedule):
    """Another schedule's rate, of which the first updates use a share that rises to 1.

    The share is ``begin + (1 - begin) * step / warmup_steps`` during the first
    ``warmup_steps`` updates, as in torchvision's and Detectron2's linear warm-up.

    Args:
        schedule: A float, or a schedule or its configuration.
        warmup_steps: Updates of the rise.
        begin: The share with which it begins.
    """

    def __init__(
        self,
        schedule: float | keras.optimizers.schedules.LearningRateSchedule,
        warmup_steps: int,
        begin: float = 0.0,
    ) -> None:
        if isinstance(schedule, dict):  # From a file.
            schedule = keras.saving.deserialize_keras_object(schedule)
        self.schedule: float | keras.optimizers.schedules.LearningRateSchedule = (
            schedule
        )
        self.warmup_steps: int = warmup_steps
        self.begin: float = begin

    def __call__(self, step: Any) -> Any:
        """The learning rate of the update after ``step`` others, a scalar tensor."""
        rate = self.schedule(step) if callable(self.schedule) else self.schedule
        done = keras.ops.cast(step, "float32") / self.warmup_steps
        share = self.begin + (1 - self.begin) * keras.ops.minimum(1.0, done)
        return rate * share

    def get_config(self) -> dict[str, Any]:
        schedule = keras.saving.serialize_keras_object(self.schedule)
        return dict(vars(self)) | {"schedule": schedule}


def learning_rate(
    schedule: Schedule, steps: int
) -> float | keras.optimizers.schedules.LearningRateSchedule:
    """The learning rate for a Keras optimizer that a recipe's schedule means.

    Args:
        schedule: A `StepDecay` or `CosineDecay` (with a linear warm-up, if it has one),
            `PolynomialDecay` (with burn-in, if it has one) or `PlateauDecay`.
        steps: Updates in total.

    Returns:
        A `keras.optimizers.schedules.LearningRateSchedule`, which serializes. A float for
        a rate that doesn't change by itself: of a `StepDecay` without steps, and of a
        `PlateauDecay`, which the callback `ReduceOnPlateau` lowers.

    Raises:
        TypeError: If ``schedule`` is something else.
    """
    rate = getattr(schedule, "learning_rate", 0.0)
    match schedule:
        case PlateauDecay():
            return rate
        case StepDecay(warmup=warmup, warmup_from=share) if round(warmup * steps):
            warmed = learning_rate(replace(schedule, warmup=0.0), steps)
            return WarmUp(warmed, round(warmup * steps), share)
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
