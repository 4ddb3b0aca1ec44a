"""Where what a request names lies: its data, its weights, and the run's folder.

The module imports no framework, as `runs.request` doesn't.
"""

from __future__ import annotations

import os
import pathlib
from typing import TYPE_CHECKING

from keras_resnet.config.box_datasets import BOX_DATASETS
from keras_resnet.config.datasets import DATA_SET, DATASETS
from keras_resnet.config.lookup import find
from keras_resnet.files import local_path

if TYPE_CHECKING:
    from keras_resnet.runs.request import TrainRequest

# Of images alone and of images with boxes, by their names.
DATA_SETS = {**DATASETS, **BOX_DATASETS}
LONGEST = 255  # Bytes of a file's or a folder's name.


def where(
    data: str | os.PathLike[str] | None, what: str = "`data` (--data)"
) -> str | None:
    """The name of a data set, or a folder's full path.

    Args:
        data: A data set's name, ``tfds:`` and a data set's name, or a folder. A `Path` is
            a folder, whatever its name.
        what: What is asked for, for errors.

    Raises:
        ValueError: If a name is that of a data set and of a folder here.
    """
    if data is None:
        return None
    if isinstance(data, str) and data.startswith(DATA_SET):
        name = data.removeprefix(DATA_SET)
        find(DATA_SETS, name, kind="data set")  # Raises an error if there is none.
        return name
    if isinstance(data, str) and data in DATA_SETS:
        if os.path.isdir(data):
            raise ValueError(
                f"{what} must name one thing. Received: {data!r}, which is a data set, and "
                f"also the folder {os.path.abspath(data)}. Give {DATA_SET}{data} for the "
                f"data set, or ./{data} for the folder."
            )
        return data
    return str(local_path(data, what).resolve())


def network_at(path: str | os.PathLike[str]) -> pathlib.Path | None:
    """The file of weights at a path or, if it is a run's folder, in there."""
    path = pathlib.Path(path).expanduser()
    files = [one for one in (path, path / "model.keras") if one.is_file()]
    return files[0] if files else None


def folder_of(request: TrainRequest, name: str) -> pathlib.Path:
    """The folder of the run of this name.

    Raises:
        ValueError: If no file system has folders of such a long name.
    """
    called = f"{name}_seed{request.seed}"
    length = len(os.fsencode(called))
    if length > LONGEST:
        raise ValueError(
            "A run's folder is called after its recipe or network, its data and its seed, "
            f"and must have a name of at most {LONGEST} bytes. Received: {called!r}, "
            f"{length} bytes. Give a shorter `name` (--name)."
        )
    return local_path(request.output_dir) / called
