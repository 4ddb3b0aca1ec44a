"""Pictures and average precision while a detector trains."""

import os
import tempfile
import warnings
from types import SimpleNamespace

import keras
import numpy as np
import pytest

from keras_resnet.config.box_batches import BoxBatches
from keras_resnet.data.box_pipelines import training_batches
from keras_resnet.data.examples import StreamedExamples
from keras_resnet.detection import callbacks
from keras_resnet.detection.callbacks import AveragePrecision, DetectionPictures
from keras_resnet.detection.inference import detections_in
from keras_resnet.detection.pictures import draw_worst, held
from tests.helpers.backends import BACKENDS, computed, of_backend
from tests.helpers.small_detectors import small_detector
from tests.helpers.white_boxes import WhiteBox, white_boxes

SETTINGS = BoxBatches(batch_size=2, shorter_sides=(64,), longer_side=96)
NAMES = ("red", "white", "blue")
BOXES = [(4, 6, 20, 30), (8, 8, 40, 24), (0, 0, 30, 32)]


@pytest.fixture
def examples():
    return white_boxes([(32, 48)] * 3, BOXES)


def model_of_fit(detector=None):
    """A detector as a callback sees it in `fit`."""
    detector = detector or WhiteBox()
    detector.optimizer = SimpleNamespace(iterations=np.array(5))
    return detector


@pytest.mark.slow
def test_pictures_are_drawn_every_so_many_epochs_or_updates(tmp_path, examples):
    by_epoch = DetectionPictures(examples, SETTINGS, NAMES, tmp_path / "e", epochs=2)
    by_update = DetectionPictures(examples, SETTINGS, NAMES, tmp_path / "u", updates=4)
    for callback in (by_epoch, by_update):
        callback.set_model(model_of_fit())
        callback.on_train_begin()
        for epoch in range(2):
            callback.on_epoch_begin(epoch)
            for batch in range(3):
                callback.on_train_batch_end(batch)
            callback.on_epoch_end(epoch)
    assert [path.name for path in (tmp_path / "e").iterdir()] == ["epoch_0002.png"]
    # Five updates were made before.
    assert [path.name for path in (tmp_path / "u").iterdir()] == ["update_000008.png"]


def test_a_picture_that_fails_is_a_warning(tmp_path, examples, monkeypatch):
    callback = DetectionPictures(examples, SETTINGS, NAMES, tmp_path)
    callback.set_model(model_of_fit())

    def fail(*args, **options):
        raise OSError("no space")

    monkeypatch.setattr(callbacks, "draw_detections_and_truth", fail)
    with pytest.warns(UserWarning, match=r"epoch_0001.png couldn't be made \(OSError"):
        callback.on_epoch_end(0)
    with pytest.raises(ValueError, match="`images` must be a positive integer"):
        DetectionPictures(examples, SETTINGS, NAMES, tmp_path, images=0)


def test_average_precision_is_in_the_logs(examples):
    callback = AveragePrecision(examples, SETTINGS, NAMES, epochs=2, by_class=True)
    callback.set_model(model_of_fit())
    logs = {}
    callback.on_epoch_end(0, logs)
    assert logs == {}
    callback.on_epoch_end(1, logs)
    assert logs["val_average_precision"] == 1.0
    assert logs["val_average_precision_white"] == 1.0
    assert np.isnan(logs["val_average_precision_red"])
    assert callback.result["n"] == len(callback.detections) == 3


def test_the_worst_misses_are_shown_and_told(tmp_path, examples):
    found = detections_in(WhiteBox(), examples, SETTINGS)
    found[1]["classes"][:] = 0
    picture, text = draw_worst(examples, found, NAMES, tmp_path, images=2)
    assert picture.stat().st_size > 5000
    first, last = text.read_text().splitlines()
    assert first.startswith("image 1: 1 object missed (white 1); 1 detection wrong")
    assert last == "No mistake in 2 of 3 images."
    found[1]["classes"][:] = 1
    assert draw_worst(examples, found, NAMES, tmp_path).picture is None


def test_some_images_of_a_stream_are_held(examples):
    tf = pytest.importorskip("tensorflow")
    pairs = tf.data.Dataset.from_tensor_slices([*examples.images]).enumerate()
    stream = StreamedExamples(lambda: pairs.map(lambda place, image: (image, place)), 3)
    streamed = type(examples)(stream, examples.sizes, examples.objects, examples.ids)
    some = held(streamed, [2, 0])
    assert some.ids == ("image 2", "image 0")
    assert [*some.images] == [examples.images[2], examples.images[0]]
    np.testing.assert_array_equal(some.objects.boxes, [BOXES[2], BOXES[0]])


def fitted(measured):
    """Weights after training, what was logged, and the names of the pictures."""
    examples = white_boxes([(32, 48)] * 4, [*BOXES, BOXES[0]])
    batches = training_batches(examples, SETTINGS, steps=4, seed=0)
    detector = small_detector()
    detector.compile(keras.optimizers.SGD(0.001))
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.filterwarnings("error", "The picture", UserWarning)
        looking = [
            AveragePrecision(examples, SETTINGS),
            DetectionPictures(examples, SETTINGS, NAMES, folder, updates=2),
        ]
        history = detector.fit(
            batches,
            epochs=2,
            steps_per_epoch=2,
            verbose=0,
            callbacks=looking if measured else [],
        )
        pictures = sorted(os.listdir(folder))
    logged = history.history.get("val_average_precision", [])
    return detector.get_weights(), logged, pictures


def write(path):
    """Whether all is as it must be, on this backend."""
    plain, *_ = fitted(measured=False)
    weights, logged, pictures = fitted(measured=True)
    assert pictures == ["update_000002.png", "update_000004.png"]
    assert len(logged) == 2 and all(0 <= value <= 1 for value in logged)
    for one, other in zip(plain, weights, strict=True):  # To look on changes nothing.
        np.testing.assert_array_equal(one, other)
    np.savez(path, logged=logged)


@pytest.fixture(scope="module")
def on_backends(tmp_path_factory):
    folder = tmp_path_factory.mktemp("callbacks")
    return computed("tests.detection.test_callbacks", "write", folder)


@pytest.mark.exhaustive  # JAX compiles for a minute.
@pytest.mark.multiprocess
@pytest.mark.xdist_group("detectors")
@pytest.mark.parametrize("backend", BACKENDS)
def test_they_go_with_plain_fit_on_every_backend(backend, on_backends):
    assert len(of_backend(on_backends, backend)["logged"]) == 2
