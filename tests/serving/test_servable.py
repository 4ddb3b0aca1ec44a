"""What `runs.servable.servable` gives to the server: scores, and its way with files."""

import keras
import numpy as np
import pytest

import keras_resnet
from keras_resnet.config.preprocessing import Preprocessing
from keras_resnet.data.image_files import read_image
from keras_resnet.runs import predict
from keras_resnet.runs.load import Run
from keras_resnet.runs.servable import servable
from tests.conftest import REPOSITORY
from tests.helpers.bad_requests import FILES, real_picture

pytest.importorskip("litserve")


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A run of a tiny net on 8x8 pixels."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            keras.layers.Flatten(),
            keras.layers.Dense(4),
        ]
    )
    prepare = Preprocessing(
        channels=3, resize=None, size=(8, 8), mean=(120.0,) * 3, std=(60.0,) * 3
    )
    folder = tmp_path_factory.mktemp("run")
    return Run(model, ("a", "b", "c", "d"), prepare, {}, folder)


@pytest.fixture(scope="module")
def served(small):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(predict, "load", lambda folder: small)
        return servable(small.folder)


def test_classes_are_those_of_the_run(small, served):
    assert tuple(served.class_names) == small.classes


@pytest.mark.parametrize("count", [1, 3, 4, 5])
def test_scores_are_those_of_predict(small, served, count):
    images = np.random.default_rng(0).integers(0, 256, (count, 8, 8, 3), "uint8")
    scores = served.scores(images)
    assert scores.shape == (count, 4)
    assert scores.dtype == np.float32
    for row, answer in zip(scores, small.predict(images), strict=True):
        expected = dict(answer)
        for name, share in zip(served.class_names, row, strict=True):
            assert share == pytest.approx(expected[name], abs=1e-6)


@pytest.mark.parametrize("kind", FILES, ids="-".join)
def test_files_are_prepared_as_for_predict(small, served, kind, tmp_path):
    file = real_picture(*kind)
    path = tmp_path / "image"
    path.write_bytes(file)
    try:
        expected = read_image(path, small.preprocessing)
    except ValueError as error:  # What TensorFlow does not read, it does not read here.
        with pytest.raises(ValueError, match="."):
            served.prepare(file)
        assert kind == ("BMP", "1"), error
        return
    image = served.prepare(file)
    assert image.shape == served.shape == (8, 8, 3)
    np.testing.assert_array_equal(image, expected)


def test_broken_files_are_value_errors(served):
    for file in (b"", b"no image", real_picture("PNG", "RGB")[:-40]):
        with pytest.raises(ValueError):
            served.prepare(file)


def test_exported_forms_are_served_and_a_runs_own_saved_model(monkeypatch):
    folder = REPOSITORY / "saved_models" / "quickstart_seed0"
    run = keras_resnet.load(folder)
    images = np.random.default_rng(0).integers(0, 256, (3, 28, 28, 1), "uint8")
    expected = run.scores(images)
    monkeypatch.setattr(predict, "load", None)  # The run isn't loaded.
    for path in (folder / "saved_model", folder):
        served = servable(path)
        np.testing.assert_allclose(served.scores(images), expected, atol=1e-5)
        assert tuple(served.class_names) == run.classes
        assert served.shape == (28, 28, 1)
