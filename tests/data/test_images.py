"""Deterministic image to image: decoding, resizing, cropping, normalizing."""

import io
import math
from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from keras_resnet.config.preprocessing import Preprocessing
from keras_resnet.data.decoding import decode, decode_window
from keras_resnet.data.images import (
    normalize,
    per_pixel_mean,
    prepare,
    resize_and_crop,
    resize_then_crop,
    resize_window,
)
from keras_resnet.data.sources import Examples

RGB = dict(channels=3, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))


@pytest.fixture
def photo():
    """A smooth colour image, 21 x 30: what JPEG represents well."""
    y, x = np.mgrid[:21, :30]
    image = np.stack([x * 8, y * 12, 255 - x * 4 - y * 5], axis=-1)
    return image.astype(np.uint8)


def encoded(image, format, **options):
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def by_pillow(contents, channels):
    image = Image.open(io.BytesIO(contents)).convert("RGB" if channels == 3 else "L")
    return np.asarray(image).reshape(image.height, image.width, channels)


def files(photo):
    image = Image.fromarray(photo)
    alpha = image.copy()
    alpha.putalpha(100)
    palette = image.quantize(17)
    return {
        "rgb.png": encoded(image, "PNG"),
        "grey.png": encoded(image.convert("L"), "PNG"),
        "bilevel.png": encoded(image.convert("1"), "PNG"),
        "palette.png": encoded(palette, "PNG"),
        "transparent palette.png": encoded(palette, "PNG", transparency=3),
        "alpha.png": encoded(alpha, "PNG"),
        "grey with alpha.png": encoded(alpha.convert("LA"), "PNG"),
        "rgb.bmp": encoded(image, "BMP"),
        "grey.bmp": encoded(image.convert("L"), "BMP"),
        "palette.bmp": encoded(palette, "BMP"),
        "alpha.bmp": encoded(alpha, "BMP"),
        "one.gif": encoded(palette, "GIF"),
        "animated.gif": encoded(
            palette, "GIF", save_all=True, append_images=[image.rotate(90).quantize(5)]
        ),
    }


@pytest.mark.parametrize("channels", [1, 3])
def test_lossless_files_decode_as_pillow_decodes_them(photo, channels):
    for name, contents in files(photo).items():
        ours = decode(tf.constant(contents), channels)
        np.testing.assert_array_equal(ours, by_pillow(contents, channels), name)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_jpeg_decodes_as_pillow_decodes_it(photo, mode, channels):
    contents = encoded(Image.fromarray(photo).convert(mode), "JPEG", quality=95)
    ours = decode(tf.constant(contents), channels).numpy().astype(int)
    # Equal here; another libjpeg may round otherwise, the fast transform is 5 off.
    assert np.abs(ours - by_pillow(contents, channels)).max() <= 1


def test_16_bit_png_is_cut_to_its_upper_byte():
    values = np.arange(48, dtype=np.uint16).reshape(6, 8) * 1300
    contents = encoded(Image.fromarray(values), "PNG")
    for channels in (1, 3):
        ours = decode(tf.constant(contents), channels)
        expected = np.repeat(values[..., None] >> 8, channels, axis=-1)
        np.testing.assert_array_equal(ours, expected)


@pytest.mark.parametrize("contents", [b"", b"B", b"BM", b"no image", b"\xff\xd8\xff"])
def test_what_is_no_image_is_refused(contents):
    with pytest.raises(tf.errors.InvalidArgumentError):
        decode(tf.constant(contents), 3)


def test_resizing_the_shorter_side_is_pillows_resizing(photo):
    wide = np.repeat(np.repeat(photo, 3, axis=0), 4, axis=1)  # 63 x 120.
    wide[10:20, 30:50] = 255
    p = Preprocessing(resize=32, size=(28, 24), **RGB)
    ours = resize_and_crop(wide, p).numpy().astype(int)
    resized = Image.fromarray(wide).resize((120 * 32 // 63, 32), Image.BILINEAR)
    left = (60 - 24) // 2
    expected = np.asarray(resized)[2:30, left : left + 24].astype(int)
    assert ours.shape == (28, 24, 3)
    assert np.abs(ours - expected).max() <= 1


def test_the_window_is_a_slice_of_the_resized_image(photo):
    ours = resize_then_crop(photo, (47, 68), (5, 11), (20, 30))
    whole = tf.image.resize(photo, (47, 68), antialias=True)
    np.testing.assert_allclose(ours, whole[5:25, 11:41], atol=1e-3)


def test_straight_resizing_ignores_the_aspect(photo):
    p = Preprocessing(resize=None, size=(16, 16), **RGB)
    ours = resize_and_crop(photo, p).numpy().astype(int)
    expected = np.asarray(Image.fromarray(photo).resize((16, 16), Image.BILINEAR))
    assert np.abs(ours - expected).max() <= 1


@pytest.mark.parametrize("resize", [None, 21])
def test_images_of_the_right_size_stay_as_they_are(photo, resize):
    square = photo[:, :21]
    p = Preprocessing(resize=resize, size=(21, 21), **RGB)
    np.testing.assert_array_equal(resize_and_crop(square, p), square)


def test_a_batch_is_resized_like_its_images(photo):
    p = Preprocessing(resize=18, size=(16, 16), **RGB)
    batch = np.stack([photo, 255 - photo])
    ours = resize_and_crop(batch, p)
    np.testing.assert_array_equal(ours[1], resize_and_crop(255 - photo, p))


def test_rounding_is_to_the_nearest_value():
    p = Preprocessing(resize=None, size=(1, 1), **RGB)
    image = np.array([[[0, 10, 250]] * 3 + [[3, 10, 255]]], np.uint8)[:, 2:]
    # Means 1.5, 10, 252.5: half to even, never cut.
    assert resize_and_crop(image, p).numpy().ravel().tolist() == [2, 10, 252]


def test_works_in_a_saved_model_with_unknown_sizes(photo, tmp_path):
    p = Preprocessing(resize=18, size=(16, 16), **RGB)
    module = tf.Module()
    module.serve = tf.function(
        lambda contents: normalize(
            tf.map_fn(lambda c: prepare(c, p), contents, fn_output_signature=tf.uint8),
            p,
        ),
        input_signature=[tf.TensorSpec([None], tf.string)],
    )
    tf.saved_model.save(module, tmp_path)
    contents = list(files(photo).values()) + [
        encoded(Image.fromarray(photo[:18, :18]), "JPEG")
    ]
    served = tf.saved_model.load(tmp_path).serve(tf.constant(contents))
    assert served.shape == (len(contents), 16, 16, 3)
    for one, c in zip(served, contents, strict=True):
        np.testing.assert_array_equal(one, tf.cast(prepare(c, p), tf.float32))


def test_normalizing_subtracts_then_divides():
    p = Preprocessing(
        channels=3, resize=None, size=(2, 2), mean=(1.0, 2.0, 3.0), std=(2.0, 4.0, 5.0)
    )
    images = np.full((5, 2, 2, 3), 11, np.uint8)
    ours = normalize(images, p)
    assert ours.dtype == tf.float32
    np.testing.assert_allclose(ours[3, 1, 0], [5.0, 2.25, 1.6])


def test_a_mean_per_pixel():
    images = np.random.default_rng(0).integers(0, 256, (7, 4, 5, 3), np.uint8)
    mean = per_pixel_mean(Examples(images, np.zeros(7, np.int32)))
    p = Preprocessing(channels=3, resize=None, size=(4, 5), mean=mean, std=(1, 1, 1))
    assert np.abs(np.mean(normalize(images, p), axis=0)).max() < 0.006
    assert all(v == round(v, 2) for row in mean for pixel in row for v in pixel)


@pytest.mark.parametrize(
    "mean",
    [
        (1.0,),
        (1.0, 2.0, 3.0, 4.0),
        (((1.0, 2.0, 3.0),) * 4,) * 5,  # Width by height.
        (((1.0, 2.0, 3.0),) * 5, *(((1.0, 2.0),) * 5,) * 3),
        ((1.0,), (2.0,), (3.0,)),
        1.0,
    ],
    ids=["too few", "too many", "other size", "ragged", "nested", "a number"],
)
def test_a_mean_that_fits_no_image_is_refused(mean):
    with pytest.raises(ValueError, match="`mean` must hold 3 finite values"):
        Preprocessing(channels=3, resize=None, size=(4, 5), mean=mean, std=(1, 1, 1))


def test_a_mean_per_pixel_needs_pixels():
    encoded_images = np.array([b"a"], dtype=object)
    with pytest.raises(ValueError, match="must hold pixels"):
        per_pixel_mean(Examples(encoded_images, np.zeros(1, np.int32)))


def test_channels_are_never_broadcast():
    p = Preprocessing(resize=None, size=(2, 2), **RGB)
    with pytest.raises(ValueError, match="must have `preprocessing.channels`"):
        normalize(np.zeros((2, 2, 1), np.uint8), p)


def test_bicubic_resizing_is_pillows_resizing(photo):
    preprocessing = Preprocessing(**RGB, resize=7, size=(7, 7), interpolation="bicubic")
    ours = np.asarray(prepare(encoded(Image.fromarray(photo), "PNG"), preprocessing))
    whole = Image.fromarray(photo).resize((10, 7), Image.Resampling.BICUBIC)
    cut = np.asarray(whole)[:, 2:9]  # Half of 3, rounded to even.
    assert np.abs(ours.astype(int) - cut).max() <= 1
    bilinear = replace(preprocessing, interpolation="bilinear")
    other = np.asarray(prepare(encoded(Image.fromarray(photo), "PNG"), bilinear))
    assert np.abs(other.astype(int) - cut).max() > 1


def test_bgr_reverses_the_channels_before_the_mean_is_subtracted(photo):
    preprocessing = Preprocessing(
        channels=3,
        resize=None,
        size=(21, 30),
        mean=(1.0, 2.0, 3.0),
        std=(1.0, 2.0, 4.0),
        channel_order="bgr",
    )
    blue, green, red = np.moveaxis(np.asarray(normalize(photo, preprocessing)), -1, 0)
    np.testing.assert_allclose(blue, photo[..., 2] - 1.0)
    np.testing.assert_allclose(green, (photo[..., 1] - 2.0) / 2)
    np.testing.assert_allclose(red, (photo[..., 0] - 3.0) / 4)


@pytest.mark.parametrize(
    "wrong",
    [
        {"channel_order": "brg"},
        {"interpolation": "nearest"},
        {"crop_rounding": "half"},
    ],
)
def test_orders_and_interpolations_that_there_are_not(wrong):
    with pytest.raises(ValueError, match="must be one of"):
        Preprocessing(**RGB, resize=None, size=(8, 8), **wrong)


def test_records_of_before_load():
    preprocessing = Preprocessing(**RGB, resize=None, size=(8, 8))
    values = preprocessing.as_json()
    for name in ("channel_order", "interpolation", "crop_rounding", "exif_orientation"):
        del values[name]
    earlier = replace(preprocessing, crop_rounding="floor", exif_orientation=False)
    assert Preprocessing.from_json(values) == earlier


@pytest.mark.parametrize("rounding", ["floor", "round", "ceil"])
def test_the_central_crop_is_rounded_as_said(rounding):
    rounded = {"floor": math.floor, "round": round, "ceil": math.ceil}[rounding]
    for width in range(8, 17):
        image = np.repeat(np.arange(width, dtype=np.uint8)[None, :, None], 8, axis=0)
        p = Preprocessing(
            channels=1,
            resize=8,
            size=(8, 8),
            mean=(0.0,),
            std=(1.0,),
            crop_rounding=rounding,
        )
        assert int(resize_and_crop(image, p)[0, 0, 0]) == rounded((width - 8) / 2)


def test_a_window_of_a_photograph_is_decoded_nearly_as_the_whole(shared_data):
    files = sorted((shared_data / "imagenet_samples").glob("*.JPEG"))[:20]
    differences = []
    for file in files:
        contents = file.read_bytes()
        whole = decode(contents, 3).numpy()
        top, left = whole.shape[0] // 5, whole.shape[1] // 7
        window = decode_window(contents, lambda _, w=(top, left, 90, 110): w, 3)
        expected = whole[top : top + 90, left : left + 110].astype(np.float32)
        differences.append(np.abs(window.numpy() - expected))
    # What the fast transform and the repeated colours cost: 1.3 grey levels.
    assert 0.5 < np.mean(differences) < 2
    assert np.quantile(differences, 0.99) < 10


@pytest.mark.parametrize(("side", "ratio"), [(300, 1), (140, 2), (70, 4), (8, 8)])
def test_large_windows_are_decoded_shrunken(shared_data, side, ratio):
    file = sorted((shared_data / "imagenet_samples").glob("*.JPEG"))[0]
    contents = file.read_bytes()
    window = (24, 40, 304, 320)
    whole = decode(contents, 3).numpy()[24 : 24 + 304, 40 : 40 + 320]
    small = decode_window(contents, lambda _: window, 3, (side, side))
    assert small.shape == (304 // ratio, 320 // ratio, 3)
    difference = np.float32(small) - mean_of_blocks(whole, ratio)
    # What the fast transform costs, as in the test above.
    assert np.abs(difference).mean() < 2


def mean_of_blocks(image, ratio):
    height, width, channels = image.shape
    blocks = np.float32(image).reshape(
        height // ratio, ratio, width // ratio, ratio, channels
    )
    return blocks.mean((1, 3))


def test_windows_grow_as_pillows():
    image = np.random.default_rng(0).integers(0, 256, (50, 40, 3), np.uint8)
    expected = Image.fromarray(image).resize((70, 90), Image.Resampling.BILINEAR)
    ours = resize_window(image, (90, 70))
    assert np.abs(ours - np.asarray(expected, np.float32)).max() <= 1.01


def test_windows_shrink_to_the_mean_over_an_area():
    image = np.random.default_rng(0).integers(0, 256, (60, 40, 3), np.uint8)
    halves = image.reshape(30, 2, 20, 2, 3).mean((1, 3))
    np.testing.assert_allclose(resize_window(image, (30, 20)), halves, atol=1e-3)


def test_shrunken_photographs_are_nearly_pillows(shared_data):
    file = sorted((shared_data / "imagenet_samples").glob("*.JPEG"))[0]
    image = decode(file.read_bytes(), 3).numpy()
    pillow = Image.fromarray(image).resize((224, 224), Image.Resampling.BILINEAR)
    difference = np.abs(
        resize_window(image, (224, 224)) - np.asarray(pillow, np.float32)
    )
    assert np.mean(difference) < 2.5
