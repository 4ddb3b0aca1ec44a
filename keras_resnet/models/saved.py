"""Writes networks as ``.keras`` files that earlier versions of Keras load, too."""

import json
import os
import pathlib
import shutil
import zipfile
from typing import Any

import keras

# What Keras 3.15 writes of layers and initializers and 3.10 to 3.14 refuse, with the
# values that have no effect.
NEWER: dict[str, Any] = {
    "input_axes": None,
    "output_axes": None,
    "quantization_config": None,
    "renorm": False,
    "renorm_clipping": None,
    "renorm_momentum": 0.99,
}


def save(model: keras.Model, path: str | os.PathLike[str]) -> None:
    """Writes a network as a ``.keras`` file that Keras 3.10 and newer load.

    It is what `keras.Model.save` writes, without the entries of `NEWER`: these say that
    something which earlier versions don't know isn't used.

    Args:
        model: The network.
        path: The file, which ends in ``.keras``. One that is there is replaced.

    Raises:
        OSError: If it can't be written.
    """
    path = pathlib.Path(path)
    whole = path.with_name(f"whole_{path.name}")
    try:
        model.save(whole)
        with zipfile.ZipFile(whole) as source, zipfile.ZipFile(path, "w") as target:
            for member in source.infolist():
                with source.open(member) as file:
                    _copy(file, target, member)
    finally:
        whole.unlink(missing_ok=True)


def _copy(file, archive, member):
    """Writes a member of a ``.keras`` file into another one."""
    new = zipfile.ZipInfo(member.filename, member.date_time)
    new.compress_type = member.compress_type
    if member.filename == "config.json":
        archive.writestr(new, json.dumps(without_newer(json.load(file))))
        return
    with archive.open(new, "w", force_zip64=True) as copy:
        shutil.copyfileobj(file, copy, 2**20)


def without_newer(config: Any) -> Any:
    """Returns a configuration without what earlier versions of Keras don't know.

    Args:
        config: The content of ``config.json``, or a part of it.
    """
    if isinstance(config, list):
        return [without_newer(one) for one in config]
    if not isinstance(config, dict):
        return config
    config = {key: without_newer(one) for key, one in config.items()}
    if "class_name" in config and isinstance(config.get("config"), dict):
        config["config"] = {
            key: value
            for key, value in config["config"].items()
            if key not in NEWER or value != NEWER[key]
        }
    return config
