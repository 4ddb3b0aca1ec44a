"""The warm-up file is read as TF Serving reads it, and replayed in a session."""

import keras
import numpy as np
import pytest

from keras_resnet.export import warm_up
from tests.helpers.exported import classifier, export
from tests.helpers.served import Served

tf = pytest.importorskip("tensorflow")
prediction_log_pb2 = pytest.importorskip("tensorflow_serving.apis.prediction_log_pb2")
pytestmark = pytest.mark.skipif(
    keras.backend.backend() not in ("tensorflow", "jax"),
    reason="a SavedModel needs the TensorFlow or JAX backend",
)


def requests(path):
    for record in tf.data.TFRecordDataset(str(path / warm_up.FILE)).as_numpy_iterator():
        log = prediction_log_pb2.PredictionLog.FromString(record)
        assert log.WhichOneof("log_type") == "predict_log"
        yield log.predict_log.request


@pytest.mark.slow
def test_each_signature_has_a_request_that_it_answers(tmp_path):
    path = export(classifier(), tmp_path)
    assert warm_up.FILE == "assets.extra/tf_serving_warmup_requests"
    with Served(path) as served:
        warmed = []
        for request in requests(path):
            signature = request.model_spec.signature_name
            inputs = {k: tf.make_ndarray(v) for k, v in request.inputs.items()}
            outputs = served(signature, **inputs)
            assert {len(value) for value in outputs.values()} == {1}
            warmed.append(signature)
        assert sorted(warmed) == sorted(served.signatures)
        assert {"serving_default", "images", "features"} <= set(warmed)


def test_requests_are_those_of_clients(tmp_path):
    path = export(classifier(channels=1), tmp_path, channels=1)
    by_name = {r.model_spec.signature_name: r for r in requests(path)}
    (file,) = tf.make_ndarray(by_name["serving_default"].inputs["image_bytes"])
    assert file.startswith(b"\xff\xd8\xff")
    images = tf.make_ndarray(by_name["images"].inputs["images"])
    assert images.shape == (1, 16, 16, 1) and images.dtype == np.uint8


@pytest.mark.slow
def test_the_file_has_the_same_bytes_again(tmp_path):
    path = export(classifier(), tmp_path)
    before = (path / warm_up.FILE).read_bytes()
    assert warm_up.write_warm_up(path).read_bytes() == before
