"""Names of a package that are imported when they are first used (docs/decisions/0002)."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import Any


def names_from(
    homes: Mapping[str, str], package: str, inside: str | None = None
) -> Callable[[str], Any]:
    """Makes a package's ``__getattr__`` (PEP 562).

    Args:
        homes: From each public name to its module, as ``"module"``, or as
            ``"module:name"`` if it is called something else there.
        package: The package that has the names, for the message of an unknown one.
        inside: The package that the modules are in; by default ``package``.
    """

    def get(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        home, _, there = homes[name].partition(":")
        module = importlib.import_module(f"{inside or package}.{home}")
        return getattr(module, there or name)

    return get
