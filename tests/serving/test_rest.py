"""TensorFlow Serving's REST form: what is read, what is refused, what is answered."""

import io
import json

import numpy as np
import pytest
from PIL import Image

from keras_resnet.serving import rest
from keras_resnet.serving.queries import Refused, RequestLimits
from keras_resnet.serving.servables import named
from tests.helpers.pictures import (
    b64,
    gif_header,
    jpeg_header,
    picture,
    png_header,
)

LIMITS = RequestLimits(pixels=2000, images=3)


def parse(**document):
    return rest.parse(json.dumps(document), LIMITS)


def refusal(body):
    with pytest.raises(Refused) as info:
        rest.parse(body if isinstance(body, (str, bytes)) else json.dumps(body), LIMITS)
    assert info.value.status == 400
    return info.value.message


@pytest.mark.parametrize(
    ("rows", "document"),
    [
        (True, {"instances": [b64(picture()), b64(picture("JPEG"))]}),
        (
            True,
            {
                "instances": [
                    {"image_bytes": b64(picture())},
                    {"image_bytes": b64(picture("JPEG"))},
                ],
                "signature_name": "serving_default",
            },
        ),
        (False, {"inputs": [b64(picture()), b64(picture("JPEG"))]}),
        (False, {"inputs": {"image_bytes": [b64(picture()), b64(picture("JPEG"))]}}),
    ],
)
def test_image_files_come_in_rows_and_columns(rows, document):
    query = parse(**document)
    assert query.write == (rest.rows_of if rows else rest.columns_of)
    assert query.images == [picture(), picture("JPEG")]


@pytest.mark.parametrize("form", ["rows", "named rows", "columns", "named columns"])
def test_pixels_come_in_rows_and_columns(form):
    images = np.random.default_rng(0).integers(0, 256, (2, 4, 5, 3))
    values = images.tolist()
    document = {
        "rows": {"instances": values},
        "named rows": {"instances": [{"images": value} for value in values]},
        "columns": {"inputs": values},
        "named columns": {"inputs": {"images": values}},
    }[form]
    query = parse(signature_name="images", **document)
    assert query.images.dtype == np.uint8
    np.testing.assert_array_equal(query.images, images)
    assert (query.write == rest.rows_of) == ("rows" in form)


def test_fractions_of_pixels_are_rounded():
    query = parse(signature_name="images", inputs=[[[[0.4, 1.6, 255]]]])
    assert query.images.dtype == np.uint8
    assert query.images.tolist() == [[[[0, 2, 255]]]]


def test_base64_may_have_breaks_and_no_padding():
    text = b64(picture())["b64"]
    broken = "\n".join(text[i : i + 76] for i in range(0, len(text), 76)).rstrip("=")
    assert parse(instances=[{"b64": broken}]).images == [picture()]


def test_no_images_are_a_request_in_columns_alone():
    assert parse(inputs=[]).images == []
    assert "at least one" in refusal({"instances": []})


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "JSON Parse error"),
        (b"{", "JSON Parse error"),
        (b"\xff\xfe\x00", "JSON Parse error"),
        (b"[" * 100_000, "JSON Parse error"),
        (b'{"instances": ' + b"1" * 5000 + b"}", "JSON Parse error"),
        ([], "must be a JSON object; it is Array"),
        ({}, "one of 'instances' and 'inputs'"),
        ({"instances": [1], "inputs": [1]}, "one of 'instances' and 'inputs'"),
        ({"instances": {"b64": ""}}, "must be a list"),
        ({"instances": [1]}, "Received: Number"),
        ({"instances": [None]}, "Received: Null"),
        ({"instances": [[b64(picture())]]}, "Received: Array"),
        ({"instances": [{"b64": 3}]}, "Received: Object"),
        ({"instances": [{"b64": "*"}]}, "unable to base64 decode"),
        ({"instances": [{"b64": "A"}]}, "unable to base64 decode"),
        ({"instances": [{"b64": "data:image/png;base64,AAAA"}]}, "after its comma"),
        ({"instances": [{"b64": "ä"}]}, "unable to base64 decode"),
        ({"instances": ["text"]}, "must be a JPEG, PNG, BMP, GIF or WebP file"),
        ({"instances": [{"b64": ""}]}, "must be a JPEG, PNG, BMP, GIF or WebP file"),
        (
            {"instances": [{"image": b64(picture())}]},
            "keys must be equal to image_bytes",
        ),
        ({"instances": [{"image_bytes": b64(picture())}, 1]}, "Element 1"),
        ({"inputs": {"image": []}}, "Missing named input: image_bytes"),
        ({"inputs": b64(picture())}, "must be a list"),
        ({"signature_name": 3, "inputs": []}, "must be a string"),
        ({"signature_name": "nix", "inputs": []}, '"nix" not found in signature def'),
        ({"instances": [b64(picture())] * 4}, "may hold 3 images. Received: 4"),
    ],
)
def test_what_is_malformed_is_refused(body, message):
    assert message in refusal(body)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        ([[[[1, 2], [3]]]], "equal lengths"),
        ([[[1, 2], [3, 4]]], "Number where a list must be"),
        ([[[[0.0, 0.5, 1]]]], "float64 from 0 to 1, as if divided by 255"),
        ([[[[200]]], [[[0.9]]]], "from 0.9 to 0.9 in image 1 of 2, counted from 0, as"),
        ([[[[-2.1, 2.6, 0]]]], "not normalized"),
        ([[[[float("nan"), 3]]]], "NaN"),
        ([[[[True]]]], "Boolean where"),
        ([[[["1"]]]], "String where"),
        # NumPy would make room for a million letters in every element.
        (["a" * 1_000_000, *[""] * 2], "String where a list must be"),
        ([[[["a" * 1_000_000, *[""] * 10_000]]]], "String where a number must be"),
        ([[[[None]]]], "Null where"),
        ([[[[[1]]]]], "Array where a number must be"),
        ([[[[10**30]]]], "object"),
        ([[[[256]]]], "from 256 to 256"),
        ([[[[-1]]]], "from -1 to -1"),
        ([], "of shape (0,)"),
    ],
)
def test_pixels_that_are_none_are_refused(images, message):
    assert message in refusal({"signature_name": "images", "inputs": images})


@pytest.mark.parametrize(
    "file",
    [
        picture(size=(41, 49)),
        picture("JPEG", size=(41, 49)),
        picture("BMP", size=(41, 49)),
    ],
)
def test_too_many_pixels_are_refused_by_the_header(file):
    message = refusal({"instances": [b64(file)]})
    assert "may have 2000 pixels together" in message


@pytest.mark.parametrize("header", [png_header, jpeg_header])
def test_images_larger_than_a_graph_takes_are_refused(header):
    message = refusal({"instances": [b64(picture()), b64(header(20_000, 10_000))]})
    assert message.startswith("Image 1: An image must have from 1 to 67,108,864 pixels")
    assert message.endswith("height and width are [10000, 20000].")


@pytest.mark.parametrize("size", [(8000, 6000), (8192, 8192)])
def test_a_request_may_hold_the_largest_image_that_a_graph_takes(size):
    file = jpeg_header(*size)
    body = json.dumps({"instances": [b64(file)]})
    assert rest.parse(body, RequestLimits()).images == [file]


@pytest.mark.parametrize("form", ["GIF", "WEBP"])
def test_gif_and_webp_are_taken(form):
    body = json.dumps({"instances": [b64(picture(form))]})
    assert rest.parse(body, RequestLimits()).images == [picture(form)]


def test_all_frames_of_a_gif_count():
    message = refusal({"instances": [b64(gif_header((30, 20), (50, 40)))]})
    assert "Received: 2600 up to image 0" in message
    message = refusal({"instances": [b64(gif_header((8000, 8000), (9000, 400)))]})
    assert "height and width are [8000, 9000]" in message
    message = refusal({"instances": [b64(gif_header(*[(8000, 8000)] * 2))]})
    assert "Received a GIF whose frames have 128000000" in message


def test_pixels_of_a_request_are_limited_together():
    files = [b64(picture(size=(30, 40)))] * 2
    assert "2400 up to image 1" in refusal({"instances": files})


@pytest.mark.parametrize("form", ["JPEG", "MPO"])
def test_jpegs_of_many_scans_are_refused(form):
    more = {"save_all": True, "append_images": [Image.new("RGB", (3, 2))]}
    file = picture(form, **(more if form == "MPO" else {}))
    assert Image.open(io.BytesIO(file)).format == form
    file += b"\xff\xda" * 100
    assert "at most 100 scans. Received one that has 10" in refusal(
        {"instances": [b64(file)]}
    )


def test_headers_are_read_no_further_than_they_may_be():
    file = b"\xff\xd8\xff\xe0\x00\x04ab" + b"\xff" * 2**22
    assert "that can be read" in refusal({"instances": [b64(file)]})


def test_errors_are_text_whatever_was_sent():
    message = refusal({"signature_name": "\ud800", "instances": [1]})
    assert "not found" in json.loads(rest.error(message))["error"]


@pytest.mark.parametrize("file", [png_header(0, 5), jpeg_header(5, 0), picture()[:20]])
def test_no_pixels_are_refused(file):
    message = refusal({"instances": [b64(file)]})
    assert "must have from 1 to" in message or "that can be read" in message


@pytest.mark.parametrize(
    "file",
    [
        picture(size=(40, 50)),
        picture("JPEG", mode="CMYK"),
        picture("PNG", mode="I;16"),
        picture("PNG", mode="RGBA"),
        picture("PNG", mode="P"),
    ],
)
def test_images_within_the_limit_pass(file):
    assert parse(instances=[b64(file)]).images == [file]


def test_answers_are_those_of_the_saved_model():
    names = ["cat", "dog", "Käfer", "ship", "truck", "frog", "deer"]
    scores = np.array([[0.1, 0.2, 0.1, 0.3, 0.1, 0.2, 0.0], np.eye(7)[6]], np.float32)
    rows = json.loads(rest.rows_of(named(scores, names)).body)
    assert rows["predictions"][0] == {
        "classes": ["ship", "dog", "frog", "cat", "Käfer"],
        "probabilities": [0.3, 0.2, 0.2, 0.1, 0.1],
        "scores": [0.1, 0.2, 0.1, 0.3, 0.1, 0.2, 0.0],
    }
    assert rows["predictions"][1]["classes"] == ["deer", "cat", "dog", "Käfer", "ship"]
    columns = json.loads(rest.columns_of(named(scores, names)).body)["outputs"]
    for key, values in columns.items():
        assert values == [row[key] for row in rows["predictions"]]


def test_scores_keep_all_their_digits():
    names = [str(i) for i in range(50)]
    scores = np.random.default_rng(1).random((3, 50), np.float32) ** 9
    answer = json.loads(rest.columns_of(named(scores, names)).body)
    again = np.array(answer["outputs"]["scores"], np.float32)
    np.testing.assert_array_equal(again, scores)


def test_few_classes_are_all_named():
    answer = json.loads(rest.rows_of(named(np.eye(2, dtype="f4"), list("ab"))).body)
    assert answer["predictions"][1]["classes"] == ["b", "a"]


def test_a_body_may_be_an_image_file():
    query = rest.of_file(picture("JPEG"), LIMITS)
    assert query.images == [picture("JPEG")] and query.write == rest.rows_of
    for file, message in (
        (b"", "must be a JPEG, PNG"),
        (b'{"instances": []}', "must be a JPEG, PNG"),
        (picture(size=(41, 49)), "may have 2000 pixels"),
    ):
        with pytest.raises(Refused, match=message):
            rest.of_file(file, LIMITS)


def test_status_and_error():
    assert json.loads(rest.error('a "b"')) == {"error": 'a "b"'}
    status = json.loads(rest.status(1, "AVAILABLE"))["model_version_status"][0]
    assert (status["version"], status["state"]) == ("1", "AVAILABLE")
