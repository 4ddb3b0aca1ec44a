"""Finds the files of a data set of TensorFlow Datasets, or downloads them."""

from __future__ import annotations

import contextlib
import functools
import os
import pathlib
import shutil
from collections.abc import Iterator
from typing import Any

from keras_resnet.files import read_json

INFO = "dataset_info.json"  # Each prepared copy has one.
LEVELS = 3  # A copy lies in NAME/VERSION or in NAME/CONFIG/VERSION.


def prepared_builder(tfds_name: str, data_dir: str | os.PathLike[str] | None) -> Any:
    """Finds a data set of TensorFlow Datasets, and downloads it if it isn't here.

    Args:
        tfds_name: Its name there.
        data_dir: Folder in which data sets lie; TFDS's own by default.

    Returns:
        The `tfds.core.DatasetBuilder`, whose files are complete.

    Raises:
        FileNotFoundError: If it isn't here and can't be downloaded, or ``data_dir`` is
            a wrong folder, such as the data set's own. Nothing is left there then but
            files that were downloaded whole.
    """
    builder = _builder(tfds_name, data_dir)
    if builder.is_prepared():
        return builder
    try:
        with _one_try(), _cleared_after_failure(builder):
            builder.download_and_prepare()
    # Each data set fails in its own way: no network, a moved page, a manual download.
    except Exception as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise FileNotFoundError(
            f"The data set {tfds_name!r} must be prepared in TensorFlow Datasets' "
            f"format at {builder.data_path}; it isn't, and downloading it failed "
            f"({type(error).__name__}: {reason}). Run the same where there is a network, "
            "or give the folder of a prepared copy as data_dir (--data-dir). "
            f"Received: data_dir={data_dir!r}."
        ) from error
    return builder


def is_prepared(tfds_name: str, data_dir: str | os.PathLike[str] | None) -> bool:
    """Tells whether `prepared_builder` would find a data set without a download.

    Raises:
        FileNotFoundError: If ``data_dir`` is a wrong folder, as of `prepared_builder`.
    """
    return _builder(tfds_name, data_dir).is_prepared()


def not_here(name: str, data_dir: str | os.PathLike[str] | None) -> str:
    """Says that a plan downloads nothing, and what to do.

    Args:
        name: Of the data set.
        data_dir: Where it was looked for.
    """
    place = data_dir or "TensorFlow Datasets' folder"
    return (
        f"A plan needs the data, since it measures updates on it, and downloads "
        f"nothing: {name} is not in {place}. Name the folder of a prepared copy as "
        "`data_dir` (--data-dir), or train for an update (--steps 1), which downloads "
        "it."
    )


def _builder(tfds_name, data_dir):
    """TFDS's builder of a data set, whose folder is a right one."""
    import tensorflow_datasets as tfds

    builder = tfds.builder(tfds_name, data_dir=data_dir)
    if not builder.is_prepared():
        _check_place(builder)
    return builder


def _check_place(builder: Any) -> None:
    """Checks that a data set that isn't prepared may be downloaded to its folder.

    Args:
        builder: Its `tfds.core.DatasetBuilder`.

    Raises:
        FileNotFoundError: If a copy of it lies a few folders higher, or one lower, or the
            folder is part of the copy of another data set.
    """
    root = _root(builder)
    if root is None:
        return
    inside = pathlib.Path(os.path.relpath(builder.data_path, builder.data_dir_root))
    lower = (
        info.parents[len(inside.parts)] for info in root.glob(f"*/{inside}/{INFO}")
    )
    for place in (*root.parents[:LEVELS], *lower):
        if (place / inside / INFO).is_file():
            raise FileNotFoundError(
                f"`data_dir` (--data-dir) must be the folder in which {inside} lies. "
                f"Received: {root}. It lies in {place}: give --data-dir {place}."
            )
    if (place := _root_around(root)) is not None:
        raise FileNotFoundError(
            "`data_dir` (--data-dir) must be the folder of all data sets, in which "
            f"{inside} would lie. Received: {root}, which is part of a data set in "
            f"{place}: give --data-dir {place}, or another folder."
        )


def _root(builder: Any) -> pathlib.Path | None:
    """The folder of all data sets, by its full path; `None` if it is remote."""
    root = os.fspath(builder.data_dir_root)
    return None if "://" in root else pathlib.Path(root).resolve()


def _root_around(folder: pathlib.Path) -> pathlib.Path | None:
    """The folder of data sets that a folder lies in, where it is part of one of them."""
    for pattern in (INFO, f"*/{INFO}", f"*/*/{INFO}"):
        for info in folder.glob(pattern):
            try:
                name = read_json(info)["name"]
            except (OSError, ValueError, KeyError, TypeError):
                continue
            roots = [one.parent for one in info.parents[:LEVELS] if one.name == name]
            if roots and roots[0] in folder.parents:
                return roots[0]
    return None


@contextlib.contextmanager
def _cleared_after_failure(builder: Any) -> Iterator[None]:
    """Removes what a download that fails leaves, but for files that came whole.

    TFDS leaves folders for what it was downloading, and empty ones. What was there before,
    or is another process's, stays.
    """
    from tensorflow_datasets.core.download import downloader

    root = _root(builder)
    if root is None:
        yield
        return
    common, downloads = root / builder.name, root / "downloads"
    made = [
        *(root, downloads, downloads / "extracted", downloads / builder.name),
        *(common, common / ".config", common / ".config" / "metadata.json"),
        pathlib.Path(builder.data_path).parent,
    ]
    made = [path for path in made if not path.exists()]
    download, begun = downloader._Downloader.download, []

    def noted(self, url, folder, *args, **options):
        begun.append(folder)
        return download(self, url, folder, *args, **options)

    downloader._Downloader.download = noted
    try:
        yield
    except BaseException:
        for folder in begun:
            shutil.rmtree(folder, ignore_errors=True)
        for path in sorted(made, key=lambda path: len(path.parts), reverse=True):
            with contextlib.suppress(OSError):  # Not made, or not empty.
                path.rmdir() if path.is_dir() else path.unlink()
        raise
    finally:
        downloader._Downloader.download = download


@contextlib.contextmanager
def _one_try() -> Iterator[None]:
    """Has TFDS try a download once, and wait 30 s for an answer.

    By itself it tries ten times, which takes over three minutes without a network, and
    waits for each answer without limit.
    """
    from tensorflow_datasets.core.download import downloader

    retries, open_url = downloader.MAX_RETRIES, downloader._open_url
    downloader.MAX_RETRIES = 0
    downloader._open_url = functools.partial(open_url, timeout=30)
    try:
        yield
    finally:
        downloader.MAX_RETRIES, downloader._open_url = retries, open_url
