"""What `Run.predict` takes, in every form the same image; and that it holds a few."""

import io
import pathlib

import keras
import numpy as np
import pytest
from PIL import Image

from keras_resnet.config.preprocessing import Preprocessing
from keras_resnet.runs.load import BATCH, Run
from tests.helpers.photos import encoded, exif, scene, stored_as, with_exif

tf = pytest.importorskip("tensorflow")


def run_of(channels=3, **changes):
    """A run of a linear network of 8x8 pixels, of which each counts."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [keras.Input((8, 8, channels)), keras.layers.Flatten(), keras.layers.Dense(3)]
    )
    prepare = Preprocessing(
        channels=channels,
        resize=8,
        size=(8, 8),
        mean=(120.0,) * channels,
        std=(60.0,) * channels,
        **changes,
    )
    return Run(model, ("a", "b", "c"), prepare, {}, pathlib.Path("run"))


@pytest.fixture(scope="module")
def run():
    return run_of()


PIXELS = scene(20, 30)


def same(answers, others):
    for answer, other in zip(answers, others, strict=True):
        assert [name for name, _ in answer] == [name for name, _ in other]
        np.testing.assert_allclose(
            [share for _, share in answer], [share for _, share in other], atol=1e-6
        )


@pytest.fixture
def path(tmp_path):
    file = tmp_path / "one.png"
    file.write_bytes(encoded(PIXELS, "PNG"))
    return file


ONE = {
    "a path": lambda path: path,
    "a path as text": str,
    "bytes": lambda path: path.read_bytes(),
    "a Pillow image": lambda path: Image.open(path),
    "one with transparency": lambda path: Image.open(path).convert("RGBA"),
    "uint8": lambda path: PIXELS,
    "float32": lambda path: PIXELS.astype(np.float32) + 0.3 * (PIXELS < 255),
    "int64": lambda path: PIXELS.astype(np.int64),
    "uint16": lambda path: PIXELS.astype(np.uint16),
    "a tensor": lambda path: tf.constant(PIXELS, tf.float32),
    "lists": lambda path: PIXELS.tolist(),
}


@pytest.mark.parametrize("form", ONE)
def test_one_image_and_many_of_every_form(run, path, form):
    expected = run.predict(PIXELS[np.newaxis])
    assert len(expected) == 1 and len(expected[0]) == 3
    same(run.predict(ONE[form](path)), expected)
    same(run.predict([ONE[form](path), ONE[form](path)]), expected * 2)


def test_many_images_of_several_forms_in_one_call(run, path):
    expected = run.predict(PIXELS)
    mixed = (one for one in (path, PIXELS, Image.open(path), path.read_bytes()))
    same(run.predict(mixed), expected * 4)
    same(run.predict(np.stack([PIXELS] * 3).astype("float64")), expected * 3)
    same(run.predict([np.stack([PIXELS] * 2)] * 2), expected * 4)  # A list of batches.


def test_grey_images():
    run, grey = run_of(channels=1), scene(20, 30)[..., 0]
    expected = run.predict(grey[np.newaxis, ..., np.newaxis])
    file = encoded(grey, "PNG")
    for one in (grey, grey[..., np.newaxis], Image.fromarray(grey), file):
        same(run.predict(one), expected)
    same(run.predict(np.stack([grey] * 2)), expected * 2)
    # 16 bits are cut to the upper eight, as in files.
    deep = Image.fromarray(grey.astype(np.uint16) * 257)
    same(run.predict(deep), expected)
    same(run_of().predict(deep), run_of().predict(np.stack([grey] * 3, axis=-1)))


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (PIXELS / 255, "float64 from 0 to 0.9.*, as if divided by 255"),
        ([PIXELS, PIXELS / 255], r"`images\[1\]` must hold numbers"),
        (PIXELS / 60 - 2, "not normalized"),
        (PIXELS > 100, "Received: bool"),
        (np.full((8, 8, 3), np.nan), "NaN"),
        (PIXELS.astype(np.uint16) * 257, "uint16 from 0 to"),
        (
            PIXELS[..., :2],
            r"one image, \(height, width, 3\).*Received: shape \(20, 30, 2",
        ),
        (PIXELS[..., 0], r"Received: shape \(20, 30\)"),
        (np.zeros((0, 0, 3), np.uint8), r"Received: shape \(0, 0, 3\)"),
        ([], "at least one image"),
        (np.zeros((0, 8, 8, 3), np.uint8), "at least one image"),
        (b"no image", "`images` must be a .* image"),
        ([PIXELS, b""], r"`images\[1\]` must be a .* image"),
        ([None], "Received: object"),
        ([[[1, 2], [3]]], "can't be made an array"),
    ],
)
def test_what_is_no_image_is_said(run, images, message):
    with pytest.raises(ValueError, match=message):
        run.predict(images)


def test_a_damaged_pillow_image_is_said(run):
    whole = encoded(
        np.random.default_rng(0).integers(0, 256, (99, 99, 3), "uint8"), "PNG"
    )
    image = Image.open(io.BytesIO(whole[: len(whole) // 2]))
    with pytest.raises(ValueError, match="`images` can't be read"):
        run.predict(image)


def test_missing_files_are_named(run, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"missing\.png; there is no file"):
        run.predict([tmp_path / "missing.png"])


@pytest.mark.slow
def test_a_batch_of_images_is_held_at_a_time(run, path, monkeypatch):
    read, computed = 0, 0

    def paths():
        nonlocal read
        for _ in range(3 * BATCH + 5):
            read += 1
            assert read - computed <= BATCH + 1
            yield path

    def scores(self, images):
        nonlocal computed
        computed += len(images)
        assert len(images) <= BATCH
        return np.tile([0.2, 0.5, 0.3], (len(images), 1))

    monkeypatch.setattr(Run, "scores", scores)
    answers = run.predict(paths(), top=1)
    assert answers == [[("b", 0.5)]] * (3 * BATCH + 5)


def test_every_form_is_turned_upright(tmp_path):
    turning, plain = run_of(), run_of(exif_orientation=False)
    expected = turning.predict(PIXELS)
    for orientation in (3, 6, 8):
        file = with_exif(
            encoded(stored_as(PIXELS, orientation), "PNG"), exif(orientation)
        )
        (tmp_path / "lying.png").write_bytes(file)
        image = Image.open(io.BytesIO(file))
        for one in (file, tmp_path / "lying.png", image):
            same(turning.predict(one), expected)
            same(plain.predict(one), plain.predict(stored_as(PIXELS, orientation)))


def test_a_folder_is_said_to_be_one(run, tmp_path):
    with pytest.raises(IsADirectoryError, match="is a folder. Give the images in it"):
        run.predict(tmp_path)


def test_what_holds_no_images_is_named(run):
    for images in (None, 7):
        with pytest.raises(ValueError, match=f"`images` must be .*Received: {images}"):
            run.predict(images)


def test_scores_go_through_the_same_check(run):
    images = np.full((2, 8, 8, 3), 90.2)
    np.testing.assert_allclose(run.scores(images), run.scores(np.uint8(images)))
    with pytest.raises(ValueError, match="as if divided by 255"):
        run.scores(images / 255)
