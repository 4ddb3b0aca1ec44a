"""Writes the answers of the Open Inference Protocol; requests: `open_inference`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from keras_resnet import __version__
from keras_resnet.serving.queries import (
    DATATYPES,
    VERSION,
    Refused,
    Tensors,
    Written,
)
from keras_resnet.serving.rest import short

JSON_LENGTH = "Inference-Header-Content-Length"
NAMES = {dtype: datatype for datatype, dtype in DATATYPES.items()}


@dataclass(frozen=True)
class Asked:
    """What a request wants of its answer.

    Attributes:
        model: Name of the model.
        id: The request's own, which the answer repeats; or none.
        outputs: Names of the wanted outputs, and whether each is to come as binary data;
            `None` are all of them.
        binary: Whether outputs come as binary data that don't say it themselves.
    """

    model: str
    id: str | None
    outputs: tuple[tuple[str, bool], ...] | None
    binary: bool


def answer(columns: Mapping[str, np.ndarray], asked: Asked) -> Written:
    """Makes the body that answers a request.

    Args:
        columns: By name, as in the SavedModel, an array with a row for each image: of
            float32, of int32, or of text as objects.
        asked: What the request wants.

    Raises:
        Refused: With status 400 if an output is wanted that there is not.
    """
    wanted = asked.outputs or tuple((name, asked.binary) for name in columns)
    unknown = [name for name, _ in wanted if name not in columns]
    if unknown:
        raise Refused(
            400,
            f"There is no output '{unknown[0][:80]}'. There are {', '.join(columns)}.",
        )
    outputs: list[dict[str, Any]] = []
    parts: list[bytes] = []
    for name, binary in wanted:
        values = columns[name]
        datatype = NAMES[str(values.dtype)]
        outputs.append({"name": name, "datatype": datatype, "shape": values.shape})
        if binary:
            parts.append(_as_bytes(values))
            outputs[-1]["parameters"] = {"binary_data_size": len(parts[-1])}
        else:
            flat = values.ravel()
            outputs[-1]["data"] = (
                short(flat) if flat.dtype == np.float32 else flat.tolist()
            )
    document: dict[str, Any] = {"model_name": asked.model}
    document["model_version"] = str(VERSION)
    if asked.id is not None:
        document["id"] = asked.id
    text = json.dumps({**document, "outputs": outputs}).encode()
    if not parts:
        return Written(text)
    headers = {JSON_LENGTH: str(len(text)), "Content-Type": "application/octet-stream"}
    return Written(b"".join([text, *parts]), headers)


def _as_bytes(values):
    if values.dtype != object:
        return values.astype(values.dtype.newbyteorder("<")).tobytes()
    files = [text.encode() for text in values.ravel()]
    return b"".join(len(one).to_bytes(4, "little") + one for one in files)


def metadata(tensors: Tensors, model: str) -> Written:
    """Makes the body that tells what a model takes and gives.

    A request has one of the inputs.
    """
    document = {
        "name": model,
        "versions": [str(VERSION)],
        "platform": "keras_resnet",
        "inputs": [vars(one) for one in tensors.inputs],
        "outputs": [vars(one) for one in tensors.outputs],
    }
    return Written(json.dumps(document).encode())


def server_metadata() -> bytes:
    """Makes the body that tells what the server is."""
    document = {
        "name": "keras-resnet",
        "version": __version__,
        "extensions": ["binary_tensor_data"],
    }
    return json.dumps(document).encode()
