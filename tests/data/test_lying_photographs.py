"""Photographs stored on their side train, validate and are served as upright ones."""

from dataclasses import replace

import keras
import numpy as np
import pytest

from keras_resnet.config.augmentations import InceptionCrop, PadCropFlip, ScaleCropFlip
from keras_resnet.config.preprocessing import Preprocessing
from keras_resnet.config.recipes import RECIPES
from keras_resnet.data import cache, folders
from keras_resnet.data.pipelines import evaluation_batches, training_batches
from tests.helpers.photos import encoded, exif, scene, stored_as, with_exif

UPRIGHT = Preprocessing(
    channels=3, resize=20, size=(16, 16), mean=(120.0,) * 3, std=(60.0,) * 3
)
AS_STORED = replace(UPRIGHT, exif_orientation=False)


@pytest.fixture(scope="module")
def splits(tmp_path_factory):
    """The same photographs, of all orientations, as they are seen and as stored lying."""
    found = {}
    for name in ("upright", "lying"):
        folder = tmp_path_factory.mktemp(name)
        for number in range(16):
            orientation = 1 + number % 8
            pixels = np.roll(scene(40, 50), 5 * number, axis=1)
            file = encoded(pixels, "PNG")
            if name == "lying":
                file = encoded(stored_as(pixels, orientation), "PNG")
                file = with_exif(file, exif(orientation, "big"))
            path = folder / "ab"[number % 2] / f"{number:02}.png"
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(file)
        found[name] = folders.load(folder, val_fraction=0.25)
    return found


def first(batches):
    return next(iter(batches))[0].numpy()


AUGMENTATIONS = {
    "Inception crops": InceptionCrop(jitter=0.0, color=0.0),
    "scales": ScaleCropFlip(shorter_side=(20, 24), color=0.0),
    "padded crops, kept in memory": PadCropFlip(padding=2),
    "none": None,
}


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        "Inception crops",
        pytest.param("padded crops, kept in memory", marks=pytest.mark.exhaustive),
        pytest.param("scales", marks=pytest.mark.exhaustive),
        pytest.param("none", marks=pytest.mark.exhaustive),
    ],
)
def test_training(splits, name):
    recipe = replace(
        RECIPES["quickstart"],
        batch_size=6,
        steps=20,
        validate_every=20,
        augmentation=AUGMENTATIONS[name],
    )

    def batch(folder, preprocessing):
        return first(
            training_batches(
                splits[folder].train, preprocessing, recipe, classes=2, seed=0
            )
        )

    upright = batch("upright", UPRIGHT)
    np.testing.assert_array_equal(batch("lying", UPRIGHT), upright)
    assert np.abs(batch("lying", AS_STORED) - upright).max() > 0.5


@pytest.mark.parametrize("keep", [False, True])
def test_validation_and_evaluation(splits, keep):
    def batch(folder, preprocessing):
        examples = splits[folder].validation
        return first(
            evaluation_batches(examples, preprocessing, batch_size=4, keep=keep)
        )

    upright = batch("upright", UPRIGHT)
    np.testing.assert_array_equal(batch("lying", UPRIGHT), upright)
    # Pixels that were kept for the one aren't taken for the other.
    assert np.abs(batch("lying", AS_STORED) - upright).max() > 0.5


@pytest.mark.slow
def test_pixels_are_kept_apart_by_every_field_that_changes_them(splits):
    examples = splits["lying"].validation
    others = {
        "channels": Preprocessing(
            channels=1, resize=20, size=(16, 16), mean=(120.0,), std=(60.0,)
        ),
        "resize": replace(UPRIGHT, resize=24),
        "size": replace(UPRIGHT, size=(16, 18)),
        "interpolation": replace(UPRIGHT, interpolation="bicubic"),
        "crop_rounding": replace(UPRIGHT, resize=19, crop_rounding="floor"),
        "exif_orientation": AS_STORED,
        "bit_depth": replace(UPRIGHT, bit_depth=12),
    }
    assert set(others) == set(cache.FIELDS)
    kept, _ = cache.tensors(examples, UPRIGHT)
    for name, preprocessing in others.items():
        assert cache.tensors(examples, preprocessing)[0] is not kept, name
    up = replace(UPRIGHT, resize=19, crop_rounding="ceil")
    floored, _ = cache.tensors(examples, others["crop_rounding"])
    assert np.any(cache.tensors(examples, up)[0] != floored)


@pytest.mark.exhaustive
@pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="the graph is TensorFlow's"
)
def test_served_graphs_and_the_server(splits, tmp_path):
    import pathlib

    from keras_resnet.runs.export import export_model
    from keras_resnet.runs.predict import load_classifier
    from keras_resnet.runs.servable import servable
    from tests.helpers.served import Served

    keras.utils.set_random_seed(0)
    inputs = keras.Input((16, 16, 3))
    x = keras.layers.Conv2D(16, 3, strides=4)(inputs)
    model = keras.Model(inputs, keras.layers.Dense(3)(keras.layers.Flatten()(x)))
    files = {
        name: [pathlib.Path(path).read_bytes() for path in found.train.images]
        for name, found in splits.items()
    }
    answers = {}
    for name, preprocessing in (("turned", UPRIGHT), ("stored", AS_STORED)):
        path = export_model(model, tmp_path / name, preprocessing, list("abc"))
        with Served(path) as served:
            for folder, contents in files.items():
                given = served("serving_default", image_bytes=contents)["scores"]
                answers[name, folder] = given
        # What the server and `predict` do with an export of it.
        assert load_classifier(path).preprocessing == preprocessing
        served = servable(path)
        prepared = np.stack([served.prepare(file) for file in files["lying"]])
        scores = served.scores(prepared)
        np.testing.assert_allclose(scores, answers[name, "lying"], atol=1e-5)
    turned = answers["turned", "upright"]
    np.testing.assert_allclose(answers["turned", "lying"], turned, atol=1e-6)
    np.testing.assert_allclose(answers["stored", "upright"], turned, atol=1e-6)
    assert np.abs(answers["stored", "lying"] - turned).max() > 1e-3
