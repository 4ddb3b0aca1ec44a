"""Reads and writes the bodies of TensorFlow Serving's REST form of `predict`.

These are pure functions, without a server. The form is TensorFlow Serving's documentation,
"RESTful API", and where that is silent its sources, ``util/json_tensor.cc`` and
``model_servers/http_rest_api_handler.cc``. Pixels are checked as everywhere in this
package: fractions are rounded, and numbers that can't be pixels are refused, where
TensorFlow Serving refuses the former and wraps the latter around.
"""

from __future__ import annotations

import base64
import binascii
import itertools
import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from keras_resnet.pixels import as_uint8
from keras_resnet.serving.queries import (
    INPUTS,
    Query,
    Refused,
    RequestLimits,
    Written,
    check_count,
    check_files,
    json_object,
    kind,
)


def parse(body: bytes | str, limits: RequestLimits) -> Query:
    """Reads the body of a `predict` request.

    Args:
        body: Bytes of JSON.
        limits: `RequestLimits`; ``images`` and ``pixels`` are kept here.

    Returns:
        A `Query`. Encoded images have a header that was read; whether the rest can be
        decoded shows later.

    Raises:
        Refused: With status 400 if it is not as TensorFlow Serving wants it.
    """
    document = json_object(body)
    signature = document.get("signature_name") or "serving_default"
    if not isinstance(signature, str):
        raise Refused(400, "'signature_name' key must be a string value.")
    if signature not in INPUTS:
        raise Refused(
            400,
            f'Serving signature name: "{signature[:80]}" not found in signature def. '
            f"There are {', '.join(INPUTS)}.",
        )
    rows = "instances" in document
    if rows == ("inputs" in document):
        raise Refused(400, "The body must hold one of 'instances' and 'inputs'.")
    name = INPUTS[signature]
    values = (
        _from_rows(document["instances"], name)
        if rows
        else _from_columns(document["inputs"], name)
    )
    check_count(len(values), limits)
    write = rows_of if rows else columns_of
    if signature == "images":
        return Query(_pixels(values), write)
    files = [_bytes(value, index) for index, value in enumerate(values)]
    check_files(files, limits)
    return Query(files, write)


def of_file(body: bytes, limits: RequestLimits) -> Query:
    """Reads a body that is an image file itself, and is answered as a row.

    Raises:
        Refused: With status 400 if it is none.
    """
    check_files([body], limits)
    return Query([body], rows_of)


def _from_rows(instances, name):
    if not isinstance(instances, list) or not instances:
        raise Refused(400, "'instances' must be a list of at least one value.")
    if not _is_named(instances[0]):
        return instances
    for index, instance in enumerate(instances):
        if not isinstance(instance, dict) or set(instance) != {name}:
            raise Refused(
                400,
                f"Element {index} of 'instances': its keys must be equal to {name}.",
            )
    return [instance[name] for instance in instances]


def _from_columns(inputs, name):
    if _is_named(inputs):
        if name not in inputs:
            raise Refused(400, f"Missing named input: {name} in 'inputs' object.")
        inputs = inputs[name]
    if not isinstance(inputs, list):
        raise Refused(400, f"'{name}' must be a list, one value per image.")
    return inputs


def _is_named(value):
    """Whether a JSON value is an object of named inputs, and not base64."""
    return isinstance(value, dict) and set(value) != {"b64"}


def _bytes(value, index):
    if isinstance(value, str):  # TensorFlow Serving takes the text's UTF-8.
        return value.encode("utf-8", "surrogatepass")
    if not isinstance(value, dict) or not isinstance(value.get("b64"), str):
        raise Refused(
            400,
            f'Image {index} must be {{"b64": "…"}}, an encoded file in base64. '
            f"Received: {kind(value)}.",
        )
    text = "".join(value["b64"].split())  # As `base64` breaks lines.
    if text.startswith("data:"):
        raise Refused(
            400,
            f"Image {index}: unable to base64 decode: it begins with 'data:', as a "
            "browser's data URL does. Send what comes after its comma.",
        )
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError) as error:
        raise Refused(400, f"Image {index}: unable to base64 decode: {error}") from None


def _pixels(values):
    """Nested lists of numbers from 0 to 255 as uint8 ``(n, height, width, channels)``."""
    # Before NumPy sees them: it would make every element as wide as the longest text.
    found = values
    for wanted in ((list,), (list,), (list,), (int, float)):
        wrong = [value for value in found if type(value) not in wanted]
        if wrong:
            raise Refused(
                400,
                "'images' must hold numbers, (n, height, width, channels). Received: "
                f"{kind(wrong[0])} where {'a list' if list in wanted else 'a number'} "
                "must be.",
            )
        if list in wanted:
            found = list(itertools.chain.from_iterable(found))
    try:
        images = np.asarray(values)
    except (ValueError, TypeError):
        raise Refused(400, "'images' must be lists of equal lengths.") from None
    if images.ndim != 4:
        raise Refused(
            400,
            "'images' must hold numbers, (n, height, width, channels). Received: "
            f"an array of shape {images.shape}.",
        )
    try:
        return as_uint8(images, "'images'")
    except ValueError as error:
        raise Refused(400, str(error)) from None


def rows_of(columns: Mapping[str, np.ndarray]) -> Written:
    """Makes the body that answers ``instances``: ``predictions``, a list of objects.

    Args:
        columns: By name, as in the SavedModel, an array with a row for each image: of
            float32, of integers, or of text as objects.
    """
    lists = zip(*map(_listed, columns.values()), strict=True)
    return _written(
        {"predictions": [dict(zip(columns, row, strict=True)) for row in lists]}
    )


def columns_of(columns: Mapping[str, np.ndarray]) -> Written:
    """Makes the body that answers ``inputs``: ``outputs``, an object of lists."""
    return _written(
        {"outputs": {name: _listed(values) for name, values in columns.items()}}
    )


def _listed(values):
    return short(values) if values.dtype == np.float32 else values.tolist()


def _written(document):
    return Written(json.dumps(document, ensure_ascii=False).encode())


def short(values: np.ndarray) -> list[Any]:
    """Float32 as lists of the numbers with the fewest digits that give them again."""
    # `tolist` alone would write 0.1 as 0.10000000149011612.
    texts = np.asarray(values, np.float32).astype("U")
    return texts.astype(np.float64).tolist()


def error(message: str) -> bytes:
    """Makes the body of an error."""
    # In ASCII: what a client sent need not be text that can be encoded.
    return json.dumps({"error": message}).encode()


def status(version: int, state: str) -> bytes:
    """Makes the body that tells a model's status."""
    fine = {"error_code": "OK", "error_message": ""}
    entry = {"version": str(version), "state": state, "status": fine}
    return json.dumps({"model_version_status": [entry]}).encode()
