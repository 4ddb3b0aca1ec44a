"""What `convert` did, and how it writes: for networks and detectors."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from keras_resnet.config.class_names import check_class_names, named_classes, told_apart
from keras_resnet.files import replace_file, replaced


@dataclass(frozen=True, kw_only=True)
class Converted:
    """What `convert` did.

    Attributes:
        path: The file or folder that was written.
        network: Name of the network.
        assumed: Whose preprocessing the network has, where its source tells none; `None`
            where it does.
        library: The library whose logits were compared with ours; `None` if no library
            with this network is installed.
        difference: The greatest difference of a logit from the library's.
        largest: The greatest absolute value of the library's logits.
    """

    path: pathlib.Path
    network: str
    assumed: str | None = None
    library: str | None = None
    difference: float | None = None
    largest: float | None = None


def names_of(classes: str | os.PathLike[str] | Sequence[str]) -> tuple[str, ...]:
    """The names of classes as `convert` takes them."""
    is_list = not isinstance(classes, (str, os.PathLike))
    return told_apart(classes) if is_list else named_classes(classes)


def named(
    classes: str | os.PathLike[str] | Sequence[str], number: int
) -> tuple[str, ...]:
    """The names of the classes, which must be as many as the logits.

    Args:
        classes: As `convert` takes them.
        number: Of the logits, without that of a background.

    Raises:
        ValueError: If they are others, or no names.
    """
    names = names_of(classes)
    check_class_names(names)
    if len(names) != number:
        raise ValueError(
            f"`classes` (--classes) must name the {number} classes of the network, in the "
            f"order of its logits. Received: {len(names)} names, {names[:3]}…."
        )
    return names


def write(
    out: pathlib.Path,
    file: Callable[[pathlib.Path], None],
    folder: Callable[[pathlib.Path], None],
) -> None:
    """Writes ``out``, whole or not at all.

    Args:
        out: A file if it has a suffix, else a folder.
        file: Function that writes the file.
        folder: Function that writes into the folder.
    """
    if out.suffix:
        out.parent.mkdir(parents=True, exist_ok=True)
        replace_file(out, file)
        return
    with replaced(out, "source.json") as new:
        new.mkdir()
        folder(new)


def comparison(done: Converted) -> dict[str, Any]:
    """What ``source.json`` says of the comparison."""
    return {
        "compared_with": done.library,
        "greatest_difference": done.difference,
    }
