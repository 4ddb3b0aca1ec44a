"""Finds names in tables and arguments of functions; errors suggest near names."""

import functools
import inspect
from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from typing import ParamSpec, TypeVar

Row = TypeVar("Row")
Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


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


def check_arguments(function: str, given: Iterable[str], known: Iterable[str]) -> None:
    """Raises an error that suggests what could be meant, if an argument is unknown.

    Args:
        function: Name of the function, for the message.
        given: Names of the arguments that it was called with.
        known: Names of those that it takes.

    Raises:
        TypeError: If one of ``given`` is not in ``known``.
    """
    known = list(known)
    for name in given:
        if name not in known:
            guess = get_close_matches(name, known, n=1)
            hint = f" Did you mean `{guess[0]}`?" if guess else ""
            raise TypeError(
                f"{function}() has no argument `{name}`.{hint} "
                f"It has: {', '.join(known)}."
            )


def arguments_checked(
    function: Callable[Parameters, Result],
) -> Callable[Parameters, Result]:
    """The function, whose unknown arguments are errors that suggest a known one.

    Args:
        function: Without ``**options`` among its parameters.
    """
    known = list(inspect.signature(function).parameters)

    @functools.wraps(function)
    def checked(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Result:
        check_arguments(function.__name__, kwargs, known)
        return function(*args, **kwargs)

    return checked
