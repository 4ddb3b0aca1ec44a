"""Finding a row of a table by its name, with an error that helps."""

from difflib import get_close_matches


def find(table, name, *, kind):
    """Returns ``table[name]``, or says what could have been meant.

    Args:
        table: Mapping from names (str) to rows.
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
