"""Reads and writes recipes as TOML, and changes single fields by name."""

import math
import os
import pathlib
import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass, replace
from typing import Any

from keras_resnet.config.adapted import AnyRecipe
from keras_resnet.config.box_datasets import BOX_DATASETS
from keras_resnet.config.datasets import DATASETS
from keras_resnet.config.detection_recipe import DetectionRecipe, EitherRecipe
from keras_resnet.config.recipe import Recipe
from keras_resnet.config.values import from_values, to_named_values, to_values


def read_recipe(path: str | os.PathLike[str]) -> EitherRecipe:
    """Reads a recipe from a TOML file; its name is the file's, without the suffix.

    Args:
        path: Of the file, in the form that ``keras-resnet show RECIPE --toml`` prints.

    Returns:
        A `DetectionRecipe` if it names a ``detector``, else a `Recipe`.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it isn't TOML, or a field is unknown, missing or impossible.
    """
    path = pathlib.Path(os.path.expanduser(path))
    if path.suffix != ".toml":
        raise ValueError(f"A recipe's file must be a .toml file. Received: {path}.")
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except (FileNotFoundError, IsADirectoryError) as error:
        raise FileNotFoundError(
            f"There must be a recipe at {path}; there is no file. `keras-resnet show "
            "RECIPE --toml` prints one to begin from."
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(
            f"{path} must be TOML in UTF-8. Reading it failed: {error}"
        ) from error
    if "name" in values:
        raise ValueError(
            f"{path} must have no `name`: a recipe is called as its file is, {path.stem}. "
            f"Received: name={values['name']!r}."
        )
    try:
        kind = DetectionRecipe if "detector" in values else Recipe
        return replace(from_values(kind, values), name=path.stem)
    except ValueError as error:
        raise ValueError(f"{path} must hold a recipe. {error}") from error


def for_toml(row: Any) -> dict[str, Any]:
    """A recipe, or a part of one, as values that TOML can hold.

    TOML has no null: a field that is `None` is left out, or ``"none"`` where that would
    be the default of something else.
    """
    values = to_values(row)
    values.pop("name", None)
    return _without_none(values, row)


def _without_none(values: dict[str, Any], row: Any) -> dict[str, Any]:
    kept: dict[str, Any] = {}
    for key, value in values.items():
        inside = getattr(row, key, None)
        if value is None:
            default = next(f.default for f in fields(row) if f.name == key)
            if default is not None and default is not MISSING:
                kept[key] = "none"
        elif is_dataclass(inside):
            kept[key] = _without_none(value, inside)
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            kept[key] = [
                _without_none(one, part)
                for one, part in zip(value, inside, strict=True)
            ]
        else:
            kept[key] = value
    return kept


def changed(recipe: AnyRecipe, changes: Mapping[str, Any]) -> AnyRecipe:
    """A recipe with some of its fields changed.

    Args:
        recipe: A `Recipe`, or a `DetectionRecipe`.
        changes: From names of fields, such as ``"batch_size"`` or
            ``"schedule.learning_rate"``, to values as `to_values` writes them.

    Raises:
        ValueError: If a field is unknown or a value impossible; it names the field.
    """
    values = to_values(recipe)
    for path, value in changes.items():
        *outer, last = path.split(".")
        part = values
        for name in outer:
            if not isinstance(part, dict) or name not in part:
                raise ValueError(_no_field(path, name, part))
            part = part[name]
        if not isinstance(part, dict):
            raise ValueError(_no_field(path, last, part))
        part[last] = to_named_values(value)
    try:
        return from_values(type(recipe), values)
    except ValueError as error:
        asked = ", ".join(f"{name}={value!r}" for name, value in changes.items())
        raise ValueError(f"The recipe can't have {asked}. {error}") from error


def _no_field(path: str, name: str, part: Any) -> str:
    fields = ", ".join(part) if isinstance(part, dict) else f"none, it is {part!r}"
    return (
        f"`{path}` is no field of the recipe: there is no {name!r}. Fields: {fields}."
    )


def described(row: Any, kind: str = "recipe") -> list[tuple[str, str]]:
    """Every field of a recipe with its value as text, for a terminal or a page.

    Args:
        row: A `Recipe` or `DetectionRecipe`, or another row.
        kind: What it is, for the first line.
    """
    rows = [(kind, row.name)]
    for key, value in to_values(row).items():
        if key == "name":
            continue
        if key in ("network", "detector") and not isinstance(value, str):
            rows.append((key, row.network_name))
        elif key == "deviations":
            rows += [("deviation", text) for text in value] or [("deviations", "none")]
        elif isinstance(value, dict):
            kind = value.pop("kind", None)
            rows += [(key, kind)] if kind else []
            rows += [(f"{key}.{name}", said(part)) for name, part in value.items()]
        else:
            rows.append((key, said(value)))
        known = key == "steps" and {**DATASETS, **BOX_DATASETS}.get(row.dataset)
        if known:
            passes = row.steps * row.batch_size
            epochs = passes / known.examples
            rows.append(("epochs", f"{epochs:.1f}"))
    return rows


def said(value: Any) -> str:
    """A field's value, as `config.values.to_values` gives it, as text for people."""
    if isinstance(value, list):
        return ", ".join(map(said, value)) or "none"
    if isinstance(value, dict):
        parts = dict(value)
        kind = parts.pop("kind", "")
        return f"{kind}({', '.join(f'{k}={said(v)}' for k, v in parts.items())})"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        short = float(f"{value:.6g}")  # Not 0.0012500000000000002.
        return str(short if math.isclose(short, value, rel_tol=1e-12) else value)
    return "none" if value is None else str(value)
