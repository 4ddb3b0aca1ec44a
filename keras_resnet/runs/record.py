"""The record of a run: what was trained, how, on what, and what came out.

A result without its circumstances can't be compared with anything: no record is
written without seed, versions, hardware and time.
"""

from __future__ import annotations

import json
import math
import os
import pathlib
import reprlib
from collections.abc import Mapping
from typing import Any

from keras_resnet.config.words import counted, duration, percent
from keras_resnet.files import local_path, read_json, replace_file

SCHEMA: int = 1
NUMBER = (int, float)
NONE = type(None)

# Every key of a record, in the order in which it is written, and its types.
_TYPES = {
    "schema": int,
    "recipe": str,
    "overrides": dict,
    "seed": int,
    "network": str,
    "parameters": int,
    "dataset": dict,
    "classes": list,
    "preprocessing": dict,
    "backend": str,
    "devices": list,
    "precision": str,
    "xla": bool,
    "onednn": (bool, NONE),  # `None` on backends other than TensorFlow.
    "versions": dict,
    "hardware": dict,
    "commit": (str, NONE),
    "dirty": (bool, NONE),
    "steps": int,
    "wall_seconds": NUMBER,
    "phase_seconds": dict,  # Of the process that finished the run.
    "images_per_second": NUMBER,
    "train": (dict, NONE),
    "validation": (dict, NONE),
    "test": (dict, NONE),
    "target": (*NUMBER, NONE),
    "deviations": list,
    "recipe_values": dict,  # Every field of the `Recipe` and of the `ResNetSpec`, so
    "network_values": dict,  # that runs of a user's own go on and load as others do.
}
KEYS = tuple(_TYPES)
_NESTED = {
    "dataset": {
        "name": str,
        "version": str,
        "sha256": str,
        "splits": dict,
        "skipped": list,
        # `None` of a data set by name, and in earlier records.
        "split_by": (str, NONE),
        "category_ids": list,  # Of a detector's classes; a classifier's record has none.
    },
    "hardware": {
        "cpu": str,
        "cores": int,
        "memory_gib": (*NUMBER, NONE),
        "accelerators": list,
    },
}
_METRICS = {  # Errors in percent.
    "top1_error": NUMBER,
    "top5_error": (*NUMBER, NONE),
    "loss": NUMBER,
    "n": int,
}
# Of a detector: average precision in percent, by VOC's rule of the area at an IoU of 0.5;
# `None` of training, whose images are changed at random.
_METRICS_OF_DETECTOR = {
    "average_precision": (*NUMBER, NONE),
    "by_class": list,
    "loss": NUMBER,
    "losses": dict,
    "n": int,
}

_SHOWN = (  # What a run leaves for people to look at.
    "curves.png",
    "history.csv",
    "model.keras",
    "predictions.png",
    "record.json",
    "saved_model",
    "snapshots",
)


class Record(dict[str, Any]):
    """The contents of a ``record.json`` or ``source.json``, which shows itself in a line.

    It is a dict with the keys of the file.
    """

    def __repr__(self) -> str:
        parts = [f"{self.get('network')}"]
        if "source" in self:
            parts.append(f"from {self['source']}")
        else:
            split = "validation" if self.get("test") is None else "test"
            what = "average_precision" if is_detectors(self) else "top1_error"
            value = (self.get(split) or {}).get(what)
            said = what.replace("_", " ").replace("top1", "top-1")
            parts[0] += f" on {self.get('dataset', {}).get('name')}"
            parts.append(f"seed {self.get('seed')}")
            parts.append(f"{split} {said} {math.nan if value is None else value:.2f} %")
        return f"Record({', '.join(parts)})"


def is_detectors(record: Mapping[str, Any]) -> bool:
    """Whether a record is that of a detector."""
    values = record.get("network_values")
    return isinstance(values, Mapping) and "neck" in values


def write_record(record: Mapping[str, Any], path: str | os.PathLike[str]) -> None:
    """Writes a record as JSON, with one line for each key.

    Args:
        record: Dict with the keys `KEYS`.
        path: File to write.

    Raises:
        ValueError: If a key is missing, unknown or of the wrong type, or if a number
            is NaN or infinite. Nothing is written then.
    """
    path = local_path(path)
    _check(record, "The record")
    lines = [_line(key, record[key]) for key in KEYS]
    text = "{\n" + ",\n".join(lines) + "\n}\n"
    # What is no UTF-8 in a path becomes JSON's own escapes.
    replace_file(
        path,
        lambda part: part.write_text(text, encoding="utf-8", errors="backslashreplace"),
    )


def read_record(path: str | os.PathLike[str]) -> Record:
    """Reads a record and checks it.

    Args:
        path: A ``record.json``.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is not a complete record of this schema.
    """
    path = local_path(path)
    try:
        record = read_json(path)
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"There must be a record at {path}, which a run writes when it has "
            "finished. Let the run finish, or name the folder of a finished one."
        ) from error
    except ValueError as error:  # Not UTF-8, or not JSON.
        raise ValueError(
            f"The record at {path} must be complete JSON; it is damaged or cut short "
            f"({error}). Put a copy of it back, or remove it and run the same command "
            "again, which writes it anew."
        ) from error
    if isinstance(record, dict):
        record.setdefault("onednn", None)  # Earlier records lack these.
        for key in ("phase_seconds", "recipe_values", "network_values"):
            record.setdefault(key, {})
    _check(record, f"The record at {path}")
    return Record(record)


def summary(record: Mapping[str, Any], folder: pathlib.Path) -> str:
    """Lists a run's results and files for a terminal.

    Args:
        record: As `read_record` returns it.
        folder: The run's folder.
    """
    shown = {"top1_error": " top-1 error", "top5_error": " top-5 error"}
    if is_detectors(record):
        shown = {"average_precision": "average precision"}
    lines = [" ".join([f"{'split':12}", *shown.values(), f"{'loss':>8} {'n':>8}"])]
    for split in ("train", "validation", "test"):
        metrics = record[split]
        if metrics is None:
            continue
        values = [f"{percent(metrics[k]):>{len(said)}}" for k, said in shown.items()]
        lines.append(
            " ".join([f"{split:12}", *values, f"{metrics['loss']:8.4f}"])
            + f" {metrics['n']:8,}"
        )
    lines += [
        "",
        f"{record['network']} on {record['dataset']['name']}, "
        f"{counted(record['steps'], 'update')}, {duration(record['wall_seconds'])}, "
        f"{record['images_per_second']:,.0f} images/s",
        *(f"{path}" for path in sorted(folder.iterdir()) if path.name in _SHOWN),
    ]
    return "\n".join(lines)


def _line(key, value):
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    except ValueError as error:
        raise ValueError(
            f"A record must hold finite numbers. Received: {key}={value!r}."
        ) from error
    except TypeError as error:
        raise ValueError(
            f"A record must hold what JSON can. Received: {key}={value!r}."
        ) from error
    return f"  {json.dumps(key)}: {text}"


def _check(record, what):
    if not isinstance(record, dict):
        raise ValueError(
            f"{what} must be a JSON object, as a run wrote it. Received: "
            f"{reprlib.repr(record)}. Put a copy of it back."
        )
    if record.get("schema") != SCHEMA:
        received = record.get("schema")
        raise ValueError(
            f"{what} must be of schema {SCHEMA}. Received: schema={received!r}. "
            "Read it with the version of this package that wrote it."
        )
    _check_values(record, _TYPES, what)
    # Earlier records don't say what was left out, nor how the images were split.
    defaults = {"skipped": [], "split_by": None, "category_ids": []}
    parts = {"dataset": defaults | record["dataset"]}
    parts["hardware"] = record["hardware"]
    for key, types in _NESTED.items():
        _check_values(parts[key], types, f"{what}, `{key}`,")
    metrics = _METRICS_OF_DETECTOR if is_detectors(record) else _METRICS
    for key in ("train", "validation", "test"):
        if record[key] is not None:
            _check_values(record[key], metrics, f"{what}, `{key}`,")


def _check_values(values, types, what):
    """Raises `ValueError` unless a dict has these keys, with values of these types."""
    _check_keys(values, types, what)
    for key, kinds in types.items():
        value = values[key]
        # A bool is an int in Python, but not where a count is meant.
        may_be_bool = bool in (kinds if isinstance(kinds, tuple) else (kinds,))
        if not isinstance(value, kinds) or (
            isinstance(value, bool) and not may_be_bool
        ):
            raise ValueError(
                f"{what} must have a {_names(kinds)} as `{key}`. "
                f"Received: {key}={value!r}."
            )


def _check_keys(values, keys, what):
    missing = [key for key in keys if key not in values]
    unknown = [key for key in values if key not in keys]
    if missing or unknown:
        raise ValueError(
            f"{what} must have the keys {', '.join(keys)}. "
            f"Received: missing={missing}, unknown={unknown}."
        )


def _names(types):
    types = types if isinstance(types, tuple) else (types,)
    return " or ".join("null" if kind is NONE else kind.__name__ for kind in types)
