"""A client's side of the Open Inference Protocol with binary data."""

import json

import numpy as np

DTYPES = {"FP32": "<f4", "INT32": "<i4"}


def as_elements(files):
    """Files as elements of a tensor of BYTES."""
    return b"".join(len(file).to_bytes(4, "little") + file for file in files)


def request_of_files(files, **more):
    """The JSON of a request, as an object, and the bytes that follow it."""
    binary = as_elements(files)
    tensor = {"name": "image_bytes", "datatype": "BYTES", "shape": [len(files)]}
    tensor["parameters"] = {"binary_data_size": len(binary)}
    return {"inputs": [tensor], **more}, binary


def read_tensors(body, json_length=None):
    """The outputs of an answer as arrays by name."""
    length = len(body) if json_length is None else int(json_length)
    binary, found = body[length:], {}
    for one in json.loads(body[:length])["outputs"]:
        if "data" in one:
            values = np.array(one["data"], DTYPES.get(one["datatype"], object))
        else:
            size = one["parameters"]["binary_data_size"]
            own, binary = binary[:size], binary[size:]
            values = _of_bytes(own, one["datatype"])
        found[one["name"]] = values.reshape(one["shape"])
    assert not binary
    return found


def _of_bytes(data, datatype):
    if datatype != "BYTES":
        return np.frombuffer(data, DTYPES[datatype])
    texts = []
    while data:
        end = 4 + int.from_bytes(data[:4], "little")
        texts.append(data[4:end].decode())
        data = data[end:]
    return np.array(texts, object)
