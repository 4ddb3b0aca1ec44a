"""Local paths; files and folders that are written whole or not at all; JSON; hashes."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import pathlib
import re
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from typing import Any

# What is being written lies in a folder whose name begins so, beside its final place.
WRITING = "writing_"
# A scheme, as of gs://bucket/runs, also after pathlib has made one slash of the two. Two
# letters at least: one is a drive of Windows.
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")


def local_path(path: str | os.PathLike[str], what: str = "The path") -> pathlib.Path:
    """A path of this machine's file system, with a leading ``~`` expanded.

    Every function of the package that takes a path reads it with this one.

    Args:
        path: As the user gave it.
        what: The path's name, to begin the error's message with.

    Raises:
        ValueError: If it is no path, is empty, which would be the current folder, or lies
            in remote storage, such as ``gs://bucket/runs``, where there are no locks and
            nothing is replaced in one move.
    """
    if not isinstance(path, str | os.PathLike):
        raise ValueError(
            f"{what} must be a path: text or a `Path`. Received: {path!r}."
        )
    path = os.fspath(path)
    if not path:
        raise ValueError(
            f"{what} must not be empty. Received: {path!r}, as of a variable that isn't "
            "set. Name a file or folder; the current folder is '.'."
        )
    if _SCHEME.match(path):
        raise ValueError(
            f"{what} must lie in this machine's file system. Received: {path!r}. Mount "
            "the storage as a folder, or copy the files here (and back afterwards)."
        )
    return pathlib.Path(os.path.expanduser(path))


@contextlib.contextmanager
def replaced(path: pathlib.Path) -> Iterator[pathlib.Path]:
    """Gives a place to write a file or folder, which then takes the place of ``path``.

    If the block raises, ``path`` stays as it was. A process that is killed leaves
    ``path`` as it was or as it is to be, and beside it perhaps a folder
    ``writing_<name>_…``, which may be removed. (While one folder takes the place of
    another, the old one lies in there for a moment.)

    Args:
        path: The file or folder. Its parents are created.

    Yields:
        The path to write to, where nothing is yet. It has the same name, as what is
        written may depend on it.

    Raises:
        IsADirectoryError: If a file was written and ``path`` is a folder: no file takes
            the place of a folder and all that is in it.
        OSError: If it can't be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # Beside the path, as a move is only atomic within a file system. Of a name of its
    # own, as another process may be writing the same file.
    with tempfile.TemporaryDirectory(
        dir=path.parent, prefix=f"{WRITING}{path.name}_", ignore_cleanup_errors=True
    ) as folder:
        new, old = pathlib.Path(folder, path.name), pathlib.Path(folder, "old")
        yield new
        if path.is_dir() and new.is_file():
            raise IsADirectoryError(
                f"{path} must be a file, or nothing yet. Received: a folder, which stays "
                "as it was. Choose another name, or move the folder away."
            )
        _flush(new)
        if path.is_dir():  # A move replaces files, but no folder that holds any.
            os.replace(path, old)
        try:
            os.replace(new, path)
        except OSError:
            if old.exists():
                os.replace(old, path)
            raise


def _flush(path):
    """Has the disk keep what was written, before its name says that it is whole."""
    for file in path.rglob("*") if path.is_dir() else [path]:
        if file.is_file():
            with file.open("r+b") as written:
                os.fsync(written.fileno())


def replace_file(path: pathlib.Path, write: Callable[[pathlib.Path], Any]) -> None:
    """Calls ``write`` with a path, and moves what it wrote there to ``path``.

    Args:
        path: The file, which is whole or as it was before.
        write: Function of a path, for example a Keras model's ``save``.
    """
    with replaced(path) as new:
        write(new)


def to_json(value: Any) -> str:
    """A value as the text of a JSON file: indented, in ASCII, with a newline at the end.

    In ASCII, since the names of files in it need not be text that can be encoded.
    """
    return json.dumps(value, indent=2) + "\n"


def write_json(path: pathlib.Path, value: Any) -> None:
    """Writes a JSON file, which is whole or as it was before.

    Args:
        path: The file.
        value: What `json.dumps` takes.
    """
    text = to_json(value)
    replace_file(path, lambda new: new.write_text(text, encoding="utf-8"))


def read_json(path: pathlib.Path) -> Any:
    """Reads a JSON file.

    Raises:
        OSError: If it can't be read; `FileNotFoundError` if there is none.
        ValueError: If it is not UTF-8, or not JSON.
    """
    return json.loads(path.read_text(encoding="utf-8"))


def sha256_of(path: str | os.PathLike[str]) -> str:
    """Computes the SHA-256 of a file, as 64 hexadecimal digits."""
    with open(local_path(path), "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def damage_of(path: pathlib.Path) -> str | None:
    """What is wrong with a zip file, such as a ``.keras`` file, in a few words.

    It compares the checksum of everything inside, since Keras reads a file with flipped
    bits as if nothing were wrong.

    Args:
        path: The file.

    Returns:
        The damage; `None` if the file is whole.

    Raises:
        OSError: If it can't be read, for lack of rights for example.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            bad = archive.testzip()
    except FileNotFoundError:
        return "it is missing"
    except OSError:
        raise
    except Exception as error:  # Flipped bits make zipfile raise many kinds.
        empty = path.stat().st_size == 0
        return "it is empty" if empty else f"it is damaged or cut short: {error}"
    return bad and f"it is damaged: the checksum of {bad} in it is wrong"


def check_place(path: pathlib.Path, what: str) -> None:
    """Checks that a file or folder can be made, by making a folder there for a moment.

    Args:
        path: Of what is to be made. Its parents need not exist.
        what: The option that names it, for errors.

    Raises:
        FileExistsError: If one of its parents is a file.
        PermissionError: If nothing can be written there.
    """
    parent = next(parent for parent in path.parents if os.path.lexists(parent))
    if not parent.is_dir():
        raise FileExistsError(
            f"{what} must lie in a folder. Received: {path}, and {parent} is a file. "
            "Choose another place."
        )
    try:
        tempfile.TemporaryDirectory(dir=parent, prefix=WRITING).cleanup()
    except OSError as error:
        raise PermissionError(
            f"{what} can't be written. Received: {path}, and nothing can be made in "
            f"{parent} ({error.strerror}). Choose another place."
        ) from error


def check_target(target: pathlib.Path, sign: str, overwrite: bool) -> None:
    """Checks that an export may write a folder, before anything is computed for it.

    Args:
        target: The folder.
        sign: Name of the file by which it is known that an export wrote it.
        overwrite: Whether it may be replaced if it exists.

    Raises:
        FileExistsError: If it exists and may not be replaced, or no export wrote it, or
            one of its parents is a file.
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
            "Only what an export wrote is overwritten. Received: "
            f"{target}, which has no {sign}. Choose another folder."
        )
