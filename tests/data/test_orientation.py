"""The EXIF orientation of files: read as Pillow reads it, in whole images and in parts."""

import io
import warnings

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageOps

from keras_resnet.data.decoding import decode, decode_window
from keras_resnet.data.orientation import orientation_of
from tests.helpers.photos import encoded, exif, scene, stored_as, turned, with_exif

EIGHT = range(1, 9)
ORDERS = ("little", "big")


@tf.function(input_signature=[tf.TensorSpec([], tf.string)])
def upright(contents):
    return decode(contents, 3, exif_orientation=True)


reading = tf.function(
    orientation_of, input_signature=[tf.TensorSpec([], tf.string)], autograph=False
)


def by_pillow(contents):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Of damaged data.
        image = ImageOps.exif_transpose(Image.open(io.BytesIO(contents)))
    return np.asarray(image.convert("RGB"))


@pytest.mark.parametrize("form", ["JPEG", "PNG"])
def test_all_orientations_in_both_byte_orders(form):
    for order in ORDERS:
        for orientation in EIGHT:
            file = with_exif(encoded(scene(), form), exif(orientation, order))
            ours = np.asarray(upright(file))
            expected = turned(by_pillow(encoded(scene(), form)), orientation)
            np.testing.assert_array_equal(ours, expected)
            np.testing.assert_array_equal(ours, by_pillow(file))
            # Unless it is asked for, it isn't looked at.
            as_stored = np.asarray(decode(tf.constant(file), 3))
            np.testing.assert_array_equal(as_stored, by_pillow(encoded(scene(), form)))


def test_chunks_of_webp():
    for order in ORDERS:
        for orientation in EIGHT:
            file = with_exif(encoded(scene(), "WEBP"), exif(orientation, order))
            assert int(reading(file)) == orientation


def test_what_was_stored_lying_is_seen_upright():
    for orientation in EIGHT:
        stored = encoded(stored_as(scene(), orientation), "PNG")
        file = with_exif(stored, exif(orientation))
        np.testing.assert_array_equal(upright(file), scene())


def test_entries_that_newer_cameras_write_before_it():
    for order, kind in (("little", b"\x81\0"), ("big", b"\0\x81")):
        data = bytearray(exif(6, order, before=17))  # Tags 0x0100 to 0x0110.
        for number in (14, 15, 16):
            place = 10 + 12 * number + 2
            data[place : place + 2] = kind  # UTF-8, since EXIF 3.0.
        assert int(reading(with_exif(JPEG, bytes(data)))) == 6


@pytest.mark.parametrize("order", ORDERS)
def test_directories_elsewhere(order):
    for place in (9, 10, 16, 63):
        data = exif(6, order)
        number = place.to_bytes(4, order)
        file = with_exif(JPEG, data[:4] + number + bytes(place - 8) + data[8:])
        assert int(reading(file)) == 6
        np.testing.assert_array_equal(upright(file), by_pillow(file))


@pytest.mark.parametrize("order", ORDERS)
def test_the_thumbnail_has_an_orientation_of_its_own(order):
    def without(data):
        """Another tag, 0x0113, in the place of the orientation."""
        tag = (0x0112).to_bytes(2, order)
        return data.replace(tag, (0x0113).to_bytes(2, order))

    own = without(exif(6, order))[:-4]
    second = exif(6, order)[8:]
    for gap in range(12):
        place = (len(own) + 4 + gap).to_bytes(4, order)
        file = with_exif(JPEG, own + place + bytes(gap) + second)
        assert int(reading(file)) == 1
    file = with_exif(JPEG, exif(1, order) + with_exif(JPEG, exif(6, order)))
    assert int(reading(file)) == 1


JPEG, PNG = encoded(scene()), encoded(scene(), "PNG")


def behind(*segments):
    """A JPEG that is lying, with segments before its EXIF data."""
    file = with_exif(JPEG, exif(6))
    return file[:2] + b"".join(segments) + file[2:]


@pytest.mark.parametrize(
    ("name", "file", "expected"),
    [
        ("no EXIF data", JPEG, 1),
        ("none in a PNG", PNG, 1),
        ("behind JFIF", JPEG[:20] + with_exif(JPEG, exif(6))[2:], 6),
        ("behind a comment", behind(b"\xff\xfe\x00\x06text"), 6),
        ("behind repeated 0xFF", behind(b"\xff\xff\xff"), 6),
        ("behind XMP", behind(b"\xff\xe1\x00\x0ahttp://n"), 6),
        ("behind empty segments", behind(*[b"\xff\xe5\x00\x02"] * 40), 6),
        ("the first of two", with_exif(with_exif(JPEG, exif(8)), exif(3)), 3),
        ("the first of two entries", with_exif(JPEG, exif(6)[:-4] + exif(8)[10:]), 6),
        ("0", with_exif(JPEG, exif(0)), 1),
        ("9", with_exif(JPEG, exif(9)), 1),
        ("65,535", with_exif(JPEG, exif(65_535)), 1),
        ("text", with_exif(JPEG, exif(6, kind=2)), 1),
        ("no entries", with_exif(JPEG, exif(6)[:8] + bytes(6)), 1),
        ("cut in the header", with_exif(JPEG, exif(6)[:6]), 1),
        ("cut in the entries", with_exif(JPEG, exif(6)[:40]), 1),
        ("a directory far away", with_exif(JPEG, exif(6)[:4] + b"\xff" * 60), 1),
        ("neither byte order", with_exif(JPEG, b"XX" + exif(6)[2:]), 1),
        ("empty", with_exif(JPEG, b""), 1),
        ("a segment beyond the end", JPEG[:2] + b"\xff\xe1\xff\xffExif\0\0", 1),
        ("nothing", b"", 1),
        ("begins like a JPEG", b"\xff\xd8\xff", 1),
        ("begins like a PNG", PNG[:8], 1),
        ("a chunk of 4 GB", PNG[:8] + b"\xff" * 8, 1),
        ("a BMP", encoded(scene(), "BMP"), 1),
    ],
)
def test_files_that_say_it_elsewhere_or_not_at_all(name, file, expected):
    assert int(reading(file)) == expected
    try:
        decoded = by_pillow(file)
    except (OSError, SyntaxError):
        return  # It is no image.
    np.testing.assert_array_equal(upright(file), decoded)


def test_of_a_jpeg_the_first_64_kb_are_searched():
    empty = b"\xff\xe5\x00\x02"
    profile = b"\xff\xe2\xea\x60" + bytes(59_998)
    assert int(reading(behind(*[empty] * 63))) == 6
    assert int(reading(behind(profile))) == 6
    assert int(reading(behind(profile, profile))) == 1
    assert int(reading(behind(*[empty] * 1_000_000))) == 1


def test_of_a_webp_all_is_searched():
    noise = np.random.default_rng(0).integers(256, size=(200, 200, 3), dtype=np.uint8)
    file = with_exif(encoded(noise, "WEBP", lossless=True), exif(6))
    assert len(file) > 100_000
    assert int(reading(file)) == 6


def test_changed_bytes_never_raise_an_error_and_mean_what_pillow_reads():
    chance = np.random.default_rng(0)
    start = with_exif(JPEG, exif(6, "big"))
    for _ in range(150):
        file = bytearray(start)
        for place in chance.integers(2, 110, chance.integers(1, 4)):
            file[place] = chance.integers(256)
        assert 1 <= int(reading(bytes(file))) <= 8


@pytest.mark.parametrize("form", ["JPEG", "PNG"])
def test_windows_are_parts_of_the_upright_image(form):
    top, left, height, width = window = (8, 16, 16, 24)
    size = (8, 12)  # Of a JPEG, half as many pixels are decoded.
    cut = tf.function(
        lambda contents: decode_window(
            contents, lambda _: window, 3, size, exif_orientation=True
        ),
        input_signature=[tf.TensorSpec([], tf.string)],
    )
    for orientation in EIGHT:
        stored = stored_as(scene(64, 64), orientation)
        file = with_exif(encoded(stored, form, quality=100), exif(orientation))
        part = np.asarray(cut(file)).astype(float)
        expected = scene(64, 64)[top : top + height, left : left + width].astype(float)
        if form == "JPEG":
            expected = expected.reshape(8, 2, 12, 2, 3).mean((1, 3))
        assert part.shape == expected.shape
        # Of a JPEG, what its compression and the fast transform cost.
        assert np.abs(part - expected).mean() < (3 if form == "JPEG" else 1e-6)


def test_windows_are_chosen_in_the_upright_size():
    sizes = []

    def choose(size):
        sizes.append(size)
        return tf.concat([[0, 0], size], axis=0)

    for orientation, expected in ((1, (48, 64)), (3, (48, 64)), (6, (64, 48))):
        file = with_exif(encoded(scene()), exif(orientation))
        image = decode_window(tf.constant(file), choose, 3, exif_orientation=True)
        assert tuple(sizes.pop().numpy()) == expected == tuple(image.shape[:2])


def test_the_graph_stays_small():
    # Each node takes about 10 microseconds per image, in branches that aren't taken, too.
    def nodes(**options):
        function = tf.function(lambda contents: decode(contents, 3, **options))
        graph = function.get_concrete_function(tf.TensorSpec([], tf.string)).graph
        graph = graph.as_graph_def()
        branches = sum(len(branch.node_def) for branch in graph.library.function)
        return len(graph.node) + branches

    assert nodes(exif_orientation=True) - nodes() <= 60
