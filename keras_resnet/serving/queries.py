"""What a request asks for, whatever form it came in, and what a server accepts."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from keras_resnet.export.limits import MAX_PIXELS, check_header

VERSION = 1  # Of the model, in paths and answers.
# The SavedModel's signatures and the name of each one's only input.
INPUTS = {"serving_default": "image_bytes", "images": "images"}

# What the Open Inference Protocol calls the types of answers, and NumPy.
DATATYPES = {"FP32": "float32", "INT32": "int32", "BYTES": "object"}


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
        drain: Seconds after a signal in which running requests may end, 1 to 3600. New
            connections are refused meanwhile.
    """

    body: int = 16 * 2**20
    pending: int = 256 * 2**20
    pixels: int = MAX_PIXELS
    images: int = 128
    seconds: float = 30.0
    header_seconds: float = 10.0
    drain: float = 30.0


@dataclass(frozen=True)
class Tensor:
    """What a model takes or gives.

    Attributes:
        name: As in the SavedModel.
        datatype: As the Open Inference Protocol calls it.
        shape: A dimension of -1 may have any size; the first one is that of images.
    """

    name: str
    datatype: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Tensors:
    """All that a model takes, of which a request has one, and all that it gives."""

    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]


@dataclass(frozen=True)
class Written:
    """The body of an answer.

    Attributes:
        body: Bytes, of JSON or with JSON before them.
        headers: Of HTTP, beyond those that each answer has.
    """

    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Query:
    """A parsed request. It is sent to a worker by pickle.

    Attributes:
        images: Encoded image files, list of bytes; or uint8 of shape ``(n, …)``.
        write: Function that makes the answer's body, a `Written`, of what was computed:
            arrays by name, as of `AnyServable.columns`. It may raise `Refused`.
        asks_for_tensors: Whether ``write`` wants the servable's `Tensors`, and nothing is
            computed.
    """

    images: list[bytes] | np.ndarray
    write: Callable[[Any], Written]
    asks_for_tensors: bool = False


def json_object(body: bytes | str) -> dict[str, Any]:
    """Reads a body that must be an object of JSON.

    Raises:
        Refused: With status 400 if it is none.
    """
    try:
        document = json.loads(body)
    except (ValueError, RecursionError) as error:  # Also of digits without end.
        raise Refused(400, f"JSON Parse error: {error}") from None
    if not isinstance(document, dict):
        raise Refused(400, f"The body must be a JSON object; it is {kind(document)}.")
    return document


def kind(value: Any) -> str:
    """What JSON calls a value."""
    kinds = {dict: "Object", list: "Array", str: "String", bool: "Boolean"}
    return kinds.get(type(value), "Null" if value is None else "Number")


def check_count(count: int, limits: RequestLimits) -> None:
    """Checks how many images a request holds.

    Raises:
        Refused: With status 400 if these are too many.
    """
    if count > limits.images:
        raise Refused(
            400,
            f"A request may hold {limits.images} images. Received: {count}. "
            "Send them in several requests.",
        )


def check_files(files: list[bytes], limits: RequestLimits) -> None:
    """Checks encoded images by their headers; whether the rest decodes shows later.

    Raises:
        Refused: With status 400 if one is none, or all together have too many pixels.
    """
    pixels = 0
    for index, file in enumerate(files):
        try:
            pixels += check_header(file)
        except ValueError as error:
            raise Refused(400, f"Image {index}: {error}") from None
        if pixels > limits.pixels:
            raise Refused(
                400,
                f"The images of a request may have {limits.pixels} pixels together. "
                f"Received: {pixels} up to image {index}. Make them smaller, or send "
                "them in several requests.",
            )
