"""Schedules of the learning rate as rows, which `training/optimizers.py` computes."""

from dataclasses import dataclass

from keras_resnet.config.checks import (
    BELOW_ONE,
    COUNT,
    NOT_NEGATIVE,
    POSITIVE,
    SHARE,
    check_numbers,
    set_tuples,
)


@dataclass(frozen=True, kw_only=True)
class StepDecay:
    """The learning rate is multiplied by ``factor`` after each of the updates ``at``.

    Before that it may rise linearly over ``warmup`` (share of the updates), from
    ``warmup_from``, a share of the learning rate.
    """

    learning_rate: float
    at: tuple[int, ...]
    factor: float = 0.1
    warmup: float = 0.0
    warmup_from: float = 0.0

    def __post_init__(self) -> None:
        check_numbers(self, learning_rate=POSITIVE, factor=POSITIVE)
        check_numbers(self, warmup=BELOW_ONE, warmup_from=SHARE)
        set_tuples(self, "at")


@dataclass(frozen=True, kw_only=True)
class CosineDecay:
    """A linear rise over ``warmup`` (share of the updates), a cosine to 0.

    The rise begins at ``warmup_from``, a share of the learning rate.
    """

    learning_rate: float
    warmup: float = 0.0
    warmup_from: float = 0.0

    def __post_init__(self) -> None:
        check_numbers(self, learning_rate=POSITIVE, warmup=BELOW_ONE, warmup_from=SHARE)


@dataclass(frozen=True, kw_only=True)
class PolynomialDecay:
    """``(1 - updates / all)**power``, after a rise with the same power.

    The rise, ``(updates / rise)**power``, takes ``warmup``, a share of the updates;
    darknet's ``burn_in`` (src/network.c, get_current_rate).
    """

    learning_rate: float
    power: float
    warmup: float = 0.0

    def __post_init__(self) -> None:
        check_numbers(self, learning_rate=POSITIVE, power=POSITIVE, warmup=BELOW_ONE)


@dataclass(frozen=True, kw_only=True)
class PlateauDecay:
    """Multiplied by ``factor`` whenever the validation error stops falling.

    That is when ``patience`` validations in a row have not brought it
    ``min_delta`` (percentage points) under the lowest before.
    """

    learning_rate: float
    patience: int
    min_delta: float
    factor: float = 0.1

    def __post_init__(self) -> None:
        check_numbers(
            self,
            learning_rate=POSITIVE,
            patience=COUNT,
            min_delta=NOT_NEGATIVE,
            factor=POSITIVE,
        )


Schedule = StepDecay | CosineDecay | PolynomialDecay | PlateauDecay
