"""NPZ files of arrays: written whole or not at all, and named where they can't be read."""

from __future__ import annotations

import pathlib
from collections.abc import Mapping

import numpy as np

from keras_resnet.files import replace_file


def write_arrays(
    path: pathlib.Path, arrays: Mapping[str, np.ndarray], *, compressed: bool = False
) -> None:
    """Writes arrays by their names, as a file that appears when it is complete.

    Args:
        path: The file, whose folder is made if there is none.
        arrays: By names.
        compressed: Whether it is to be small rather than soon written.
    """
    save = np.savez_compressed if compressed else np.savez

    def write(new: pathlib.Path) -> None:
        with open(new, "wb") as file:  # NumPy would add a suffix to a name.
            save(file, **arrays)

    replace_file(path, write)


def read_arrays(path: pathlib.Path, what: str, advice: str) -> dict[str, np.ndarray]:
    """Reads what `write_arrays` wrote.

    Args:
        path: The file.
        what: What it must hold, for the error.
        advice: What to do if it is damaged, for the error.

    Raises:
        FileNotFoundError: If there is no file.
        ValueError: If it can't be read.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            return dict(file)
    except FileNotFoundError:
        raise
    except Exception as error:  # NumPy, zipfile and zlib raise many kinds.
        raise ValueError(
            f"{path} must hold {what}, and can't be read ({error!r}). {advice}"
        ) from error
