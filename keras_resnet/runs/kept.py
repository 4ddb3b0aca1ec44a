"""What a run that has begun keeps: its split, its settings, its earlier name."""

import os
import pathlib
from typing import Any

from keras_resnet.config.datasets import DATASETS
from keras_resnet.config.preprocessing import EARLIER
from keras_resnet.data.folders import LIKE_A_DATA_SET
from keras_resnet.data.splitting import PATH, POSITION
from keras_resnet.runs.differ import COMPUTING, PREPARING
from keras_resnet.runs.folder import has_begun, is_whole, read_settings
from keras_resnet.runs.places import folder_of, where
from keras_resnet.runs.request import TrainRequest


def split_of(folder: pathlib.Path) -> str:
    """How the validation images of the run in a folder, or of a new one, are chosen.

    Returns:
        As of `Splits.split_by`, for a folder of images without validation images.
    """
    if not has_begun(folder):
        return PATH
    return read_settings(folder).get("split_by", POSITION)


def begun(folder: pathlib.Path, backend: str) -> dict[str, Any]:
    """What the run in a folder keeps to its end, where there is one.

    Empty for a run that another backend began, which `claim_folder` refuses.

    Returns:
        ``validate_every`` and, of an unfinished run, its `COMPUTING` settings, and
        `EARLIER` if an earlier version began it.
    """
    if not has_begun(folder):
        return {}
    found = read_settings(folder)
    if found.get("backend", backend) != backend:
        return {}
    kept = {"validate_every": found["recipe"]["validate_every"]}
    if not is_whole(folder):
        kept |= {name: EARLIER[name] for name in PREPARING if name not in found}
        kept |= {name: found[name] for name in COMPUTING if name in found}
    return kept


def as_once_called(request: TrainRequest, name: str) -> pathlib.Path:
    """The folder of a run, by an earlier name if the run was begun under that.

    Runs on a folder that is called like a data set once had that data set's name.

    Args:
        request: What is asked for.
        name: The run's name now.
    """
    folder = folder_of(request, name)
    if request.name is not None or not request.has_own_images:
        return folder
    data = where(request.data)
    earlier = folder_of(request, name.removesuffix(LIKE_A_DATA_SET))
    settings = earlier / "settings.json"
    once = os.path.basename(data) in DATASETS
    if not once or folder.exists() or not settings.exists():
        return folder
    found = read_settings(earlier)["overrides"].get("data")
    return earlier if found == data else folder
