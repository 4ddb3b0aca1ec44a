"""Runs beside each other: what they are called, and which one an error is about."""

from __future__ import annotations

import contextlib
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any


def names_of(folders: Sequence[pathlib.Path]) -> list[str]:
    """Names for runs beside each other: their folders' or, of equal ones, whole paths.

    Raises:
        ValueError: If a folder is given twice.
    """
    paths = [folder.resolve() for folder in folders]
    if len(set(paths)) < len(paths):
        raise ValueError(
            f"Each run must be given once. Received: {', '.join(map(str, paths))}."
        )
    names = [path.name for path in paths]
    return names if len(set(names)) == len(names) else list(map(str, paths))


@contextlib.contextmanager
def naming(run: Any) -> Iterator[None]:
    """Says of which run an error is: for what is done with several."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{run.folder}: {error}") from error
