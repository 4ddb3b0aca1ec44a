"""Converts rows to plain values, as of JSON and TOML, and back with every value checked.

A field that can be one of several classes is written with the class's name as its
``kind``. An absent key is the field's default, or `None` where it has none and may be
`None`; ``"none"`` is `None` where a default is something else.
"""

import types
from dataclasses import MISSING, fields, is_dataclass
from difflib import get_close_matches
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from keras_resnet.config.checks import plain_number

Row = TypeVar("Row")


def to_values(value: Any) -> Any:
    """A row, or a part of one, as dicts, lists, strings, numbers and `None`."""
    if is_dataclass(value) and not isinstance(value, type):
        hints = get_type_hints(type(value))
        return {
            field.name: _with_kind(getattr(value, field.name), hints[field.name])
            for field in fields(value)
        }
    if isinstance(value, (tuple, list)):
        return [to_values(item) for item in value]
    return plain_number(value)


def to_named_values(value: Any) -> Any:
    """As `to_values`, with the ``kind`` of a row wherever it may be one of several."""
    if is_dataclass(value) and not isinstance(value, type):
        return {"kind": type(value).__name__, **to_values(value)}
    if isinstance(value, (tuple, list)):
        return [to_named_values(item) for item in value]
    return plain_number(value)


def _with_kind(value: Any, hint: Any) -> Any:
    if isinstance(value, tuple):
        inside = get_args(hint) or (Any,)
        return [_with_kind(item, inside[0]) for item in value]
    plain = to_values(value)
    if is_dataclass(value) and len(_classes(hint)) > 1:
        return {"kind": type(value).__name__, **plain}
    return plain


def from_values(cls: type[Row], values: Any, where: str = "") -> Row:
    """The inverse of `to_values`.

    Args:
        cls: The dataclass that is wanted.
        values: Dict of its fields, as read from JSON or TOML.
        where: The name of the field that it is, for errors.

    Raises:
        ValueError: If a key is unknown or missing, or a value impossible; it names the
            field.
    """
    if not isinstance(values, dict):
        raise ValueError(
            f"{where or cls.__name__} must be a table of the fields of {cls.__name__}. "
            f"Received: {values!r}."
        )
    hints = get_type_hints(cls)
    values = dict(values)
    if values.pop("kind", cls.__name__) != cls.__name__:
        raise ValueError(f"`{where}` must be of the kind {cls.__name__}.")
    for key in values:
        if key not in hints:
            raise ValueError(_unknown(_joined(where, key), key, hints))
    chosen = {}
    for field in fields(cls):
        name = _joined(where, field.name)
        if field.name in values:
            chosen[field.name] = _parsed(hints[field.name], values[field.name], name)
        elif field.default is MISSING and field.default_factory is MISSING:
            if not _may_be_none(hints[field.name]):
                raise ValueError(f"`{name}` must be given. Received: no such key.")
            chosen[field.name] = None
    try:
        return cls(**chosen)
    except ValueError as error:
        if not where:
            raise
        raise ValueError(f"In `{where}`: {error}") from error


def _parsed(hint: Any, value: Any, where: str) -> Any:
    """A value of the type that a field says, or `ValueError`."""
    options = _options(hint)
    if type(None) in options and (value is None or value == "none"):
        return None
    classes = _classes(hint)
    if classes and isinstance(value, dict):
        return from_values(_chosen(classes, value, where), value, where)
    for option in options:
        if option is Any or option is tuple:
            return _as_tuple(value)
        if get_origin(option) is tuple and isinstance(value, (list, tuple)):
            return _tuple(option, value, where)
        if get_origin(option) is Literal and value in get_args(option):
            return value
        if option is float and _is_number(value):
            return value
        if option in (int, bool, str) and type(value) is option:
            return value
    raise ValueError(f"`{where}` must be {_named(hint)}. Received: {value!r}.")


def _tuple(hint: Any, value: Any, where: str) -> tuple:
    inside = get_args(hint)
    if inside[-1] is Ellipsis:
        inside = (inside[0],) * len(value)
    if len(inside) != len(value):
        raise ValueError(
            f"`{where}` must hold {len(inside)} values. Received: {value!r}."
        )
    return tuple(
        _parsed(kind, item, f"{where}[{index}]")
        for index, (kind, item) in enumerate(zip(inside, value, strict=True))
    )


def _chosen(classes: tuple, value: dict, where: str) -> type:
    if len(classes) == 1:
        return classes[0]
    by_name = {cls.__name__: cls for cls in classes}
    kind = value.get("kind")
    if kind not in by_name:
        raise ValueError(
            f"`{where}.kind` must be one of {', '.join(by_name)}. Received: {kind!r}."
        )
    return by_name[kind]


def _options(hint: Any) -> tuple:
    union = get_origin(hint) in (Union, types.UnionType)
    return get_args(hint) if union else (hint,)


def _classes(hint: Any) -> tuple:
    return tuple(option for option in _options(hint) if is_dataclass(option))


def _may_be_none(hint: Any) -> bool:
    return type(None) in _options(hint)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _as_tuple(value: Any) -> Any:
    return tuple(map(_as_tuple, value)) if isinstance(value, list) else value


def _joined(where: str, name: str) -> str:
    return f"{where}.{name}" if where else name


def _unknown(where: str, key: str, known: dict) -> str:
    near = get_close_matches(key, known, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    return f"`{where}` is no field.{hint} Expected: {', '.join(known)}."


def _named(hint: Any) -> str:
    """A type in words, for errors."""
    words = {int: "a whole number", float: "a number", bool: "true or false"}
    words |= {str: "text", type(None): "absent", tuple: "numbers"}
    names = []
    for option in _options(hint):
        if get_origin(option) is Literal:
            names += [repr(choice) for choice in get_args(option)]
        elif get_origin(option) is tuple:
            names.append("a list")
        elif is_dataclass(option):
            names.append(f"a table ({option.__name__})")
        else:
            names.append(words.get(option, str(option)))
    return " or ".join(names)
