"""Checks of the numbers in rows."""

import math
from typing import Any

COUNT = "a positive integer"
POSITIVE = "positive and finite"
NOT_NEGATIVE = "at least 0 and finite"
SHARE = "at least 0 and at most 1"
BELOW_ONE = "at least 0 and less than 1"
_HOLDS = {
    COUNT: lambda value: isinstance(value, int) and value >= 1,
    POSITIVE: lambda value: 0 < value < math.inf,
    NOT_NEGATIVE: lambda value: 0 <= value < math.inf,
    SHARE: lambda value: 0 <= value <= 1,
    BELOW_ONE: lambda value: 0 <= value < 1,
}


def check_numbers(values: Any, **wanted: str) -> None:
    """Raises `ValueError` unless the named numbers are what they must be."""
    for name, what in wanted.items():
        value = getattr(values, name)
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not number or not _HOLDS[what](value):
            raise ValueError(f"`{name}` must be {what}. Received: {name}={value!r}.")


def check_range(values: Any, name: str, lowest: float, highest: float) -> None:
    """Raises `ValueError` unless a field holds two rising numbers between two others."""
    value = getattr(values, name)
    if len(value) != 2 or not lowest <= value[0] <= value[1] <= highest or not value[1]:
        raise ValueError(
            f"`{name}` must be two numbers that rise from {lowest} at the least to "
            f"{highest} at the most. Received: {name}={value!r}."
        )
