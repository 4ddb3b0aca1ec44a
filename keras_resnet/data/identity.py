"""What a folder of images holds, by which it is known wherever it lies.

Images are compared by their paths in the folder, their sizes and pieces of their contents:
reading a million files whole, at each start, would take longer than many trainings.
"""

from __future__ import annotations

import csv
import hashlib
import os
import pathlib
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from keras_resnet.config.words import counted
from keras_resnet.data.examples import Examples, Splits
from keras_resnet.data.listing import MANY, as_text, relative_paths
from keras_resnet.files import replace_file

PIECES, PIECE = 16, 4096  # Of a file; one of up to 64 KiB is read whole.
SPREAD = 1_000  # Images, about, of which pieces are read in a folder of over `MANY`.


class File(NamedTuple):
    """An image file of a data set.

    Attributes:
        split: ``"train"``, ``"validation"`` or ``"test"``.
        path: In the data set's folder, with ``/``.
        size: In bytes.
        pieces: Hash of pieces of its content, as of `pieces_of`; empty if none was
            taken.
    """

    split: str
    path: str
    size: int
    pieces: str


def sets_of(splits: Splits) -> dict[str, Examples | None]:
    """The examples of a folder's splits by their names, in the order that counts."""
    return {name: getattr(splits, name) for name in ("train", "validation", "test")}


def files_of(splits: Splits) -> Iterator[File]:
    """The image files of a folder's splits, with what they hold."""
    named = {name: ones for name, ones in sets_of(splits).items() if ones is not None}
    count = sum(examples.size for examples in named.values())
    step = 1 if count <= MANY else count // SPREAD
    for split, examples in named.items():
        paths = relative_paths(examples.images, splits.root)
        for index, (file, path) in enumerate(zip(examples.images, paths, strict=True)):
            pieces = pieces_of(file) if index % step == 0 else ""
            yield File(split, path, os.path.getsize(file), pieces)


def pieces_of(path: str) -> str:
    """A hash of pieces of a file that are spread evenly over it.

    Returns:
        16 hexadecimal digits.
    """
    size = os.path.getsize(path)
    digest = hashlib.sha256()
    with open(path, "rb", buffering=0) as file:
        for start in np.linspace(0, max(0, size - PIECE), PIECES).astype(int):
            file.seek(int(start))
            digest.update(file.read(PIECE))
    return digest.hexdigest()[:16]


def fingerprint_of_files(splits: Splits) -> str:
    """Computes the fingerprint of a folder's splits.

    It covers, in their order, the side, path and size of each image, and pieces of the
    content of all (of about a thousand in folders of over 10,000).

    Returns:
        64 hexadecimal digits.
    """
    digest = hashlib.sha256()
    for file in files_of(splits):
        line = "\t".join(map(str, file)).encode()
        digest.update(len(line).to_bytes(8, "little") + line)
    return digest.hexdigest()


def write_files(path: pathlib.Path, files: Iterable[File]) -> None:
    """Writes a table of files as CSV."""

    def write(new):
        with open(new, "w", newline="", encoding="utf-8") as table:
            rows = csv.writer(table)
            rows.writerow(File._fields)
            rows.writerows(files)

    replace_file(path, write)


def read_files(path: pathlib.Path) -> list[File]:
    """Reads a table that `write_files` wrote.

    Returns:
        Its files; none if there is no such table, or it is damaged.
    """
    try:
        with open(path, newline="", encoding="utf-8") as table:
            rows = csv.DictReader(table)
            return [File(**row)._replace(size=int(row["size"])) for row in rows]
    except (OSError, ValueError, TypeError, KeyError, csv.Error):
        return []


def changes_in_words(there: Sequence[File], here: Iterable[File]) -> str:
    """Says how a folder's images differ from those of a table.

    Args:
        there: The files of the table, as a run was trained on them.
        here: The folder's files.

    Returns:
        Text such as ``"1 image is new ('cat/13.jpg'); 2 images are gone ('dog/1.jpg',
        'dog/2.jpg')"``; empty if there is no difference. Sides are compared where the
        images are the same, since others may move some.
    """
    old, new = ({file.path: file for file in files} for files in (there, here))
    common = sorted(old.keys() & new.keys())
    other = [path for path in common if not _same(old[path], new[path])]
    moved = [path for path in common if old[path].split != new[path].split]
    said = [
        _said(sorted(new.keys() - old.keys()), "is new", "are new"),
        _said(sorted(old.keys() - new.keys()), "is gone", "are gone"),
        _said(other, "holds something else", "hold something else"),
    ]
    if not any(said):
        said = [_said(moved, "is in another split", "are in another split")]
    return "; ".join(filter(None, said))


def _said(paths, one, many):
    if not paths:
        return None
    shown = ", ".join(map(repr, paths[:3])) + ", …" * (len(paths) > 3)
    number = counted(len(paths), f"image {one}", f"images {many}")
    return f"{number} ({shown})"


def _same(one: File, other: File) -> bool:
    """Whether two files hold the same, as far as it is known."""
    pieces = not (one.pieces and other.pieces) or one.pieces == other.pieces
    return one.size == other.size and pieces


def count_shared(trained_on: Iterable[File], examples: Examples) -> int:
    """Counts the images that are among those of a table, whatever their paths.

    Args:
        trained_on: The files of the table. Where no pieces of one were read, its name
            and size decide.
        examples: The images, as paths.
    """
    known, by_name, sizes = set(), set(), set()
    for file in trained_on:
        sizes.add(file.size)
        if file.pieces:
            known.add((file.size, file.pieces))
        else:
            by_name.add((file.size, file.path.rpartition("/")[2]))
    count = 0
    for path in examples.images:
        size = os.path.getsize(path)
        if size in sizes:
            named = (size, as_text(os.path.basename(path))) in by_name
            count += named or (size, pieces_of(path)) in known
    return count
