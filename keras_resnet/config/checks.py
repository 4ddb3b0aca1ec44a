"""Checks of the numbers in rows."""

import math
import numbers
import re
from typing import Any

COUNT = "a positive integer"
WHOLE = "an integer of at least 0"
FINITE = "finite"
POSITIVE = "positive and finite"
NOT_NEGATIVE = "at least 0 and finite"
SHARE = "at least 0 and at most 1"
BELOW_ONE = "at least 0 and less than 1"


def is_integer(value: object, lowest: int, highest: float = math.inf) -> bool:
    """Whether a value is an integer of this range; `True` and `False` are none.

    NumPy's integers, and others that Python can index with, are integers as well.
    """
    value = plain_number(value)
    integer = isinstance(value, int) and not isinstance(value, bool)
    return integer and lowest <= value <= highest


def plain_number(value: Any) -> Any:
    """A number of NumPy's as Python's `int` or `float`, which JSON can hold.

    Everything else is given back as it is.
    """
    if isinstance(value, (bool, str)) or type(value) in (int, float):
        return value
    if isinstance(value, numbers.Integral):
        return int(value)
    return float(value) if isinstance(value, numbers.Real) else value


_HOLDS = {
    COUNT: lambda value: is_integer(value, 1),
    WHOLE: lambda value: is_integer(value, 0),
    FINITE: lambda value: -math.inf < value < math.inf,
    POSITIVE: lambda value: 0 < value < math.inf,
    NOT_NEGATIVE: lambda value: 0 <= value < math.inf,
    SHARE: lambda value: 0 <= value <= 1,
    BELOW_ONE: lambda value: 0 <= value < 1,
}


def check_numbers(values: Any, **wanted: str) -> None:
    """Raises `ValueError` unless the named numbers are what they must be."""
    for name, what in wanted.items():
        value = getattr(values, name)
        if not _holds(value, what):
            raise ValueError(f"`{name}` must be {what}. Received: {name}={value!r}.")


def check_each(
    name: str, values: tuple[object, ...], what: str, count: int | None = None
) -> None:
    """Raises `ValueError` unless there are numbers that each are what they must be.

    Args:
        name: Of the field, for the message.
        values: What it holds.
        what: As of `check_numbers`.
        count: How many there must be; by default one or more.
    """
    right_count = bool(values) if count is None else len(values) == count
    if not right_count or not all(_holds(value, what) for value in values):
        raise ValueError(
            f"`{name}` must be {count or 'one or more'} numbers, each {what}. "
            f"Received: {name}={values!r}."
        )


def _holds(value, what):
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return number and _HOLDS[what](value)


def check_range(values: Any, name: str, lowest: float, highest: float) -> None:
    """Raises `ValueError` unless a field holds two rising numbers between two others."""
    value = getattr(values, name)
    if len(value) != 2 or not lowest <= value[0] <= value[1] <= highest or not value[1]:
        raise ValueError(
            f"`{name}` must be two numbers that rise from {lowest} at the least to "
            f"{highest} at the most. Received: {name}={value!r}."
        )


def check_name(name: Any) -> None:
    """Raises `ValueError` unless a name can be part of a folder's name."""
    if not isinstance(name, str) or not re.fullmatch(r"[\w.+-]+", name):
        raise ValueError(
            "`name` must be letters, digits, '_', '-', '+' and '.', as it names a "
            f"folder. Received: name={name!r}."
        )


def set_tuples(row: Any, *names: str) -> None:
    """Makes tuples of the lists among a frozen row's fields, so that it has a hash."""
    for name in names:
        value = getattr(row, name)
        if isinstance(value, list | tuple):
            parts = (tuple(v) if isinstance(v, list) else v for v in value)
            object.__setattr__(row, name, tuple(parts))


def check_positive(name: str, value: object) -> None:
    """Raises `ValueError` unless a row's value is a positive integer of Python's."""
    if not isinstance(value, int) or not is_integer(value, 1):
        raise ValueError(
            f"`{name}` must be a positive integer. Received: {name}={value!r}."
        )


def check_rate(name: str, value: object) -> None:
    """Raises `ValueError` unless a value is a number from 0 to below 1."""
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not number or not 0 <= value < 1:
        raise ValueError(
            f"`{name}` must be a number of at least 0 and less than 1. "
            f"Received: {name}={value!r}."
        )


def check_choice(name: str, value: object, choices: tuple[object, ...]) -> None:
    """Raises `ValueError` unless a value is one of some."""
    if value not in choices:
        raise ValueError(
            f"`{name}` must be one of {', '.join(map(repr, choices))}. "
            f"Received: {name}={value!r}."
        )
