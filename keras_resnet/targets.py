"""Checks whether files and folders may be written, before anything is computed for them."""

from __future__ import annotations

import os
import pathlib
import tempfile

from keras_resnet.files import WRITING, write_json


def check_place(path: pathlib.Path, what: str) -> None:
    """Checks that a file or folder can be made, by making some there for a moment.

    Args:
        path: Of what is to be made. Its parents need not exist.
        what: The option that names it, for errors.

    Raises:
        FileExistsError: If one of its parents is a file.
        PermissionError: If nothing can be written, or no file be replaced there.
    """
    parent = next(parent for parent in path.parents if os.path.lexists(parent))
    if not parent.is_dir():
        raise FileExistsError(
            f"{what} must lie in a folder. Received: {path}, and {parent} is a file. "
            "Choose another place."
        )
    try:
        with tempfile.TemporaryDirectory(dir=parent, prefix=WRITING) as folder:
            for text in ("old", "new"):
                # As everything is written: a file that takes the place of another.
                write_json(pathlib.Path(folder, "file.json"), text)
    except OSError as error:
        raise PermissionError(
            f"{what} can't be written. Received: {path}, and files can't be made and "
            f"replaced in {parent} ({error.strerror or error}). Choose another place, "
            "such as a folder of a local disk."
        ) from error


def check_target(
    target: pathlib.Path, sign: str, overwrite: bool, *, wrote: str = "an export"
) -> None:
    """Checks that a folder may be written, before anything is computed for it.

    Args:
        target: The folder.
        sign: Name of the file by which it is known what wrote it.
        overwrite: Whether it may be replaced if it exists.
        wrote: What writes such folders, for errors.

    Raises:
        FileExistsError: If it exists and may not be replaced, or something else wrote it,
            or one of its parents is a file.
        PermissionError: If nothing can be written there.
    """
    check_place(target, "`output` (--output)")
    if target.exists() and not overwrite:
        raise FileExistsError(
            f"The folder must not exist yet. Received: {target}. Choose another one, or "
            "pass `overwrite=True` (--overwrite)."
        )
    if target.exists() and not (target / sign).is_file():
        raise FileExistsError(
            f"Only what {wrote} wrote is overwritten. Received: "
            f"{target}, which has no {sign}. Choose another folder."
        )
