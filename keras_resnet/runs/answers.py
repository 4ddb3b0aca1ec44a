"""Writes what was predicted of images as a table: CSV, JSON or Parquet."""

from __future__ import annotations

import csv
import itertools
import json
import os
import pathlib
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeAlias

from keras_resnet.files import local_path, replace_file
from keras_resnet.targets import check_place
from keras_resnet.weights.packages import imported

# Of an image, class names and probabilities; or why it can't be read.
Answer: TypeAlias = tuple[pathlib.Path | bytes, list[tuple[str, float]] | ValueError]
TABLES = (".csv", ".json", ".parquet")
GROUP = 10_000  # Rows of a Parquet file that are written at a time.


def check_table(path: str | os.PathLike[str], overwrite: bool = False) -> None:
    """Checks that `write_table` can write a file.

    Raises:
        FileExistsError: If it exists and may not be replaced, or is a folder.
        FileNotFoundError: If there is no folder for it.
        ImportError: If it is to be Parquet and pyarrow isn't installed.
        PermissionError: If nothing can be written there.
        ValueError: If it has another suffix than `TABLES`.
    """
    path = local_path(path)
    if path.suffix not in TABLES:
        raise ValueError(
            f"`output` (--output) must end in {', '.join(TABLES[:-1])} or {TABLES[-1]}. "
            f"Received: {path}."
        )
    if path.suffix == ".parquet":
        _pyarrow()
    if not path.parent.is_dir():
        raise FileNotFoundError(
            f"There must be a folder to write {path.name} into: {path.parent}."
        )
    check_place(path, "`output` (--output)")
    if path.is_dir():
        raise FileExistsError(
            f"`output` (--output) must be a file. Received: {path}, a folder. Choose "
            "another name."
        )
    if path.exists() and not overwrite:
        raise FileExistsError(
            f"`output` (--output) must not exist yet. Received: {path}. Choose another "
            "name, or pass --overwrite."
        )


def write_table(
    path: str | os.PathLike[str], answers: Iterable[Answer], *, top: int = 3
) -> None:
    """Writes answers of `predict.predict`, a row for each image, as they come.

    CSV and Parquet have the columns ``image``, ``class_1``, ``probability_1`` and so on to
    ``top``, and ``error``; JSON has a list of objects.

    Args:
        path: Of the file, which ends in .csv, .json or .parquet. It appears when complete.
        answers: What `predict.predict` yields. Images that can't be read have their error
            in place of classes. None of them is held longer than until it is written.
        top: How many classes the longest answer has.

    Raises:
        ImportError: If it is to be Parquet and pyarrow isn't installed.
        OSError: If it can't be written, such as to a disk that is full by now.
    """
    path = local_path(path)
    writers: dict[str, Callable[..., None]] = {
        ".json": _write_json,
        ".parquet": _write_parquet,
    }
    write = writers.get(path.suffix, _write_csv)
    replace_file(path, lambda file: write(file, answers, top))


def _columns(top: int) -> list[str]:
    """The columns' names."""
    places = range(1, top + 1)
    pairs = ((f"class_{place}", f"probability_{place}") for place in places)
    return ["image", *itertools.chain.from_iterable(pairs), "error"]


def _cells(image: str, answer: Any, top: int) -> list[Any]:
    """The cells of an image's row, `None` where there is nothing to say."""
    good = isinstance(answer, list)
    pairs = answer if good else []
    cells = [cell for pair in pairs for cell in pair]
    cells += [None] * (2 * top - len(cells))
    return [image, *cells, None if good else str(answer)]


def _write_csv(file: pathlib.Path, answers: Iterable[Answer], top: int) -> None:
    # Old disks have names that are no UTF-8: they are written as they are.
    with open(
        file, "w", newline="", encoding="utf-8", errors="surrogateescape"
    ) as opened:
        writer = csv.writer(opened)
        writer.writerow(_columns(top))
        for image, answer in answers:
            writer.writerow(_cells(str(image), answer, top))


def _write_json(file: pathlib.Path, answers: Iterable[Answer], top: int) -> None:
    # What is no UTF-8 in a name becomes JSON's own escapes.
    with open(file, "w", encoding="utf-8", errors="backslashreplace") as opened:
        before = "[\n"
        for image, answer in answers:
            row: dict[str, Any] = {"image": str(image)}
            if isinstance(answer, list):
                row["predictions"] = [
                    {"class": name, "probability": share} for name, share in answer
                ]
            else:
                row["error"] = str(answer)
            text = json.dumps(row, indent=2, ensure_ascii=False)
            opened.write(before + "  " + text.replace("\n", "\n  "))
            before = ",\n"
        opened.write("[]\n" if before == "[\n" else "\n]\n")


def as_table(
    answers: Iterable[Answer], *, images: Sequence[str] | None = None, top: int = 3
) -> Any:
    """Makes a table of answers, as Ray Data and Spark take them from their workers.

    Args:
        answers: What `predict.predict` yields.
        images: What the images are called, where they were given as bytes.
        top: How many classes the longest answer has.

    Returns:
        `pyarrow.Table` with a row for each image and the columns of `write_table`, always
        of the same types: ``image``, ``class_1`` and so on and ``error`` are text,
        ``probability_1`` and so on float64. What there is none of is null.

    Raises:
        ImportError: If pyarrow isn't installed.
    """
    if images is not None:
        found = (answer for _, answer in answers)
        return _table(zip(images, found, strict=True), top)
    return _table(answers, top)


def _table(answers: Iterable[tuple[Any, Any]], top: int) -> Any:
    pa, _ = _pyarrow()
    schema = _schema(top)
    rows = [_cells(_as_utf8(image), answer, top) for image, answer in answers]
    columns = zip(*rows, strict=True) if rows else [()] * len(schema)
    arrays = [
        pa.array(column, kind)
        for column, kind in zip(columns, schema.types, strict=True)
    ]
    return pa.table(arrays, schema=schema)


def _schema(top: int) -> Any:
    pa, _ = _pyarrow()
    return pa.schema(
        [
            (name, pa.float64() if name.startswith("probability_") else pa.string())
            for name in _columns(top)
        ]
    )


def _write_parquet(file: pathlib.Path, answers: Iterable[Answer], top: int) -> None:
    _, parquet = _pyarrow()
    rest = iter(answers)
    with parquet.ParquetWriter(file, _schema(top)) as writer:
        while group := list(itertools.islice(rest, GROUP)):
            writer.write_table(_table(group, top))


def _as_utf8(image: object) -> str:
    """A path as Parquet has text: what is no UTF-8 in it becomes an escape, ``\\xe9``."""
    return os.fsencode(str(image)).decode(errors="backslashreplace")


def _pyarrow() -> tuple[Any, Any]:
    """Pyarrow and its module for Parquet, which an extra brings."""
    what = "A table that ends in .parquet"
    return imported("pyarrow", what), imported("pyarrow.parquet", what)
