"""Detectors behind the server: answers, and 300 malformed requests."""

import concurrent.futures
import json

import keras
import numpy as np
import pytest

from keras_resnet.config.box_batches import BoxBatches
from tests.helpers.bad_requests import bad_bodies
from tests.helpers.detected import by_predict
from tests.helpers.photos import encoded, exif, scene, stored_as, with_exif
from tests.helpers.pictures import b64
from tests.helpers.small_detectors import noticing_detector

pytest.importorskip("litserve")
NAMES = ("cat", "Käfer", "ship")
SETTINGS = BoxBatches(batch_size=1, shorter_sides=(64,), longer_side=100)


# --- Without a network ------------------------------------------------------------


def whole(image):
    """As a detector that finds each image as a whole, and has room for two."""
    height, width = image.shape[:2]
    return {
        "boxes": np.array([[0, 0, width, height], [-1] * 4], np.float32),
        "scores": np.array([0.1, 0], np.float32),
        "classes": np.array([1, -1]),
        "count": np.int32(1),
    }


def decode(contents):
    if contents == b"bad":
        raise ValueError("no image")
    return np.zeros((len(contents), 7, 3), np.uint8)


@pytest.fixture
def worker(monkeypatch):
    from keras_resnet.serving import worker
    from keras_resnet.serving.servables import DetectorServable

    monkeypatch.setattr(worker, "_end_with_parent", lambda: None)
    monkeypatch.setattr(worker.signal, "signal", lambda *_: None)
    monkeypatch.setattr(worker, "_picture", lambda: b"warm")
    one = worker.Worker(
        load=lambda: DetectorServable(whole, decode, NAMES), max_batch_size=2
    )
    one.setup("cpu")
    return one


def replies(worker, *queries):
    from keras_resnet.serving.queries import Query
    from keras_resnet.serving.rest import columns_of, rows_of

    asked = [Query(images, rows_of if rows else columns_of) for images, rows in queries]
    return [
        (reply.status, json.loads(reply.body))
        for reply in worker.predict(worker.batch(asked))
    ]


def test_each_image_has_boxes_of_its_own_size(worker):
    from keras_resnet.export.detector import OUTPUTS

    good, bad, none = replies(
        worker, ([b"123", b"12345", b"1"], True), ([b"1", b"bad"], True), ([], False)
    )
    rows = good[1]["predictions"]
    assert [row["boxes"][0] for row in rows] == [
        [0, 0, 7, 3],
        [0, 0, 7, 5],
        [0, 0, 7, 1],
    ]
    assert set(rows[0]) == set(OUTPUTS)
    assert rows[0]["scores"] == [0.1, 0]
    assert rows[0]["classes"] == [1, -1]
    assert rows[0]["names"] == ["Käfer", ""]
    assert rows[0]["count"] == 1
    assert bad == (400, {"error": "Image 1 can't be decoded: no image"})
    assert none == (200, {"outputs": {name: [] for name in OUTPUTS}})


def test_decoded_images_of_any_size_are_taken(worker):
    images = np.zeros((2, 4, 9, 3), np.uint8)
    [(status, answer)] = replies(worker, (images, False))
    assert status == 200
    assert answer["outputs"]["boxes"][1][0] == [0, 0, 9, 4]
    [(status, answer)] = replies(worker, (images[..., :1], True))
    assert status == 400 and "height" in answer["error"]


# --- A server ---------------------------------------------------------------------


def as_folder(model, folder):
    """Writes a detector's folder as `keras-resnet convert` does."""
    from keras_resnet.runs import detector_convert

    found = detector_convert.Found(model, SETTINGS, "none", None)
    detector_convert.name_classes(found, NAMES)
    detector_convert.write_folder(found, {}, folder)


def check(answer, expected):
    count = answer["count"]
    assert count == len(expected["boxes"])
    np.testing.assert_allclose(answer["boxes"][:count], expected["boxes"], atol=1e-3)
    np.testing.assert_allclose(answer["scores"][:count], expected["scores"], atol=1e-5)
    names = [NAMES[number] for number in expected["classes"]]
    assert answer["names"][:count] == names


@pytest.mark.exhaustive
@pytest.mark.multiprocess
@pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="servers start with TensorFlow"
)
def test_300_malformed_requests_do_no_harm(tmp_path):
    """Each gets a client's error or an answer, and good ones between them theirs."""
    from tests.serving.test_server import started

    model = noticing_detector()
    as_folder(model, tmp_path)
    lying = with_exif(encoded(stored_as(scene(70, 40), 6), "PNG"), exif(6))
    good = [encoded(scene(50, 90), "JPEG"), lying, encoded(scene(200, 130), "PNG")]
    expected = [by_predict(model, file, SETTINGS) for file in good]
    assert sum(len(one["boxes"]) for one in expected) >= 6
    wanted = {"instances": [b64(file) for file in good]}
    command = (
        *("keras_resnet", "serve", str(tmp_path), "--port", "PORT"),
        *("--name", "cells"),
    )
    with started(tmp_path, "cells", *command) as server:

        def ask(numbered):
            number, (name, body) = numbered
            if number % 20 == 0:
                status, answer = server.predict(wanted)
                assert status == 200
                for row, right in zip(answer["predictions"], expected, strict=True):
                    check(row, right)
            return name, *server.predict(body)

        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(ask, enumerate(bad_bodies(300))))
        assert "Traceback" not in server.log.read_text()
    wrong = [
        one
        for one in answers
        if one[1] not in ((413,) if one[0] == "huge" else (200, 400))
    ]
    assert not wrong, wrong[:3]
    refused = [answer for _, status, answer in answers if status != 200]
    assert len(refused) > 150
    assert all(set(answer) == {"error"} and answer["error"] for answer in refused)
    assert any(status == 200 for name, status, _ in answers if name == "rare")
