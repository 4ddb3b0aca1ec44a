"""Finds the files of a data set of TensorFlow Datasets, or downloads them."""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Iterator
from typing import Any


def prepared_builder(tfds_name: str, data_dir: str | os.PathLike[str] | None) -> Any:
    """Finds a data set of TensorFlow Datasets, and downloads it if it isn't here.

    Args:
        tfds_name: Its name there.
        data_dir: Folder in which data sets lie; TFDS's own by default.

    Returns:
        The `tfds.core.DatasetBuilder`, whose files are complete.

    Raises:
        FileNotFoundError: If it isn't here and can't be downloaded.
    """
    import tensorflow_datasets as tfds

    builder = tfds.builder(tfds_name, data_dir=data_dir)
    if builder.is_prepared():
        return builder
    try:
        with _one_try():
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
