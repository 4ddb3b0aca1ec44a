"""What ``keras-resnet predict`` needs for detectors, and where pictures may be drawn."""

from __future__ import annotations

import os

from keras_resnet.detection.inference import detect_files
from keras_resnet.detection.prediction import (
    check_suffix,
    draw_detections,
    write_detections,
)
from keras_resnet.files import local_path
from keras_resnet.targets import check_place

__all__ = [
    "check_folder",
    "check_suffix",
    "detect_files",
    "draw_detections",
    "write_detections",
]


def check_folder(path: str | os.PathLike[str], overwrite: bool = False) -> None:
    """Checks that pictures can be written into a folder.

    Raises:
        FileExistsError: If it is a file, or holds files that may not be replaced.
        PermissionError: If nothing can be written there.
    """
    folder = local_path(path)
    check_place(folder, "`pictures` (--pictures)")
    if folder.exists() and not folder.is_dir():
        raise FileExistsError(
            f"`pictures` (--pictures) must be a folder. Received: {folder}, a file. "
            "Choose another name."
        )
    if folder.is_dir() and any(folder.iterdir()) and not overwrite:
        raise FileExistsError(
            "`pictures` (--pictures) must be a new or an empty folder. Received: "
            f"{folder}, which holds files. Choose another name, or pass --overwrite, which "
            "replaces pictures of the same names."
        )
