"""Numbers, nouns and lengths of time as people write them."""

import math
import numbers
import re
from typing import Any

UNKNOWN = "–"  # In the place of what isn't known.


def known(value: Any, form: str = "") -> str:
    """A number or a word as people read it; `UNKNOWN` for `None`, NaN and infinity.

    Args:
        value: The number or the word.
        form: How it is written, as for `format`.
    """
    if value is None or (isinstance(value, numbers.Real) and not math.isfinite(value)):
        return UNKNOWN
    return format(value, form)


def percent(value: float | None) -> str:
    """A percentage with two decimals, as errors are told."""
    said = known(value, ".2f")
    return said if said == UNKNOWN else f"{said} %"


def counted(count: int, one: str, many: str | None = None) -> str:
    """A number with its noun, such as ``1 image`` or ``1,200 images``.

    Args:
        count: The number.
        one: The noun in the singular.
        many: In the plural, if it isn't the singular with an s.
    """
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def duration(seconds: float) -> str:
    """Writes seconds for people, e.g. ``1 h 22 min``."""
    if round(seconds) >= 3600:
        hours, minutes = divmod(round(seconds / 60), 60)
        return f"{hours} h {minutes:02} min"
    minutes, seconds = divmod(round(seconds), 60)
    return f"{minutes} min {seconds:02} s" if minutes else f"{seconds} s"


def seconds_of(length: str, argument: str) -> float:
    """The seconds of a length of time such as ``"90s"``, ``"10m"`` or ``"2h"``.

    Args:
        length: A number, with a fraction or without, and its unit.
        argument: What the length was given for, for the error.

    Raises:
        ValueError: If it is none, or not positive.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smh])", str(length))
    if match is None or not float(match[1]):
        raise ValueError(
            f"`{argument}` (--{argument}) must be a positive length of time such as 90s, "
            f"10m or 2h. Received: {argument}={length!r}."
        )
    return float(match[1]) * {"s": 1, "m": 60, "h": 3600}[match[2]]
