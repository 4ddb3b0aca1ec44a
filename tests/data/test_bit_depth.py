"""Images of 16 bits per channel, of which a network takes as many as their values have."""

import io
import pathlib
import warnings
from dataclasses import replace
from functools import partial

import keras
import numpy as np
import pytest
from PIL import Image

from keras_resnet.config.augmentations import InceptionCrop, ScaleCropFlip
from keras_resnet.config.preprocessing import Preprocessing
from keras_resnet.config.recipes import RECIPES
from keras_resnet.data import bit_depth, folders
from keras_resnet.data.bit_depth import (
    bits_of,
    depth_of,
    depths_of,
    warn_of_equal_images,
    warn_of_lost_levels,
)
from keras_resnet.data.decoding import decode, decode_window
from keras_resnet.data.image_files import decoded, read_image
from keras_resnet.data.images import prepare
from keras_resnet.data.pipelines import evaluation_batches, training_batches
from keras_resnet.runs.servable import _decoder
from tests.helpers.deep import deep_png, of_bits
from tests.helpers.photos import encoded, scene

tf = pytest.importorskip("tensorflow")

EIGHT = Preprocessing(
    channels=3, resize=20, size=(16, 16), mean=(120.0,) * 3, std=(60.0,) * 3
)
TWELVE = replace(EIGHT, bit_depth=12)
SCENE = scene(24, 30)


def rgb(pixels):
    """What `decode` gives for these pixels, in three channels."""
    colours = pixels[..., :1] if pixels.shape[-1] in (1, 2) else pixels[..., :3]
    return np.broadcast_to(colours, (*pixels.shape[:2], 3))


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("bits", [8, 10, 12, 16])
def test_the_upper_eight_of_so_many_bits_are_kept(channels, bits):
    pixels = np.concatenate([SCENE, SCENE[..., :1]], -1)[..., :channels]
    file = deep_png(of_bits(pixels, bits))
    found = decode(file, 3, bit_depth=bits).numpy()
    np.testing.assert_array_equal(found, rgb(pixels))
    whole = decode_window(
        file, lambda size: tf.constant([2, 3, 9, 8]), 3, bit_depth=bits
    )
    np.testing.assert_array_equal(whole, rgb(pixels)[2:11, 3:11])
    if channels < 3:
        np.testing.assert_array_equal(
            decode(file, 1, bit_depth=bits).numpy(), pixels[..., :1]
        )


def test_larger_values_are_white_and_other_files_stay_as_they_are():
    file = deep_png(np.array([[[4095], [4096], [65535]]]))
    assert decode(file, 1, bit_depth=12).numpy().ravel().tolist() == [255] * 3
    for form in ("PNG", "JPEG", "BMP", "GIF", "WEBP"):
        file = encoded(SCENE, form)
        plain = decode(file, 3).numpy()
        np.testing.assert_array_equal(decode(file, 3, bit_depth=12).numpy(), plain)
    cut = deep_png(of_bits(SCENE, 12))[:60]
    for file in (cut, cut[:20], b""):
        with pytest.raises(tf.errors.InvalidArgumentError):
            decode(file, 3, bit_depth=12)


@pytest.fixture(scope="module")
def splits(tmp_path_factory):
    """The same photographs in 8 bits, and as values of 12 bits in files of 16."""
    found = {}
    for name in ("eight", "twelve"):
        folder = tmp_path_factory.mktemp(name)
        for number in range(16):
            pixels = np.roll(SCENE, 5 * number, axis=1)
            file = encoded(pixels, "PNG")
            if name == "twelve":
                file = deep_png(of_bits(pixels, 12))
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
}


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["Inception crops", pytest.param("scales", marks=pytest.mark.exhaustive)]
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
        examples = splits[folder].train
        return first(
            training_batches(examples, preprocessing, recipe, classes=2, seed=0)
        )

    np.testing.assert_array_equal(batch("twelve", TWELVE), batch("eight", EIGHT))


@pytest.mark.slow
@pytest.mark.parametrize(
    "keep", [False, pytest.param(True, marks=pytest.mark.exhaustive)]
)
def test_validation_and_evaluation(splits, keep):
    def batch(folder, preprocessing):
        examples = splits[folder].validation
        return first(
            evaluation_batches(examples, preprocessing, batch_size=4, keep=keep)
        )

    eight = batch("eight", EIGHT)
    np.testing.assert_array_equal(batch("twelve", TWELVE), eight)
    # Pixels that were kept for the one aren't taken for the other.
    assert np.abs(batch("twelve", EIGHT) - eight).max() > 0.5


def in_a_graph(file, preprocessing):
    """As an exported graph prepares it."""
    graph = tf.function(partial(prepare, preprocessing=preprocessing))
    return graph(tf.constant(file)).numpy()


@pytest.mark.parametrize(
    "prepared",
    [
        in_a_graph,
        lambda file, preprocessing: decoded(file, preprocessing, "one"),
        lambda file, preprocessing: _decoder(preprocessing)(file),
    ],
    ids=["exported", "predict", "serve"],
)
def test_prediction(prepared, tmp_path):
    eight = prepared(encoded(SCENE, "PNG"), EIGHT)
    deep = deep_png(of_bits(SCENE, 12))
    np.testing.assert_array_equal(prepared(deep, TWELVE), eight)
    assert np.any(prepared(deep, EIGHT) != eight)


@pytest.mark.slow
@pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="the graph is TensorFlow's"
)
def test_served_graphs_and_the_server(splits, tmp_path):
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
    path = export_model(model, tmp_path / "twelve", TWELVE, list("abc"))
    with Served(path) as served:
        answers = {
            name: served("serving_default", image_bytes=contents)["scores"]
            for name, contents in files.items()
        }
    np.testing.assert_allclose(answers["twelve"], answers["eight"], atol=1e-6)
    assert load_classifier(path).preprocessing == TWELVE
    served = servable(path)
    prepared = np.stack([served.prepare(file) for file in files["twelve"]])
    np.testing.assert_allclose(served.scores(prepared), answers["eight"], atol=1e-5)


def written(folder, files):
    """A folder of classes, with files in turns in each of two."""
    for number, file in enumerate(files):
        path = folder / "ab"[number % 2] / f"{number:02}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(file)
    return folders.load(folder, val_fraction=0).train


def up_to(largest, count=50):
    """An image of ``count`` values up to the largest."""
    return deep_png(np.linspace(0, largest, count).round().reshape(1, count, 1))


def test_values_are_looked_at(tmp_path, monkeypatch):
    files = [up_to(300), up_to(4000), encoded(SCENE, "JPEG"), encoded(SCENE, "PNG")]
    found = depths_of(written(tmp_path, files))
    assert {pathlib.Path(path).name: depth for path, depth in found.items()} == {
        "00.png": depth_of(files[0]),
        "01.png": depth_of(files[1]),
    }
    assert bits_of(found) == 12
    # Transparency is no value.
    clear = np.stack([np.full((5, 5), 900), np.full((5, 5), 65535)], -1)
    assert depth_of(deep_png(clear))[:2] == (900, 1)
    assert bits_of({}) == 16  # As without the option.
    assert bits_of({"a": depth_of(up_to(3, 4))}) == 8
    assert bits_of({"a": depth_of(up_to(65535))}) == 16
    # A large folder is looked through once.
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(bit_depth, "MANY", 4)
    examples = folders.load(tmp_path, val_fraction=0).train
    assert depths_of(examples) == found
    monkeypatch.setattr(bit_depth, "_numbers", lambda path: pytest.fail("looked"))
    assert depths_of(examples) == found


@pytest.mark.parametrize(
    ("files", "bits", "message"),
    [
        # Thermal images, in hundredths of kelvin: few levels in every depth.
        (
            [30_000 + np.arange(900)],
            16,
            "1 of 1 seen .* 900 .* up to 30,899, .* leaves 4 ",
        ),
        ([[0, 1]], 16, "2 different values, .* up to 1, .* 16 leaves 1 of 256"),
        ([np.arange(2000), np.arange(60_000)], 16, "1 of 2 seen .* leaves 8 of 256"),
        ([[0, 9, 65_535]], 8, "leaves 3|^$"),
        ([np.arange(4096)], 16, "largest value of the 1 .* 4,095, .* leaves 16 of 256"),
    ],
    ids=["thermal", "mask", "one of two", "nothing lost", "all of 12 bits"],
)
def test_lost_levels_are_told(files, bits, message):
    depths = {
        f"{number}.png": depth_of(deep_png(np.reshape(values, (1, -1, 1))))
        for number, values in enumerate(files)
    }
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warn_of_lost_levels("seen", depths, bits)
    assert len(caught) == (message != "leaves 3|^$")
    for one in caught:
        assert "0.png" in str(one.message) and "--bit-depth" in str(one.message)
        with pytest.warns(UserWarning, match=message):
            warn_of_lost_levels("seen", depths, bits)


def test_nothing_is_told_of_what_keeps_its_levels():
    whole = {"0.png": depth_of(deep_png(np.arange(4096).reshape(64, 64, 1)))}
    binary = {"1.png": depth_of(deep_png(np.array([[[0], [65_535]]])))}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_of_lost_levels("seen", whole, 12)
        warn_of_lost_levels("seen", binary, 16)
        warn_of_lost_levels("seen", {}, 16)
        decoded(encoded(SCENE, "PNG"), EIGHT, "one")


def test_predict_tells_it_of_each_image(tmp_path):
    path = tmp_path / "one.png"
    path.write_bytes(up_to(300))
    with pytest.warns(UserWarning, match=r"one\.png: of its 50 .* up to 300, .* 2 of"):
        read_image(path, EIGHT)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read_image(path, replace(EIGHT, bit_depth=9))


@pytest.mark.parametrize(
    "files",
    [
        [up_to(200), up_to(250), up_to(90, 20)],  # Black, in two sizes.
        [encoded(SCENE, "PNG")] * 3,
    ],
    ids=["one colour", "one picture"],
)
def test_images_that_look_alike_are_told(tmp_path, files):
    examples = written(tmp_path, files)
    with pytest.warns(UserWarning, match="All 3 seen images look the same .*00.png"):
        warn_of_equal_images("seen", examples, EIGHT)
    (tmp_path / "b" / "01.png").write_bytes(up_to(50_000))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_of_equal_images("seen", examples, EIGHT)
        warn_of_equal_images("seen", None, EIGHT)


def test_pillow_and_paths_agree():
    from keras_resnet.runs.inputs import each_prepared

    grey = of_bits(SCENE[..., :1], 12)
    file = deep_png(grey)
    [expected] = each_prepared(file, TWELVE)
    [found] = each_prepared(Image.open(io.BytesIO(file)), TWELVE)
    np.testing.assert_array_equal(found, expected)
    [white] = each_prepared(Image.fromarray(np.full((16, 16), 5000, "uint16")), TWELVE)
    assert (white == 255).all()
    # Pillow reads the upper 8 bits of colours, whatever is done then.
    colours = Image.open(io.BytesIO(deep_png(of_bits(SCENE, 12))))
    with pytest.raises(ValueError, match="as a path or as bytes: its file has 16 bits"):
        list(each_prepared(colours, TWELVE))
