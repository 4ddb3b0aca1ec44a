"""Lists the image files in folders, by one set of rules for everything that reads them.

Training, prediction, evaluation and the images of an export all list their files here.
"""

from __future__ import annotations

import collections
import os
import pathlib
import unicodedata
import warnings
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from keras_resnet.config.image_formats import SUFFIXES
from keras_resnet.files import local_path, read_json

# Folders that operating systems and tools put beside files, for themselves.
OF_TOOLS = (
    "__pycache__",
    "__MACOSX",
    "@eaDir",
    "lost+found",
    "$RECYCLE.BIN",
    "System Volume Information",
)
# Files by which the folder of a run, of converted weights or of an export is known, with
# keys that they have: other programs write files of these names, too.
OWN_FILES: Mapping[str, tuple[str, ...]] = {
    "settings.json": ("recipe", "seed"),
    "record.json": ("recipe", "schema"),
    "source.json": ("network", "preprocessing"),
    "form.json": ("format", "precision"),
}
# Images of a folder from which on it takes long to read all of them at each start.
MANY = 10_000
OWN_GRAPH = "saved_model.pb"
OWN_LEVELS = 2  # Folders between one and the runs in it, as in ``runs/experiment/run``.


@dataclass(frozen=True)
class Contents:
    """What lies directly in a folder.

    Attributes:
        images: Paths of image files, sorted by name.
        folders: Paths of folders that may hold images, sorted by name.
        left_out: How many other files and folders there are, by reason.
    """

    images: list[pathlib.Path] = field(default_factory=list)
    folders: list[pathlib.Path] = field(default_factory=list)
    left_out: collections.Counter[str] = field(default_factory=collections.Counter)


def contents(folder: str | os.PathLike[str]) -> Contents:
    """Looks at what lies directly in a folder, through links.

    Image files are known by their suffix, in any capitals. Hidden images and folders,
    folders of tools (`OF_TOOLS`), what this package itself wrote (runs, converted
    weights, exports, and folders that hold no images and no folders but these, up to two
    levels up), broken
    links and files of other types are left out and counted; hidden files of other types
    are passed over.

    Args:
        folder: The folder. One that can't be read is empty, and counted.

    Returns:
        `Contents`.
    """
    found = Contents()
    try:
        with os.scandir(folder) as entries:
            entries = sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        found.left_out[f"folder that can't be read ({error.strerror})"] += 1
        return found
    for entry in entries:
        name, path = entry.name, pathlib.Path(entry.path)
        suffix = path.suffix.lower()
        is_folder = _holds(entry.is_dir)
        if _is_hidden(name):
            if is_folder or suffix in SUFFIXES:
                found.left_out["hidden"] += 1
        elif is_folder and _is_own(path):
            found.left_out[f"output of keras-resnet, {as_text(name)!r}"] += 1
        elif is_folder:
            found.folders.append(path)
        elif not _holds(entry.is_file):
            kind = "broken link" if entry.is_symlink() else "neither file nor folder"
            found.left_out[kind] += 1
        elif suffix in SUFFIXES:
            found.images.append(path)
        else:
            found.left_out[suffix or "file without suffix"] += 1
    return found


def _is_hidden(name: str) -> bool:
    """Tells whether a file or folder is hidden, or one of a tool's (`OF_TOOLS`)."""
    return name.startswith(".") or name in OF_TOOLS


def _holds(question: Callable[[], bool]) -> bool:
    """The answer of a directory's entry; no where links lead in a circle."""
    try:
        return question()
    except OSError:
        return False


def _is_own(folder: pathlib.Path, levels: int = OWN_LEVELS) -> bool:
    """Tells whether this package wrote a folder, or all folders in one without images."""
    if _is_marked(folder):
        return True
    if not levels:
        return False
    inside = []
    try:
        names = os.listdir(folder)
    except OSError:
        return False
    for name in names:
        if pathlib.Path(name).suffix.lower() in SUFFIXES:
            return False
        if not _is_hidden(name) and os.path.isdir(folder / name):
            inside.append(folder / name)
    return bool(inside) and all(_is_own(one, levels - 1) for one in inside)


def _is_marked(folder: pathlib.Path) -> bool:
    """Tells whether a folder holds a file by which a run or an export is known."""
    for name, keys in OWN_FILES.items():
        try:
            values = read_json(folder / name)
        except (OSError, ValueError):
            continue
        if isinstance(values, dict) and all(key in values for key in keys):
            return True
    return os.path.isfile(folder / OWN_GRAPH)


@dataclass(frozen=True)
class Listing:
    """The image files in a folder and in its folders.

    Attributes:
        files: Their paths, in the order of their names, folder by folder.
        left_out: How many other files and folders there are, by reason.
    """

    files: list[pathlib.Path]
    left_out: collections.Counter[str]


def list_images(folder: str | os.PathLike[str]) -> Listing:
    """Lists the image files in a folder, and in all folders inside of it.

    What counts as an image is as of `contents`. Links are followed; each folder is
    listed once, and one that the folder itself lies in not at all, so that links that
    lead in a circle end.

    Args:
        folder: The folder.

    Returns:
        A `Listing`, empty where there is no image.
    """
    top = local_path(folder)
    left_out: collections.Counter[str] = collections.Counter()
    listed = {identity(path) for path in top.resolve().parents}
    files, waiting = [], [top]
    while waiting:
        path = waiting.pop()
        if (place := identity(path)) in listed:
            left_out["link to a folder that is listed already"] += 1
            continue
        listed.add(place)
        found = contents(path)
        files += found.images
        left_out += found.left_out
        waiting += reversed(found.folders)
    return Listing(sorted(files, key=lambda path: path.parts), left_out)


def identity(path: pathlib.Path) -> Hashable:
    """What is the same for all ways to a folder."""
    try:
        stat = path.stat()
    except OSError:
        return path
    return stat.st_dev, stat.st_ino


def as_text(name: str | os.PathLike[str]) -> str:
    """The name of a file or folder as text that can be written and compared.

    Accents are joined with their letters (Unicode's form NFC; macOS takes them apart),
    and bytes that aren't UTF-8 become escapes such as ``\\xe9``.

    Args:
        name: A name or path as `os` gives it.
    """
    text = os.fsencode(name).decode("utf-8", "backslashreplace")
    return unicodedata.normalize("NFC", text)


def relative_paths(paths: Iterable[str], folder: pathlib.Path) -> list[str]:
    """The paths of files in a folder, with ``/``, as `as_text` writes them."""
    return [
        as_text(pathlib.Path(path).relative_to(folder).as_posix()) for path in paths
    ]


def say_left_out(where: str, left_out: Mapping[str, int]) -> None:
    """Warns of what was left out, if anything was.

    Args:
        where: Where, as the sentence's beginning, e.g. ``"In the folder photos"``.
        left_out: As of `Listing`.
    """
    if left_out:
        warnings.warn(
            f"{where} there are other things than images ({', '.join(SUFFIXES)}). They "
            f"are left out: {by_reason(left_out)}.",
            stacklevel=3,
        )


def by_reason(left_out: Mapping[str, int], most: int = 8) -> str:
    """Counts and reasons as text, the most frequent first.

    Args:
        left_out: As of `Listing`.
        most: Reasons that are named at most.
    """
    ordered = sorted(left_out.items(), key=lambda item: (-item[1], item[0]))
    said = [f"{count} × {reason}" for reason, count in ordered[:most]]
    return ", ".join(said + ["…"] * (len(ordered) > most))


def beside(folder: pathlib.Path, known: set[pathlib.Path]) -> Iterator[str]:
    """The names of what lies in a folder beside known files and folders.

    Hidden ones and folders of tools are passed over.
    """
    for path in sorted(folder.iterdir()):
        if path not in known and not _is_hidden(path.name):
            yield as_text(path.name)
