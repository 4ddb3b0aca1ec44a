"""Image files that a served graph must refuse or answer rightly, given to the graph."""

import io
import struct
import zlib

import keras
import numpy as np
import pytest
from PIL import Image

from keras_resnet.config.preprocessing import Preprocessing
from keras_resnet.data.decoding import decode
from keras_resnet.data.images import prepare
from keras_resnet.export import limits
from keras_resnet.runs.export import export_model
from tests.helpers.pictures import gif_header
from tests.helpers.served import Served

tf = pytest.importorskip("tensorflow")
pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="the graph is TensorFlow's"
)

PREPARE = Preprocessing(
    channels=3, resize=18, size=(16, 16), mean=(120.0,) * 3, std=(60.0,) * 3
)
PIXELS = np.random.default_rng(0).integers(0, 256, (40, 50, 3), "uint8")
REFUSED_FORMAT = "must be a JPEG, PNG, BMP, GIF or WebP file"
REFUSED_SIZE = "must have from 1 to 67,108,864 pixels"
REFUSED_FRAMES = "All frames of a GIF together must have at most 67,108,864 pixels"
REFUSED_SCANS = "at most 100 scans. Received one that has .*110"


def encoded(form, mode="RGB", **options):
    file = io.BytesIO()
    Image.fromarray(PIXELS).convert(mode).save(file, form, **options)
    return file.getvalue()


def png(width, height):
    """A PNG's beginning: its header says this size, and no data follow."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    crc = struct.pack(">I", zlib.crc32(header))
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + header + crc


def decoded_size(contents):
    return decode(tf.constant(contents), 3).shape[:2]


def png_of_16_bits():
    file = io.BytesIO()
    values = np.arange(400, dtype=np.uint16).reshape(20, 20) * 160
    Image.fromarray(values).save(file, "PNG")
    return file.getvalue()


JPEG = encoded("JPEG")
PROGRESSIVE = encoded("JPEG", progressive=True)
BMP = encoded("BMP")
GIF = encoded("GIF")
WEBP = encoded("WEBP")


def jpeg(width, height):
    """A JPEG whose header says another size than it has."""
    sides = JPEG.index(b"\xff\xc0") + 5  # After the marker, length and precision.
    return JPEG[:sides] + struct.pack(">HH", height, width) + JPEG[sides + 4 :]


def bmp(width, height):
    return BMP[:18] + struct.pack("<ii", width, height) + BMP[26:]


def animated_webp():
    return encoded("WEBP", save_all=True, append_images=[Image.fromarray(255 - PIXELS)])


def webp(kind, width, height):
    """A WebP of one of its three forms, whose header says this size."""
    small = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    bits = (width - 1) | (height - 1) << 14
    header = {
        b"VP8 ": b"\x10\x00\x00\x9d\x01\x2a"
        + struct.pack("<HH", width % 2**16, height % 2**16),
        b"VP8L": b"\x2f" + struct.pack("<I", bits % 2**32),
        b"VP8X": bytes(4) + small,
    }[kind]
    body = b"WEBP" + kind + struct.pack("<I", len(header)) + header
    return b"RIFF" + struct.pack("<I", len(body)) + body


def extended_webp():
    alpha = Image.fromarray(PIXELS).convert("RGBA")
    alpha.putalpha(Image.fromarray(PIXELS[..., 0]))
    file = io.BytesIO()
    alpha.save(file, "WEBP", quality=80)
    return file.getvalue()


def many_scans():
    last = PROGRESSIVE.rindex(b"\xff\xda")
    return PROGRESSIVE[:-2] + 100 * PROGRESSIVE[last:-2] + PROGRESSIVE[-2:]


REFUSED = {
    "empty": (b"", REFUSED_FORMAT),
    "one byte": (b"\xff", REFUSED_FORMAT),
    "text": (b"not an image", REFUSED_FORMAT),
    "random bytes": (np.random.default_rng(1).bytes(5000), REFUSED_FORMAT),
    "GIF's magic": (b"GIF89a", REFUSED_SIZE),
    "GIF without frames": (GIF[:781] + b";", REFUSED_SIZE),
    "half a GIF": (GIF[: len(GIF) // 2], "GIF"),
    "GIF of 20,000x20,000": (gif_header((20_000, 20_000)), REFUSED_SIZE),
    "GIF of many large frames": (gif_header(*[(8192, 4096)] * 3), REFUSED_FRAMES),
    "GIF of a high and a broad frame": (
        gif_header((1, 65_000), (65_000, 1)),
        REFUSED_SIZE,
    ),
    "GIF of many blocks": (GIF[:-2] + b"\x01\x00" * 2**15 + b"\0;", "at most 32,768"),
    "RIFF that is no WebP": (b"RIFF\x04\x00\x00\x00WAVEVP8 ", REFUSED_FORMAT),
    "WebP's magic": (b"RIFF\x00\x00\x00\x00WEBPVP8 ", REFUSED_SIZE),
    "half a WebP": (WEBP[: len(WEBP) // 2], "WebP"),
    "animated WebP": (animated_webp(), "must not be animated"),
    "WebP of 16,383x16,383": (webp(b"VP8 ", 16_383, 16_383), REFUSED_SIZE),
    "lossless WebP of 16,384x16,384": (webp(b"VP8L", 16_384, 16_384), REFUSED_SIZE),
    "extended WebP of 2^24x2^24": (webp(b"VP8X", 2**24, 2**24), REFUSED_SIZE),
    "BMP of 1 bit": (encoded("BMP", "1"), "must have 8, 24 or 32 bits"),
    "JPEG's magic": (JPEG[:3], "JPEG"),
    "a piece of a JPEG's header": (JPEG[:20], "JPEG"),
    "half a JPEG": (JPEG[: len(JPEG) // 2], "JPEG"),
    "PNG's magic": (b"\x89PNG\r\n\x1a\n", REFUSED_SIZE),
    "a piece of a PNG's header": (png(40, 50)[:20], REFUSED_SIZE),
    "a PNG's header": (png(40, 50), "PNG"),
    "half a PNG": (encoded("PNG")[:3000], "PNG"),
    "BMP's magic": (b"BM", REFUSED_SIZE),
    "half a BMP": (BMP[:3000], "Input size should match"),
    "JPEG of 0x0": (jpeg(0, 0), "JPEG"),
    "PNG of 0x0": (png(0, 0), REFUSED_SIZE),
    "BMP of 0x0": (bmp(0, 0), REFUSED_SIZE),
    "JPEG of 20,000x20,000": (jpeg(20_000, 20_000), REFUSED_SIZE),
    "PNG of 20,000x20,000": (png(20_000, 20_000), REFUSED_SIZE),
    "BMP of 20,000x20,000": (bmp(20_000, 20_000), REFUSED_SIZE),
    "JPEG of one pixel more": (jpeg(8193, 8192), REFUSED_SIZE),
    "JPEG of 65,535x65,535": (jpeg(65_535, 65_535), "JPEG"),
    "PNG of a long side": (png(65_501, 1), REFUSED_SIZE),
    "PNG of the longest side": (png(2**31 - 1, 1), REFUSED_SIZE),
    "PNG of a side beyond 31 bits": (png(2**32 - 1, 2**32 - 1), REFUSED_SIZE),
    "BMP of a side without opposite": (bmp(20, -(2**31)), REFUSED_SIZE),
    "JPEG of 110 scans": (many_scans(), REFUSED_SCANS),
}
ANSWERED = {
    "JPEG": JPEG,
    "progressive JPEG": PROGRESSIVE,
    "CMYK JPEG": encoded("JPEG", "CMYK"),
    "grey JPEG": encoded("JPEG", "L"),
    "PNG": encoded("PNG"),
    "PNG of 16 bits": png_of_16_bits(),
    "PNG with alpha": encoded("PNG", "RGBA"),
    "PNG with a palette": encoded("PNG", "P"),
    "PNG of two colours": encoded("PNG", "1"),
    "BMP": BMP,
    "GIF": GIF,
    "grey GIF": encoded("GIF", "L"),
    "animated GIF": encoded(
        "GIF", save_all=True, append_images=[Image.fromarray(255 - PIXELS)]
    ),
    "WebP": WEBP,
    "lossless WebP": encoded("WEBP", lossless=True),
    "WebP with alpha": encoded("WEBP", "RGBA", lossless=True),
    "extended WebP": extended_webp(),
    # By a negative height.
    "BMP, upper row first": bmp(PIXELS.shape[1], -PIXELS.shape[0]),
}


# What only decoding them tells.
WHOLE_HEADERS = (
    "half a JPEG",
    "a PNG's header",
    "half a PNG",
    "half a BMP",
    "half a GIF",
    "half a WebP",
    "BMP of 1 bit",
)
# Whose header TensorFlow's decoder refuses in the graph, with a message of its own.
UNREADABLE = ("JPEG's magic", "a piece of a JPEG's header", "JPEG of 0x0")


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    keras.utils.set_random_seed(0)
    inputs = keras.Input((16, 16, 3))
    x = keras.layers.Conv2D(16, 3, strides=4)(inputs)
    model = keras.Model(inputs, keras.layers.Dense(3)(keras.layers.Flatten()(x)))
    path = export_model(model, tmp_path_factory.mktemp("limits"), PREPARE, list("abc"))
    with Served(path) as served:
        yield served


@pytest.mark.parametrize("name", REFUSED)
def test_refused(served, name):
    contents, message = REFUSED[name]
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        served("serving_default", image_bytes=[contents])


@pytest.mark.parametrize("name", REFUSED)
def test_refused_by_the_server_as_by_the_graph(name):
    contents, message = REFUSED[name]
    if name in WHOLE_HEADERS:
        assert limits.check_header(contents) == PIXELS[..., 0].size
        return
    if name in UNREADABLE:
        message = "A JPEG must have a header that can be read"
    elif name == "JPEG of 65,535x65,535":
        message = REFUSED_SIZE
    with pytest.raises(ValueError, match=message):
        limits.check_header(contents)


@pytest.mark.parametrize("name", ANSWERED)
def test_answered_by_the_server_as_by_the_graph(name):
    height, width = decoded_size(ANSWERED[name])
    frames = 2 if name == "animated GIF" else 1
    assert limits.check_header(ANSWERED[name]) == frames * height * width


def test_one_bad_image_fails_its_request_and_no_other(served):
    with pytest.raises(tf.errors.InvalidArgumentError, match=REFUSED_FORMAT):
        served("serving_default", image_bytes=[JPEG, b"", JPEG])
    assert served("serving_default", image_bytes=[JPEG])["scores"].shape == (1, 3)


@pytest.mark.parametrize("name", ANSWERED)
def test_answered_as_predict_answers(served, name):
    contents = ANSWERED[name]
    answer = served("serving_default", image_bytes=[contents])
    images = prepare(tf.constant(contents), PREPARE).numpy()[np.newaxis]
    np.testing.assert_allclose(
        answer["scores"], served("images", images=images)["scores"], atol=1e-6
    )
    assert np.ptp(images) > 50  # A picture, not one colour.


def test_the_largest_accepted_size_is_the_documented_one():
    assert limits.MAX_PIXELS == 8192 * 8192 == 67_108_864
    contents = tf.constant(jpeg(8192, 8192))
    assert limits.checked(contents).numpy() == contents.numpy()
    assert limits.check_header(contents.numpy()) == limits.MAX_PIXELS
