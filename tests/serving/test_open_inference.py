"""The Open Inference Protocol: what is read, what is refused, what is answered."""

import json

import numpy as np
import pytest

from keras_resnet.serving import open_inference
from keras_resnet.serving.inference_answers import JSON_LENGTH
from keras_resnet.serving.queries import Refused, RequestLimits
from keras_resnet.serving.servables import named
from tests.helpers.open_inference import as_elements, read_tensors, request_of_files
from tests.helpers.pictures import picture, png_header

LIMITS = RequestLimits(pixels=2000, images=3)
IMAGES = np.arange(2 * 4 * 5 * 3, dtype=np.uint8).reshape(2, 4, 5, 3)


def parse(document, binary=b"", length=None):
    text = document if isinstance(document, bytes) else json.dumps(document).encode()
    length = str(len(text)) if length is None and binary else length
    return open_inference.parse(text + binary, length, LIMITS, "net")


def of_pixels(shape=(2, 4, 5, 3), **more):
    tensor = {"name": "images", "datatype": "UINT8", "shape": list(shape), **more}
    return {"inputs": [tensor]}


def test_image_files_come_as_binary_data():
    document, binary = request_of_files([picture(), picture("JPEG")])
    assert parse(document, binary).images == [picture(), picture("JPEG")]
    document, binary = request_of_files([])
    assert parse(document, binary).images == []


@pytest.mark.parametrize("data", [IMAGES.tolist(), IMAGES.ravel().tolist()])
def test_pixels_come_as_numbers(data):
    np.testing.assert_array_equal(parse(of_pixels(data=data)).images, IMAGES)


def test_pixels_come_as_binary_data():
    size = {"binary_data_size": IMAGES.size}
    query = parse(of_pixels(parameters=size), IMAGES.tobytes())
    np.testing.assert_array_equal(query.images, IMAGES)
    empty = parse(of_pixels((0, 4, 5, 3), data=[]))
    assert empty.images.shape == (0, 4, 5, 3)


FILES, BINARY = request_of_files([picture()])
HERE = FILES["inputs"][0]


@pytest.mark.parametrize(
    ("document", "binary", "message"),
    [
        (b"", b"", "JSON Parse error"),
        (b"{", b"", "JSON Parse error"),
        (b"[" * 100_000, b"", "JSON Parse error"),
        ([], b"", "must be a JSON object; it is Array"),
        ({}, b"", "'inputs' must hold one tensor: image_bytes or images"),
        ({"inputs": [HERE, HERE]}, BINARY, "must hold one tensor"),
        ({"inputs": [3]}, b"", "must hold one tensor"),
        ({"inputs": [{**HERE, "name": "x"}]}, BINARY, "must be image_bytes or images"),
        ({"inputs": [{**HERE, "name": []}]}, BINARY, "must be image_bytes or images"),
        ({"inputs": [{**HERE, "datatype": "FP32"}]}, BINARY, "of datatype BYTES"),
        ({"inputs": [{**HERE, "shape": [1, 1]}]}, BINARY, r"of shape \[n\]"),
        ({"inputs": [{**HERE, "shape": [-1]}]}, BINARY, "of shape"),
        ({"inputs": [{**HERE, "shape": [True]}]}, BINARY, "of shape"),
        ({"inputs": [{**HERE, "shape": [10**9]}]}, BINARY, "may hold 3 images"),
        ({"inputs": [{**HERE, "shape": [2]}]}, BINARY, "must be 2 files"),
        ({"inputs": [{**HERE, "shape": [0]}]}, BINARY, "must be 0 files"),
        ({"inputs": [{**HERE, "parameters": 3}]}, BINARY, "must be an object"),
        ({"inputs": [{**HERE, "parameters": {}}]}, BINARY, "'binary_data_size' of"),
        (FILES, BINARY[:-1], "'binary_data_size' of 'image_bytes' must be"),
        (FILES, BINARY + b"x", "'binary_data_size' of 'image_bytes' must be"),
        (
            {"inputs": [{**HERE, "parameters": {}, "data": ["text"]}]},
            b"",
            "must come as binary data",
        ),
        ({**FILES, "id": 3}, BINARY, "'id' must be text"),
        ({**FILES, "outputs": ["scores"]}, BINARY, "'outputs' must be a list"),
        ({**FILES, "outputs": 3}, BINARY, "'outputs' must be a list"),
        (
            {**FILES, "parameters": {"binary_data_output": 1}},
            BINARY,
            "must be true or false",
        ),
        (*request_of_files([b"no image"]), "Image 0: .* JPEG, PNG"),
        (*request_of_files([b""]), "Image 0: .* JPEG, PNG"),
        (*request_of_files([png_header(99, 99)]), "2000 pixels together"),
        (*request_of_files([picture()] * 4), "may hold 3 images. Received: 4"),
        (of_pixels(data=[1, 2]), b"", "must have 120 values. Received: 2"),
        (of_pixels(), b"", "must be a list of whole numbers"),
        (of_pixels(data=[[1], 2]), b"", "must be a list of whole numbers"),
        (of_pixels(data=[1.5]), b"", "must be a list of whole numbers"),
        (of_pixels(data=[[True]]), b"", "must be a list of whole numbers"),
        (of_pixels(data=[300]), b"", "from 0 to 255"),
        (of_pixels((1, 10**30, 0, 3), data=[]), b"", "of shape"),
        (of_pixels((1, 2, 3), data=[]), b"", "of shape"),
    ],
)
def test_what_is_malformed_is_refused(document, binary, message):
    with pytest.raises(Refused, match=message) as info:
        parse(document, binary)
    assert info.value.status == 400


@pytest.mark.parametrize("length", ["", "0", "-3", "1e3", "9" * 5000, "99999", "٣"])
def test_a_length_of_json_that_cannot_be_is_refused(length):
    with pytest.raises(Refused, match="must tell how many bytes"):
        parse(FILES, BINARY, length)


def test_lengths_of_files_that_cannot_be_are_refused():
    for data in (b"\xff\xff\xff\xff" + picture(), b"\x01", as_elements([b""]) + b"\0"):
        document = {"inputs": [{**HERE, "parameters": {"binary_data_size": len(data)}}]}
        with pytest.raises(Refused, match="must be 1 files"):
            parse(document, data)


COLUMNS = named(
    np.array([[0.1, 0.2, 0.7], [0.5, 0.3, 0.2]], np.float32), ["cat", "Käfer", "dog"]
)


def answered(document=FILES, binary=BINARY):
    return parse(document, binary).write(COLUMNS)


def test_answers_are_json_unless_they_are_asked_to_be_binary():
    written = answered({**FILES, "id": "7"})
    assert written.headers == {}
    document = json.loads(written.body)
    assert document["id"] == "7"
    assert (document["model_name"], document["model_version"]) == ("net", "1")
    by_name = {one["name"]: one for one in document["outputs"]}
    assert by_name["scores"] == {
        "name": "scores",
        "datatype": "FP32",
        "shape": [2, 3],
        "data": [0.1, 0.2, 0.7, 0.5, 0.3, 0.2],
    }
    assert by_name["classes"]["data"] == ["dog", "Käfer", "cat", "cat", "Käfer", "dog"]


def test_all_outputs_come_as_binary_data():
    written = answered({**FILES, "parameters": {"binary_data_output": True}})
    assert written.headers["Content-Type"] == "application/octet-stream"
    found = read_tensors(written.body, written.headers[JSON_LENGTH])
    assert list(found) == list(COLUMNS)
    for name, values in COLUMNS.items():
        np.testing.assert_array_equal(found[name], values)


def test_single_outputs_are_chosen():
    outputs = [
        {"name": "probabilities", "parameters": {"binary_data": True}},
        {"name": "classes"},
    ]
    written = answered({**FILES, "outputs": outputs})
    found = read_tensors(written.body, written.headers[JSON_LENGTH])
    assert list(found) == ["probabilities", "classes"]
    np.testing.assert_array_equal(found["probabilities"], COLUMNS["probabilities"])
    with pytest.raises(Refused, match="no output 'nix'. There are classes, prob"):
        answered({**FILES, "outputs": [{"name": "nix"}]})
