"""Which arrays are taken for pixels, and what the others are told."""

import ml_dtypes
import numpy as np
import pytest

from keras_resnet.export.load import Exported
from keras_resnet.pixels import as_uint8

TYPES = ["uint8", "int16", "uint16", "int64", "uint64", "float16", "float32", "float64"]


@pytest.mark.parametrize("kind", TYPES)
def test_numbers_of_every_type(kind):
    pixels = as_uint8(np.array([[0, 1, 254, 255]], kind))
    assert pixels.dtype == np.uint8 and pixels.tolist() == [[0, 1, 254, 255]]


def test_types_that_numpy_does_not_know():
    assert as_uint8(np.array([2.4, 200], ml_dtypes.bfloat16)).tolist() == [2, 200]


def test_fractions_are_rounded():
    assert as_uint8(np.array([0.4, 1.6, 254.51])).tolist() == [0, 2, 255]
    assert as_uint8(np.array([-0.4, 9, 255.4])).tolist() == [0, 9, 255]


def test_black_images_and_none_are_no_mistake():
    assert as_uint8(np.zeros((2, 2), np.float32)).tolist() == [[0, 0], [0, 0]]
    assert as_uint8(np.zeros((0, 4, 4, 3), np.float32)).shape == (0, 4, 4, 3)
    assert as_uint8(np.ones((2,), np.int32)).tolist() == [1, 1]


def test_uint8_is_given_back():
    pixels = np.zeros((3, 3), np.uint8)
    assert as_uint8(pixels) is pixels


REFUSED = {
    "bool": (np.ones((2, 2), bool), "Received: bool"),
    "divided by 255": (np.array([0, 0.2, 1.0]), "float64 from 0 to 1, as if divided"),
    "divided and resized": (np.array([-0.02, 1.02]), "from -0.02 to 1.02, as if div"),
    "a pixel over one": (np.array([0, 1 + 1e-7], "f4"), "to 1.0000001, as if divided"),
    "one of a batch": (
        np.array([0, 9, 0.3], "f4").reshape(3, 1, 1, 1),
        "from 0.3 to 0.3 in image 2 of 3, counted from 0, as if divided",
    ),
    "normalized": (np.array([-2.1, 2.6]), "not normalized.*from -2.1 to 2.6"),
    "16 bits": (np.array([0, 65_535], np.uint16), "uint16 from 0 to 65535"),
    "too low": (np.array([-1], np.int8), "int8 from -1 to -1"),
    "a little too high": (np.array([255.5003]), "from 255.5003 to 255.5003"),
    "NaN": (np.array([np.nan, 3.0]), "float64 with NaN or infinite values"),
    "infinite": (np.array([3.0, np.inf]), "with NaN or infinite values"),
    "text": (np.array(["1"]), "Received: <U1"),
    "nothing": (None, "Received: object"),
    "complex": (np.array([1j]), "Received: complex128"),
    "beyond 64 bits": (np.array([10**30]), "Received: object"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_pixels_is_said(name):
    images, message = REFUSED[name]
    with pytest.raises(ValueError, match=rf"`images` must hold numbers.*{message}"):
        as_uint8(images)


def test_exported_networks_go_through_the_same_check():
    seen = []

    def run(images):
        seen.append(images)
        return np.full((len(images), 2), 0.5)

    exported = Exported(run, (2, 2, 1), ("a", "b"), {}, "onnx")
    images = np.full((3, 2, 2, 1), 7.4, np.float32)
    assert exported.scores(images).shape == (3, 2)
    assert seen[0].dtype == np.uint8 and (seen[0] == 7).all()
    with pytest.raises(ValueError, match="as if divided by 255"):
        exported.scores(images / 255)
    with pytest.raises(ValueError, match=r"shape \(N, 2, 2, 1\)"):
        exported.scores(images[0])
