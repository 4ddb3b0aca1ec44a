"""Finds a row of a table by its name, with an error that suggests near names."""

from collections.abc import Mapping
from difflib import get_close_matches
from typing import TypeVar

Row = TypeVar("Row")


def find(table: Mapping[str, Row], name: str, *, kind: str) -> Row:
    """Returns ``table[name]``, or raises an error that suggests what could be meant.

    Args:
        table: From names to rows.
        name: The name to look up.
        kind: What the table holds, for the message, e.g. ``"network"``.

    Raises:
        ValueError: If ``table`` has no such name.
    """
    if name in table:
        return table[name]
    guess = get_close_matches(str(name).lower(), table, n=1)
    hint = f" Did you mean {guess[0]!r}?" if guess else ""
    raise ValueError(
        f"Unknown {kind} {name!r}.{hint} Expected one of: {', '.join(sorted(table))}."
    )
