"""Reads bodies of the Open Inference Protocol, as KServe and Triton speak it.

These are pure functions, without a server. The form is KServe's "Open Inference Protocol"
(version 2) with its "binary tensor data extension": after the JSON, whose length a header
tells, the bytes of the tensors follow, little-endian and row by row, and each element of
type BYTES has its length in four bytes before it. `inference_answers` writes the answers.
"""

from __future__ import annotations

import itertools
import math
import re
from functools import partial

import numpy as np

from keras_resnet.serving.inference_answers import JSON_LENGTH, Asked, answer
from keras_resnet.serving.queries import (
    INPUTS,
    Query,
    Refused,
    RequestLimits,
    check_count,
    check_files,
    json_object,
)

# Of the inputs: their datatype and the names of their dimensions.
EXPECTED = {
    "image_bytes": ("BYTES", ("n",)),
    "images": ("UINT8", ("n", "height", "width", "channels")),
}
MOST_OF_A_SIDE = 65_535  # Pixels, so that no product of a shape can be too large.


def parse(
    body: bytes, json_length: str | None, limits: RequestLimits, model: str
) -> Query:
    """Reads the body of an ``infer`` request.

    Args:
        body: JSON, and after it the bytes of a tensor that comes as binary data.
        json_length: The header `JSON_LENGTH`, if there is one.
        limits: `RequestLimits`; ``images`` and ``pixels`` are kept here.
        model: Name of the model.

    Raises:
        Refused: With status 400 if it is not as the protocol wants it.
    """
    text, binary = _parts(body, json_length)
    document = json_object(text)
    inputs = document.get("inputs")
    if not isinstance(inputs, list) or [type(one) for one in inputs] != [dict]:
        raise Refused(
            400, f"'inputs' must hold one tensor: {' or '.join(INPUTS.values())}."
        )
    name, shape = _named(inputs[0])
    write = partial(answer, asked=_asked(document, model))
    check_count(shape[0], limits)
    data = _binary_data(inputs[0], name, binary)
    if name == "images":
        return Query(_pixels(inputs[0], data, shape), write)
    files = _files(data, shape[0])
    check_files(files, limits)
    return Query(files, write)


def _parts(body, json_length):
    """The JSON and what follows it."""
    if json_length is None:
        return body, b""
    length = int(json_length) if re.fullmatch("[0-9]{1,18}", json_length) else 0
    if not 0 < length <= len(body):
        raise Refused(
            400,
            f"The header {JSON_LENGTH} must tell how many bytes of the body are JSON, "
            f"from 1 to {len(body)}. Received: '{json_length[:20]}'.",
        )
    return body[:length], body[length:]


def _named(tensor):
    """The name and the shape of an input."""
    name, shape = tensor.get("name"), tensor.get("shape")
    if not isinstance(name, str) or name not in EXPECTED:
        raise Refused(
            400, f"The name of an input must be {' or '.join(INPUTS.values())}."
        )
    datatype, dimensions = EXPECTED[name]
    if tensor.get("datatype") != datatype:
        raise Refused(400, f"'{name}' must be of datatype {datatype}.")
    if (
        not isinstance(shape, list)
        or len(shape) != len(dimensions)
        or any(type(side) is not int or side < 0 for side in shape)
        or max(shape[1:], default=0) > MOST_OF_A_SIDE
    ):
        raise Refused(
            400, f"'{name}' must be of shape [{', '.join(dimensions)}], in pixels."
        )
    return name, shape


def _binary_data(tensor, name, binary):
    """The bytes of an input, or `None` if it comes as JSON."""
    size = _parameters(tensor).get("binary_data_size")
    if size is None and not binary:
        if name == "images":
            return None
        raise Refused(
            400,
            "'image_bytes' must come as binary data, with 'binary_data_size' and the "
            f"header {JSON_LENGTH}: text of JSON can't hold an image file.",
        )
    if type(size) is not int or size != len(binary):
        raise Refused(
            400,
            f"'binary_data_size' of '{name}' must be {len(binary)}, the number of bytes "
            f"that follow the JSON. Received: {str(size)[:40]}.",
        )
    return binary


def _files(data, count):
    files, start = [], 0
    while len(files) < count and start + 4 <= len(data):
        end = start + 4 + int.from_bytes(data[start : start + 4], "little")
        files.append(data[start + 4 : end])
        start = end
    if len(files) != count or start != len(data):
        raise Refused(
            400,
            f"The binary data of 'image_bytes' must be {count} files, each after four "
            "bytes that tell its length (little-endian), and nothing else.",
        )
    return files


def _pixels(tensor, data, shape):
    if data is None:
        data = _from_numbers(tensor.get("data"))
    if len(data) != math.prod(shape):
        raise Refused(
            400,
            f"'images' of shape {shape} must have {math.prod(shape)} values. Received: "
            f"{len(data)}.",
        )
    return np.frombuffer(data, np.uint8).reshape(shape)


def _from_numbers(values):
    """Numbers of JSON, flat or in lists of lists, as bytes."""
    lists = [values]
    while lists and all(isinstance(one, list) for one in lists):
        values = list(itertools.chain.from_iterable(lists))
        lists = values
    if not isinstance(values, list) or any(type(one) is not int for one in values):
        raise Refused(400, "'data' of 'images' must be a list of whole numbers.")
    try:
        return bytes(values)
    except ValueError:
        raise Refused(400, "'data' of 'images' must be from 0 to 255.") from None


def _parameters(of):
    found = of.get("parameters", {})
    if not isinstance(found, dict):
        raise Refused(400, "'parameters' must be an object.")
    return found


def _asked(document, model):
    """What the request wants of its answer."""
    id = document.get("id")
    if id is not None and not isinstance(id, str):
        raise Refused(400, "'id' must be text.")
    binary = _is_true(_parameters(document), "binary_data_output", False)
    outputs = document.get("outputs")
    if outputs in (None, []):
        return Asked(model, id, None, binary)
    if not isinstance(outputs, list) or not all(
        isinstance(one, dict) and isinstance(one.get("name"), str) for one in outputs
    ):
        raise Refused(400, "'outputs' must be a list of objects with a 'name'.")
    wanted = {
        one["name"]: _is_true(_parameters(one), "binary_data", binary)
        for one in outputs
    }
    return Asked(model, id, tuple(wanted.items()), binary)


def _is_true(parameters, name, default):
    value = parameters.get(name, default)
    if not isinstance(value, bool):
        raise Refused(400, f"'{name}' must be true or false.")
    return value
