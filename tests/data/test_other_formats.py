"""BMP, GIF and WebP files: right, or refused with a reason that says what to do."""

import io
import struct

import numpy as np
import pytest
from PIL import Image

from keras_resnet.config.preprocessing import Preprocessing
from keras_resnet.data import folders
from keras_resnet.data.decoding import decode
from keras_resnet.data.image_files import read_image

tf = pytest.importorskip("tensorflow")
Y, X = np.mgrid[0:20, 0:30]
PIXELS = np.stack([8 * X, 12 * Y, 5 * (X + Y)], -1).astype("uint8")
PREPARE = Preprocessing(
    channels=3, resize=None, size=(20, 30), mean=(0.0,) * 3, std=(1.0,) * 3
)


def encoded(form, mode="RGB", **options):
    image = Image.fromarray(PIXELS).convert(mode)
    if mode == "RGBA":
        image.putalpha(Image.fromarray((X * 8).astype("uint8")))
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def changed(contents, at, form, *values):
    """A file with other numbers in its header."""
    contents = bytearray(contents)
    struct.pack_into(form, contents, at, *values)
    return bytes(contents)


def rgb_of_16_bits():
    header = b"BM" + struct.pack("<IHHI", 54 + 32, 0, 0, 54)
    return (
        header
        + struct.pack("<IiiHHIIiiII", 40, 4, 4, 1, 16, 0, 32, 0, 0, 0, 0)
        + (bytes(32))
    )


OTHERS = {"save_all": True, "append_images": [Image.fromarray(255 - PIXELS)]}
RIGHT = {
    "BMP": encoded("BMP"),
    "BMP with a palette": encoded("BMP", "P"),
    "grey BMP": encoded("BMP", "L"),
    "BMP of 32 bits": encoded("BMP", "RGBA"),
    "GIF": encoded("GIF"),
    "interlaced GIF": encoded("GIF", interlace=1),
    "animated GIF": encoded("GIF", **OTHERS),
    "GIF that says it is smaller": changed(encoded("GIF"), 6, "<HH", 0, 0),
    "WebP": encoded("WEBP"),
    "WebP with alpha": encoded("WEBP", "RGBA"),
    "lossless WebP": encoded("WEBP", lossless=True),
    "lossless WebP with alpha": encoded("WEBP", "RGBA", lossless=True),
}
REFUSED = {
    "BMP of 1 bit": (encoded("BMP", "1"), "Received: 1 bits"),
    "BMP of 4 bits": (changed(encoded("BMP", "P"), 28, "<H", 4), "Received: 4 bits"),
    "BMP of 16 bits": (rgb_of_16_bits(), "Received: 16 bits"),
    "compressed BMP": (changed(encoded("BMP", "P"), 30, "<I", 1), "compression 1"),
    "BMP of other masks": (changed(encoded("BMP", "RGBA"), 30, "<I", 3), "usual order"),
    "BMP of OS/2": (changed(encoded("BMP"), 14, "<I", 12), "a header of 12 bytes"),
    "GIF whose frame is smaller": (
        changed(encoded("GIF"), 6, "<HH", 50, 40),
        "must fill its picture",
    ),
    "a piece of a GIF": (encoded("GIF")[:5], "GIF"),
    "animated WebP": (encoded("WEBP", **OTHERS), "must not be animated"),
    "animated WebP with alpha": (encoded("WEBP", "RGBA", **OTHERS), "not be animated"),
    "half a WebP": (encoded("WEBP")[:100], "WebP"),
}


@pytest.fixture(scope="module")
def graph():
    signature = [tf.TensorSpec([], tf.string)]
    return tf.function(lambda contents: decode(contents, 3), input_signature=signature)


@pytest.mark.parametrize("name", RIGHT)
def test_right_as_pillow_has_it(name, graph):
    contents = RIGHT[name]
    expected = np.asarray(Image.open(io.BytesIO(contents)).convert("RGB"))
    np.testing.assert_array_equal(graph(contents), expected)


@pytest.mark.parametrize("name", REFUSED)
def test_refused_with_the_file_and_the_reason(name, graph, tmp_path):
    contents, message = REFUSED[name]
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        graph(contents)
    (tmp_path / "it.gif").write_bytes(contents)
    with pytest.raises(ValueError, match=rf"it.gif must be a JPEG, .*: .*{message}"):
        read_image(tmp_path / "it.gif", PREPARE)


def test_training_leaves_out_what_is_refused_and_says_why(tmp_path):
    for label, names in {"good": RIGHT, "other": RIGHT, "mixed": REFUSED}.items():
        (tmp_path / label).mkdir()
        for number, name in enumerate(names):
            contents = names[name] if names is RIGHT else names[name][0]
            (tmp_path / label / f"{number:02}.webp").write_bytes(contents)
    (tmp_path / "mixed/99.png").write_bytes(encoded("PNG"))
    with pytest.raises(ValueError, match=r"11 of 36 are bad: .*00.webp \(A BMP must"):
        folders.load(tmp_path)
    splits = folders.load(tmp_path, bad_share=0.5, val_fraction=0)
    assert np.bincount(splits.train.labels).tolist() == [12, 1, 12]
    for said, (_, message) in zip(splits.skipped, REFUSED.values(), strict=True):
        assert message in said
