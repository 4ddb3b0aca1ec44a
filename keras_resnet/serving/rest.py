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
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from keras_resnet.export.limits import MAX_PIXELS, check_header
from keras_resnet.pixels import as_uint8

TOP = 5  # Classes named in an answer, as in the SavedModel.
# The SavedModel's signatures and the name of each one's only input.
INPUTS = {"serving_default": "image_bytes", "images": "images"}


class Refused(Exception):
    """A request that gets an error.

    Attributes:
        status: Of HTTP.
        message: What is wrong with it.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(status, message)
        self.status: int = status
        self.message: str = message


@dataclass(frozen=True)
class RequestLimits:
    """What a server accepts, and for how long.

    Attributes:
        body: Bytes of a request's body. Parsing JSON takes up to thirty times as much
            memory for a moment (a body of ``[[],[],…``).
        pending: Bytes of all bodies that are being read or wait for their answer.
        pixels: Height times width of all images of a request together, as their headers
            say: at least those of one image. Decoding takes about four bytes per pixel.
        images: Images in a request.
        seconds: For reading a body, and from there to the answer.
        header_seconds: From a connection to the end of its request's headers.
        drain: Seconds that the requests which are being answered have to end after a
            signal. New connections are refused meanwhile.
    """

    body: int = 16 * 2**20
    pending: int = 256 * 2**20
    pixels: int = MAX_PIXELS
    images: int = 128
    seconds: float = 30.0
    header_seconds: float = 10.0
    drain: int = 30


@dataclass(frozen=True)
class Query:
    """A parsed request.

    Attributes:
        images: Encoded image files, list of bytes; or uint8 of shape ``(n, …)``.
        rows: Whether it came as ``instances``, and is answered row by row.
    """

    images: list[bytes] | np.ndarray
    rows: bool


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
    try:
        document = json.loads(body)
    except (ValueError, RecursionError) as error:  # Also of digits without end.
        raise Refused(400, f"JSON Parse error: {error}") from None
    if not isinstance(document, dict):
        raise Refused(400, f"The body must be a JSON object; it is {_kind(document)}.")
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
    if len(values) > limits.images:
        raise Refused(
            400,
            f"A request may hold {limits.images} images. Received: {len(values)}. "
            "Send them in several requests.",
        )
    if signature == "images":
        return Query(_pixels(values), rows)
    files = [_bytes(value, index) for index, value in enumerate(values)]
    pixels = 0
    for index, file in enumerate(files):
        pixels += _pixels_of(file, index)
        if pixels > limits.pixels:
            raise Refused(
                400,
                f"The images of a request may have {limits.pixels} pixels together. "
                f"Received: {pixels} up to image {index}. Make them smaller, or send "
                "them in several requests.",
            )
    return Query(files, rows)


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
            f"Received: {_kind(value)}.",
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


def _pixels_of(file, index):
    try:
        return check_header(file)
    except ValueError as error:
        raise Refused(400, f"Image {index}: {error}") from None


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
                f"{_kind(wrong[0])} where {'a list' if list in wanted else 'a number'} "
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


def answer(columns: Mapping[str, Sequence[Any]], rows: bool) -> bytes:
    """Makes the body that answers a request.

    Args:
        columns: By name, as in the SavedModel, a value of JSON for each image.
        rows: Whether the request came row by row.

    Returns:
        Bytes of JSON: ``predictions``, a list of objects; or ``outputs``, an object of
        lists.
    """
    if rows:
        lists = zip(*columns.values(), strict=True)
        result: dict[str, Any] = {
            "predictions": [dict(zip(columns, row, strict=True)) for row in lists]
        }
    else:
        result = {"outputs": dict(columns)}
    return json.dumps(result, ensure_ascii=False).encode()


def named(scores: np.ndarray, class_names: Sequence[str]) -> dict[str, list[Any]]:
    """What is answered of a classifier's scores, for `answer`.

    Args:
        scores: Probabilities, float32 ``(n, classes)``.
        class_names: Names in the order of the scores.

    Returns:
        ``classes``, ``probabilities`` and ``scores``, as of the SavedModel.
    """
    # Equal ones in their order, as `tf.math.top_k` has them.
    best = np.argsort(-scores, axis=1, kind="stable")[:, :TOP]
    return {
        "classes": [[class_names[i] for i in row] for row in best],
        "probabilities": short(np.take_along_axis(scores, best, 1)),
        "scores": short(scores),
    }


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


def _kind(value):
    kinds = {dict: "Object", list: "Array", str: "String", bool: "Boolean"}
    return kinds.get(type(value), "Null" if value is None else "Number")
