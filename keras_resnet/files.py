"""Local paths; files and folders that are written whole or not at all; JSON; hashes."""

from __future__ import annotations

import contextlib
import errno
import functools
import hashlib
import json
import os
import pathlib
import re
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from typing import Any

# What is being written lies in a folder whose name begins so, beside its final place.
WRITING = "writing_"
_HOME = re.compile(r"~([/\\]|$)")
# A scheme, as of gs://bucket/runs, also after pathlib has made one slash of the two. Two
# letters at least: one is a drive of Windows.
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")
# What file systems say that can't be asked to keep a file: they do as well as they can.
_NO_FLUSH = {errno.EBADF, errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP}
_NO_FLUSH |= {errno.EPERM, errno.EACCES}


def local_path(path: str | os.PathLike[str], what: str = "The path") -> pathlib.Path:
    """A path of this machine's file system, with a leading ``~`` expanded.

    Every function of the package that takes a path reads it with this one.

    Args:
        path: As the user gave it.
        what: The path's name, to begin the error's message with.

    Raises:
        ValueError: If it is no path, is empty, which would be the current folder, or lies
            in remote storage, such as ``gs://bucket/runs``, where there are no locks and
            nothing is replaced in one move; or if it begins with ``~`` and nobody knows
            the home folder, as in a container without ``HOME``.
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
    expanded = os.path.expanduser(path)
    if expanded == path and _HOME.match(path):
        raise ValueError(
            f"{what} begins with ~, and this process has no home folder. Received: "
            f"{path!r}. Set the variable HOME, or write the whole path."
        )
    return pathlib.Path(expanded)


def keras_home() -> pathlib.Path:
    """The folder in which Keras keeps its files.

    It is ``KERAS_HOME``, else ``.keras`` in the home folder; in ``/tmp`` where nothing can
    be written there, or there is no home folder.
    """
    home = os.path.expanduser(os.environ.get("KERAS_HOME") or "~/.keras")
    if not _HOME.match(home):
        path = local_path(home, "$KERAS_HOME")
        first = next(each for each in (path, *path.parents) if each.exists())
        if os.access(first, os.W_OK):
            return path
    return pathlib.Path("/tmp/.keras")


@contextlib.contextmanager
def replaced(path: pathlib.Path, sign: str = "") -> Iterator[pathlib.Path]:
    """Gives a place to write a file or folder, which then takes the place of ``path``.

    If the block raises, ``path`` stays as it was. A process that is killed leaves
    ``path`` as it was or as it is to be, and beside it perhaps a folder
    ``writing_<name>_…``, which may be removed where ``path`` is there and, of a folder
    that has a sign, the sign in it.

    Where the file system moves no folders (buckets mounted by gcsfuse, and what a
    container's image holds), the files of a folder are moved one by one, the sign last,
    and those of a folder that was there before that, the sign first. A process that is
    killed meanwhile leaves ``path`` without its sign. The files that were there are then
    in ``writing_<name>_…/old``, those that it hadn't moved yet still in ``path``.

    Args:
        path: The file or folder. Its parents are created.
        sign: Of a folder, the name of the file in it that says that it is whole.

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
    folder = pathlib.Path(
        tempfile.mkdtemp(dir=path.parent, prefix=f"{WRITING}{path.name}_")
    )
    new, old = folder / path.name, folder / "old"
    try:
        yield new
        if path.is_dir() and new.is_file():
            raise IsADirectoryError(
                f"{path} must be a file, or nothing yet. Received: a folder, which stays "
                "as it was. Choose another name, or move the folder away."
            )
        flush(new)
        if new.is_dir():
            _replace_folder(new, path, old, sign)
        else:
            os.replace(new, path)
    except BaseException:
        if not old.exists():  # Else it is all that is left of what was there.
            shutil.rmtree(folder, ignore_errors=True)
        raise
    shutil.rmtree(folder, ignore_errors=True)


def _replace_folder(new, path, old, sign):
    """Moves a folder to ``path``, and what is there to ``old``."""
    try:
        _exchange(new, path, old, os.replace, os.replace)
    except OSError:
        away = functools.partial(_move_files, order=lambda name: name != sign)
        here = functools.partial(_move_files, order=lambda name: name == sign)
        _exchange(new, path, old, away, here)


def _exchange(new, path, old, away, here):
    """Calls ``away`` and ``here`` to move; what was there comes back if that fails."""
    if path.is_dir():
        away(path, old)
    try:
        here(new, path)
    except BaseException:
        if old.exists():
            here(old, path)
        raise


def _move_files(source, target, order):
    """Moves a folder's files one by one, sorted by ``order`` of their names, or none."""
    found = [one.relative_to(source) for one in source.rglob("*")]
    folders = [one for one in found if (source / one).is_dir()]
    files = sorted(set(found) - set(folders), key=lambda one: order(str(one)))
    for one in (".", *folders):
        (target / one).mkdir(parents=True, exist_ok=True)
    moved, emptied = [], source
    try:
        for one in files:
            os.replace(source / one, target / one)
            moved.append(one)
    except BaseException:  # Also a signal.
        emptied = target
        for one in reversed(moved):
            os.replace(target / one, source / one)
        raise
    finally:
        for one in (*reversed(folders), "."):
            # Another process may have written there.
            with contextlib.suppress(OSError):
                (emptied / one).rmdir()


def flush(path: pathlib.Path) -> None:
    """Has the disk keep a file, or a folder's files, before a name says they are whole."""
    for file in path.rglob("*") if path.is_dir() else [path]:
        if file.is_file():
            try:
                # Not for reading alone, with which Windows refuses.
                with file.open("r+b") as written:
                    os.fsync(written.fileno())
            except OSError as error:
                if error.errno not in _NO_FLUSH:
                    raise


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
