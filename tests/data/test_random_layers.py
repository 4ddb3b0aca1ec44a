"""Random layers: against the functions of `augmentation`, and as Keras's own behave."""

import os
import subprocess
import sys
from dataclasses import replace

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_resnet import layers
from keras_resnet.config.augmentations import InceptionCrop, PadCropFlip, ScaleCropFlip
from keras_resnet.config.preprocessing import Preprocessing
from keras_resnet.data import augmentation, colors, images

SIDES = (90, 120)


def photographs(count=4, height=40, width=56):
    rng = np.random.default_rng(0)
    return rng.uniform(0, 255, (count, height, width, 3)).astype("float32")


def array(tensor):
    return keras.ops.convert_to_numpy(tensor)


def distance(some, others):
    """Kolmogorov and Smirnov's: the largest one between two cumulative histograms."""
    both = np.sort(np.concatenate([some, others]))
    shares = [
        np.searchsorted(np.sort(a), both, "right") / len(a) for a in (some, others)
    ]
    return np.abs(shares[0] - shares[1]).max()


def same(some, others):
    """Whether two samples come from one distribution; wrong once in 2,000 times."""
    return distance(some, others) < 1.95 * np.sqrt(1 / len(some) + 1 / len(others))


@pytest.fixture(scope="module")
def windows():
    """What `random_window` draws: top, left, height and width."""

    @tf.function
    def draw(count):
        return tf.map_fn(
            lambda k: augmentation.random_window(
                tf.constant(SIDES),
                tf.stack([7, k]),
                area=(0.08, 1),
                aspect=(3 / 4, 4 / 3),
            ),
            tf.range(count),
            parallel_iterations=64,
        )

    return draw(6_000).numpy().astype("float64")


def drawn_windows(**options):
    layer = layers.RandomInceptionCrop(32, seed=3, **options)
    drawn = layer.get_random_transformation(np.zeros((6_000, *SIDES, 1), "uint8"))
    return np.stack([array(drawn[n]) for n in ("top", "left", "height", "width")], 1)


def measures(windows):
    top, left, height, width = windows.T
    return {
        "area": height * width,
        "aspect": width / height,
        "vertical": top / np.maximum(1, SIDES[0] - height),
        "horizontal": left / np.maximum(1, SIDES[1] - width),
    }


def test_inception_crops_are_distributed_as_the_pipelines(windows):
    ours, others = measures(drawn_windows()), measures(windows)
    for name in ours:
        assert same(ours[name], others[name]), name
    # What the bound would notice.
    for name, wrong in (
        ("area", {"area": (0.16, 1.0)}),
        ("aspect", {"aspect": (0.6, 1)}),
    ):
        assert not same(measures(drawn_windows(**wrong))[name], others[name])


def places(cropped, padding):
    """Top, left and whether mirrored, from crops of images that show their places."""
    middle = cropped.shape[1] // 2
    mirrored = cropped[:, middle, middle, 1] < cropped[:, middle, middle - 1, 1]
    row = middle - padding  # Of the original where it isn't shifted.
    column = np.where(mirrored, cropped.shape[2] - 1 - middle, middle) - padding
    top = cropped[:, middle, middle, 0] - 1 - row
    return top, cropped[:, middle, middle, 1] - 1 - column, mirrored


@pytest.mark.parametrize("mode", ["zero", "reflect"])
def test_padded_crops_are_distributed_as_the_pipelines(mode):
    side, padding, count = 12, 2, 5_000
    one = np.stack(np.meshgrid(*[np.arange(1.0, side + 1)] * 2, indexing="ij"), -1)
    shown = np.broadcast_to(one.astype("float32"), (count, side, side, 2))
    layer = layers.augmentation_layer(PadCropFlip(padding=padding, mode=mode), seed=1)
    ours = array(layer(shown, training=True))
    others = augmentation.pad_crop_flip(
        shown, (1, 2), padding=padding, mode=mode
    ).numpy()
    counts = []
    for cropped in (ours, others):
        top, left, mirrored = (a.astype(int) for a in places(cropped, padding))
        assert {*top} == {*left} == set(range(2 * padding + 1))
        counts.append(np.bincount(top * 10 + left * 2 + mirrored, minlength=50))
    expected = sum(counts) / 2
    chi_squared = sum(((c - expected) ** 2 / expected).sum() for c in counts)
    assert chi_squared < 85  # Of 49 degrees of freedom: once in 1,000 times.
    # The same places show the same pixels, borders too.
    for place in ((0, 4, 0), (4, 1, 1)):
        first = [
            cropped[(np.stack(places(cropped, padding), 1) == place).all(1)][0]
            for cropped in (ours, others)
        ]
        np.testing.assert_array_equal(*first)
    still = layers.RandomPadCropFlip(padding, mode, flip=False, seed=1)
    assert not places(array(still(shown, training=True)), padding)[2].any()


def test_scales_are_distributed_as_they_should_be():
    layer = layers.RandomScaleCrop(24, (28, 40), seed=2)
    drawn = layer.get_random_transformation(np.zeros((4_000, 40, 56, 1), "uint8"))
    sides = array(drawn["resized"][0])
    assert {*sides} == set(range(28, 41))
    assert np.bincount(sides.astype(int))[28:].min() > 4_000 / 13 * 0.75
    for corner, resized in zip(drawn["corner"], drawn["resized"], strict=True):
        room = array(resized) - 24
        assert array(corner).min() == 0
        assert (array(corner) <= room).all()
        assert (array(corner) == room).any()
        assert abs((array(corner) / room).mean() - 0.5) < 0.03


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_parts_are_resized_as_by_tensorflow(interpolation):
    layer = layers.RandomInceptionCrop((20, 28), interpolation=interpolation, seed=1)
    photos = photographs(16)
    drawn = layer.get_random_transformation(photos)
    resized = array(layer.transform_images(photos, drawn))
    for k, photo in enumerate(photos):
        top, left, height, width = (
            int(array(drawn[name])[k]) for name in ("top", "left", "height", "width")
        )
        part = photo[top : top + height, left : left + width]
        expected = tf.image.resize(part, (20, 28), interpolation, antialias=True)
        if interpolation == "bilinear":
            np.testing.assert_allclose(resized[k], expected, atol=0.01)
        else:  # TensorFlow rounds Keys's kernel to a table of 1,024 places.
            np.testing.assert_allclose(resized[k], expected, atol=0.5)


@pytest.mark.parametrize("kind", [layers.RandomInceptionCrop, layers.RandomScaleCrop])
def test_at_inference_crops_are_those_of_evaluation(kind):
    size, resize = (24, 24), 28
    options = {"shorter_side": (28, 40)} if kind is layers.RandomScaleCrop else {}
    photos = photographs()
    seen = array(kind(24, resize=resize, **options)(photos, training=False))
    rows = Preprocessing(
        size=size, resize=resize, channels=3, mean=(0, 0, 0), std=(1, 1, 1)
    )
    evaluated = images.resize_and_crop(photos, rows).numpy()
    np.testing.assert_allclose(np.round(seen), evaluated, atol=1)
    assert np.abs(seen - evaluated).max() < 0.6


@pytest.mark.slow
def test_colours_change_as_the_pipelines():
    photo = photographs(1, 8, 8)
    many = np.repeat(photo, 3_000, 0)
    run = tf.function(
        lambda k: colors.pca_color(
            colors.color_jitter(photo[0], tf.stack([1, k]), strength=0.4),
            tf.stack([2, k]),
            alpha_std=0.1,
        )
    )
    others = np.stack([run(k).numpy() for k in tf.range(1_500)])
    blend = layers.RandomColorBlend(0.4, seed=1)
    ours = array(
        layers.RandomPCAColor(0.1, seed=2)(blend(many, training=True), training=True)
    )
    for measure in (
        lambda pixels: pixels.mean((1, 2, 3)),
        lambda pixels: pixels.std((1, 2, 3)),
        lambda pixels: pixels[..., 0].mean((1, 2)) - pixels[..., 2].mean((1, 2)),
    ):
        assert same(measure(ours), measure(others))
        wrong = array(layers.RandomColorBlend(0.2, seed=1)(many, training=True))
    assert not same(wrong.mean((1, 2, 3)), others.mean((1, 2, 3)))


# Each layer once, alone or as a recipe has it.
ALL = {
    "pad": lambda: layers.RandomPadCropFlip(4, "reflect", seed=1),
    "scale": lambda: layers.RandomScaleCrop((20, 24), (28, 40), "bicubic", seed=1),
    "recipe": lambda: layers.augmentation_layer(InceptionCrop(), 24, seed=1),
}


def test_a_layer_of_a_row_is_what_the_row_says():
    row = ScaleCropFlip(shorter_side=(28, 40), color=0.2)
    crop, flip, color = layers.augmentation_layer(row, 24, seed=1).layers
    assert (crop.size, crop.shorter_side, color.alpha_std) == ((24, 24), (28, 40), 0.2)
    assert type(flip) is keras.layers.RandomFlip
    row = InceptionCrop(area=(0.5, 1), aspect=(1, 2), jitter=0.0, color=0.0)
    crop, flip = layers.augmentation_layer(row, 24, seed=1).layers
    assert (crop.area, crop.aspect) == ((0.5, 1), (1, 2))
    for still in (replace(row, flip=False), ScaleCropFlip(color=0.0, flip=False)):
        (crop,) = layers.augmentation_layer(still, 24, seed=1).layers


@pytest.mark.slow
@pytest.mark.parametrize("name", ["pad", "scale", "recipe"])
def test_each_layer_behaves_as_keras_own(name, tmp_path):
    photos = photographs()
    layer = ALL[name]()
    first = array(layer(photos, training=True))
    assert first.dtype == "float32"
    # Each image has draws of its own, and each call; the seed decides them.
    alike = np.repeat(photos[:1], 4, 0)
    assert len({image.tobytes() for image in array(layer(alike, training=True))}) == 4
    assert not np.array_equal(array(layer(photos, training=True)), first)
    config = keras.saving.serialize_keras_object(ALL[name]())
    again = keras.saving.deserialize_keras_object(config)
    np.testing.assert_array_equal(array(again(photos, training=True)), first)
    # In tf.data: images of unknown sizes one by one, and batches.
    one_by_one = tf.data.Dataset.from_generator(
        lambda: iter(photos.astype("uint8")),
        output_signature=tf.TensorSpec((None, None, 3), tf.uint8),
    ).map(lambda image: layer(image, training=True))
    assert next(iter(one_by_one)).shape == first.shape[1:]
    batches = tf.data.Dataset.from_tensors(photos).map(
        lambda batch: layer(batch, training=True)
    )
    assert next(iter(batches)).shape == first.shape
    # In a model, which is saved and predicts without chance.
    inputs = keras.Input(photos.shape[1:])
    outputs = keras.layers.GlobalAveragePooling2D()(layer(inputs))
    model = keras.Model(inputs, outputs)
    assert layer(inputs).shape == (None, *first.shape[1:])
    model.compile("sgd", "mse")
    model.fit(photos, np.zeros((4, 3)), verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    for _ in range(2):
        np.testing.assert_allclose(
            loaded.predict(photos, verbose=0),
            model.predict(photos, verbose=0),
            rtol=1e-5,
        )


def test_channels_first():
    photos = photographs()
    turned = np.transpose(photos, (0, 3, 1, 2))
    for data_format, given in (("channels_last", photos), ("channels_first", turned)):
        layer = layers.RandomInceptionCrop((20, 24), seed=1, data_format=data_format)
        cropped = array(layer(given, training=True))
        if data_format == "channels_last":
            expected = np.transpose(cropped, (0, 3, 1, 2))
            continue
        np.testing.assert_array_equal(cropped, expected)
        assert layer.compute_output_shape((4, 3, 40, 56)) == (4, 3, 20, 24)


def test_impossible_values_are_refused():
    with pytest.raises(ValueError, match=r"area=\(0, 1\)"):
        layers.RandomInceptionCrop(24, area=(0, 1))
    with pytest.raises(ValueError, match="Received: 20"):
        layers.RandomInceptionCrop(24, resize=20)
    with pytest.raises(ValueError, match=r"shorter_side=\(20, 30\)"):
        layers.RandomScaleCrop(24, (20, 30))
    with pytest.raises(ValueError, match="mode='wrap'"):
        layers.RandomPadCropFlip(4, "wrap")
    with pytest.raises(ValueError, match="images with 1 channels"):
        layers.RandomPCAColor()(np.zeros((1, 4, 4, 1)), training=True)
    with pytest.raises(ValueError, match="size=None"):
        layers.augmentation_layer(InceptionCrop())
    with pytest.raises(NotImplementedError, match="not bounding boxes"):
        boxes = {"boxes": np.zeros((1, 1, 4)), "labels": np.zeros((1, 1))}
        layer = layers.RandomPadCropFlip(4, bounding_box_format="xyxy")
        layer({"images": photographs(1), "bounding_boxes": boxes}, training=True)


BACKENDS = """
import pathlib, tempfile
from tests.data import test_random_layers as test

for name in test.ALL:
    with tempfile.TemporaryDirectory() as folder:
        test.test_each_layer_behaves_as_keras_own(name, pathlib.Path(folder))
"""


@pytest.mark.exhaustive
@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_each_layer_on_other_backends(backend):
    pytest.importorskip(backend)
    done = subprocess.run(
        [sys.executable, "-c", BACKENDS],
        env=os.environ | {"KERAS_BACKEND": backend},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-2000:]
