"""Numbers and nouns for what people read."""

import math
import numbers
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
