"""Results of analyses as plain numbers and names, for JSON."""

from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np


def as_json(result: Any) -> dict[str, Any]:
    """The fields of a result, for `json.dumps`.

    Args:
        result: An instance of one of the dataclasses of results in `analysis`.

    Returns:
        A dict by the fields' names: arrays and tuples as lists, and `None` in the place of
        NaN and infinite numbers, which JSON does not have.
    """
    return {field.name: plain(getattr(result, field.name)) for field in fields(result)}


def plain(value: Any) -> Any:
    """A result, a number, an array or a collection of them, as `as_json` gives them."""
    if is_dataclass(value) and not isinstance(value, type):
        return as_json(value)
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if isinstance(value, tuple | list):
        return [plain(one) for one in value]
    if isinstance(value, dict):
        return {name: plain(one) for name, one in value.items()}
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value
