"""Names, types and shapes that clients rely on: those of `tests/helpers/contract.py`."""

import asyncio
import io
import json
import re
import urllib.request

import keras
import numpy as np
import pytest

from tests.conftest import REPOSITORY
from tests.helpers import contract, serve_stub
from tests.helpers.open_inference import read_tensors, request_of_files
from tests.helpers.pictures import b64, picture

RED = picture(size=(9, 9))
RAW = {"content-type": "image/png"}


@pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="exports are TensorFlow's"
)
def test_signatures_of_a_classifier(tmp_path):
    from tests.helpers.exported import classifier, export
    from tests.helpers.served import Served

    with Served(export(classifier(), tmp_path)) as served:
        assert set(served.signatures) == set(contract.CLASSIFIER)
        for name, (inputs, outputs) in contract.CLASSIFIER.items():
            signature = served.signatures[name]
            assert contract.described(signature.inputs) == inputs
            assert contract.described(signature.outputs) == outputs


def halves(images):
    return np.tile(np.array([[0.5, 0.25, 0.25]], np.float32), (len(images), 1))


def one_box(image):
    height, width = image.shape[:2]
    return {
        "boxes": np.array([[0, 0, width, height], [-1] * 4], np.float32),
        "scores": np.array([0.5, 0], np.float32),
        "classes": np.array([1, -1]),
        "count": np.int32(1),
    }


def classifier_and_detector():
    from keras_resnet.serving.servables import DetectorServable, Servable

    names = ("red", "grün", "blue")
    return {
        "classifier": Servable(halves, serve_stub.prepare, names, serve_stub.SHAPE),
        "detector": DetectorServable(
            one_box, lambda file: np.zeros((9, 9, 3), np.uint8), names
        ),
    }


@pytest.fixture(params=["classifier", "detector"])
def ask(request, monkeypatch):
    """A function that asks the server's side, whose worker is in this process."""
    pytest.importorskip("litserve")
    pytest.importorskip("prometheus_client")
    from starlette.requests import Request

    from keras_resnet.serving.endpoints import Endpoints
    from keras_resnet.serving.queries import RequestLimits
    from tests.serving.test_worker import made

    servable = classifier_and_detector()[request.param]
    worker = made(monkeypatch, servable, max_batch_size=2)
    spec = Endpoints("net", RequestLimits())

    async def answered(query):
        [reply] = worker.predict(worker.batch([query]))
        return reply

    monkeypatch.setattr(spec, "_ask", answered)
    monkeypatch.setattr(Endpoints, "is_ready", lambda self: True)

    def asked(method, path, body=b"", headers=()):
        async def receive():
            return {"type": "http.request", "body": body, "more_body": False}

        given = [(k.lower().encode(), v.encode()) for k, v in dict(headers).items()]
        scope = {"type": "http", "method": method, "path": path, "headers": given}
        return asyncio.run(spec.respond(Request(scope, receive)))

    return request.param, asked


def test_paths(ask):
    _, asked = ask
    for method, path, expected in contract.PATHS:
        answer = asked(method, path)
        assert answer.status_code == 200, path
        assert json.loads(answer.body) == expected
        assert answer.headers["content-type"] == "application/json"
    server = json.loads(asked("GET", "/v2").body)
    assert server["name"] == "keras-resnet"
    assert server["extensions"] == ["binary_tensor_data"]


def test_metadata(ask):
    kind, asked = ask
    for path in ("/v2/models/net", "/v2/models/net/versions/1"):
        assert json.loads(asked("GET", path).body) == contract.METADATA[kind]


def test_metadata_is_asked_for_once(ask, monkeypatch):
    from keras_resnet.serving import worker

    kind, asked = ask
    asked("GET", "/v2/models/net")
    monkeypatch.setattr(
        worker.Worker, "predict", lambda *_: pytest.fail("Asked again.")
    )
    assert json.loads(asked("GET", "/v2/models/net").body) == contract.METADATA[kind]


def test_readiness(ask, monkeypatch):
    from keras_resnet.serving import endpoints

    _, asked = ask
    monkeypatch.setattr(endpoints.Endpoints, "is_ready", lambda self: False)
    for path in ("/v2/health/ready", "/v2/models/net/ready"):
        assert asked("GET", path).status_code == 503
    assert asked("GET", "/v2/health/live").status_code == 200


def test_predictions(ask):
    kind, asked = ask
    path, expected = "/v1/models/net:predict", contract.PREDICTIONS[kind]
    columns = {name: [value] for name, value in expected.items()}
    for body, headers, answer in (
        (json.dumps({"instances": [b64(RED)]}).encode(), {}, {"predictions": expected}),
        (json.dumps({"inputs": [b64(RED)]}).encode(), {}, {"outputs": columns}),
        (RED, RAW, {"predictions": expected}),
    ):
        got = asked("POST", path, body, headers)
        wanted = {k: [v] if k == "predictions" else v for k, v in answer.items()}
        assert json.loads(got.body) == wanted


@pytest.mark.parametrize("binary", [True, False])
def test_inference(ask, binary):
    kind, asked = ask
    document, data = request_of_files([RED], parameters={"binary_data_output": binary})
    text = json.dumps(document).encode()
    got = asked(
        "POST",
        "/v2/models/net/infer",
        text + data,
        {"Inference-Header-Content-Length": str(len(text))},
    )
    assert got.status_code == 200, got.body
    length = got.headers.get("inference-header-content-length")
    assert (length is not None) == binary
    found = read_tensors(got.body, length)
    expected = contract.PREDICTIONS[kind]
    assert {name: values[0].tolist() for name, values in found.items()} == expected
    promised = {one["name"]: one for one in contract.METADATA[kind]["outputs"]}
    for one in json.loads(got.body[: int(length or len(got.body))])["outputs"]:
        wanted = promised[one["name"]]
        assert one["datatype"] == wanted["datatype"]
        for size, side in zip(one["shape"], wanted["shape"], strict=True):
            assert side in (-1, size)


def of_page(part, **replaced):
    """A Python block of docs/serving.md, for the model of these tests."""
    page = (REPOSITORY / "docs" / "serving.md").read_text(encoding="utf-8")
    [block] = [
        text
        for text in re.findall(r"^```python\n(.*?)^```$", page, re.M | re.S)
        if part in text
    ]
    for old, new in {"/models/fashion/": "/models/net/", **replaced}.items():
        assert old in block
        block = block.replace(old, new)
    return block


@pytest.fixture
def urlopen(ask, monkeypatch):
    """Has `urllib` ask the server's side."""
    kind, asked = ask

    def opened(request):
        answer = asked(
            "POST", request.selector, request.data, dict(request.header_items())
        )
        assert answer.status_code == 200, answer.body
        return io.BytesIO(answer.body)

    monkeypatch.setattr(urllib.request, "urlopen", opened)
    return kind


def test_the_pages_binary_tensors(urlopen, tmp_path, monkeypatch, capsys):
    if urlopen == "detector":
        pytest.skip("The page asks a classifier.")
    (tmp_path / "shoe.png").write_bytes(RED)
    monkeypatch.chdir(tmp_path)
    exec(of_page("to_bytes(4"), {})
    expected = contract.PREDICTIONS["classifier"]
    lines = [f"{name} {expected[name]}" for name in ("classes", "probabilities")]
    assert capsys.readouterr().out.splitlines() == lines


def test_the_pages_request_to_openvino_model_server(urlopen):
    if urlopen == "detector":
        pytest.skip("The page asks a classifier.")
    names = {}
    exec(of_page("localhost:8000", **{"(2, 28, 28, 1)": "(2, 8, 8, 3)"}), names)
    assert names["scores"].tolist() == [[0.5, 0.25, 0.25]] * 2


def test_no_images_get_answers_of_the_same_types(ask):
    kind, asked = ask
    document, data = request_of_files([])
    text = json.dumps(document).encode()
    length = {"Inference-Header-Content-Length": str(len(text))}
    got = asked("POST", "/v2/models/net/infer", text + data, length)
    outputs = json.loads(got.body)["outputs"]
    promised = contract.METADATA[kind]["outputs"]
    assert [(one["name"], one["datatype"]) for one in outputs] == [
        (one["name"], one["datatype"]) for one in promised
    ]


def test_what_there_is_not(ask):
    _, asked = ask
    for method, path, status in (
        ("GET", "/v2/models/other", 404),
        ("GET", "/v2/models/net/versions/2", 404),
        ("POST", "/v2/models/other/infer", 404),
        ("GET", "/v2/models/net/infer", 400),
        ("POST", "/v2/models/net/infer", 400),
        ("GET", "/v2/nothing", 400),
    ):
        answer = asked(method, path)
        assert answer.status_code == status, path
        assert set(json.loads(answer.body)) == {"error"}
