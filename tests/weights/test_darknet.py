"""darknet's files, written here byte by byte."""

import struct
from dataclasses import replace

import keras
import numpy as np
import pytest

import keras_resnet
from keras_resnet.config.architectures import ARCHITECTURES
from keras_resnet.config.spec import Stage
from keras_resnet.weights import darknet
from keras_resnet.weights.load import load_weights
from tests.helpers.weight_files import assert_same_weights, refuses, small, weights_of

DARKNET = replace(
    ARCHITECTURES["darknet53"],
    stem_filters=4,
    stages=(
        Stage(block="darknet", repeats=1, filters=8, output_filters=8, stride=2),
        Stage(block="darknet", repeats=2, filters=16, output_filters=16, stride=2),
    ),
)


def darknet_file(model, path, *, version=(0, 2, 0), classifier=True):
    """Convolutions in the order of the cfg file, each behind its batch norm."""
    seen = struct.pack("<q" if version >= (0, 2, 0) else "<i", 32_000)
    contents = [struct.pack("<3i", *version), seen]
    for layer in [layer for layer in model.layers if "conv" in layer.name]:
        if not isinstance(layer, keras.layers.Conv2D):
            continue
        gamma, beta, mean, variance = weights_of(
            model, layer.name.replace("_conv", "_bn")
        )
        kernel = weights_of(model, layer.name)[0].transpose(3, 2, 0, 1)
        contents += [array.tobytes() for array in (beta, gamma, mean, variance, kernel)]
    if classifier:
        kernel, bias = weights_of(model, "logits")
        contents += [bias.tobytes(), np.ascontiguousarray(kernel.T).tobytes()]
    path.write_bytes(b"".join(contents))
    return path


@pytest.mark.parametrize("version", [(0, 2, 0), (0, 1, 0)])
def test_darknet(tmp_path, version):
    source, model = small(DARKNET, seed=1), small(DARKNET, seed=2)
    path = darknet_file(source, tmp_path / "w.weights", version=version)
    known = load_weights(model, path, DARKNET)
    assert_same_weights(model, source)
    assert (known.size, known.resize, known.std) == ((256, 256), 256, (255.0,) * 3)


def test_darknet_without_its_classifier(tmp_path):
    source = small(DARKNET, seed=1)
    path = darknet_file(source, tmp_path / "w.weights")
    model = small(DARKNET, seed=2, include_top=False)
    load_weights(model, path, DARKNET)
    for weight, expected in zip(
        model.get_weights(), source.get_weights(), strict=False
    ):
        np.testing.assert_array_equal(weight, expected)


@pytest.mark.parametrize("version", [(0, 2, 0), (0, 1, 0)])
def test_a_file_that_ends_before_the_classifier(tmp_path, version):
    """As darknet53.conv.74, which detectors begin from."""
    source = small(DARKNET, seed=1)
    path = tmp_path / "darknet53.conv.74"
    darknet_file(source, path, version=version, classifier=False)
    model = keras_resnet.backbone(DARKNET, weights=path)
    for weight, expected in zip(
        model.get_weights(), source.get_weights()[:-2], strict=True
    ):
        np.testing.assert_array_equal(weight, expected)
    assert model.preprocessing.std == (255.0,) * 3

    whole = small(DARKNET, seed=2, classes=7)
    new = whole.get_weights()[-2:]
    load_weights(whole, path, DARKNET, new_classifier=True)
    np.testing.assert_array_equal(whole.get_weights()[0], source.get_weights()[0])
    np.testing.assert_array_equal(whole.get_weights()[-2], new[0])
    refuses(DARKNET, path, "must hold 'logits/kernel'.*`new_classifier=True`")


def test_the_published_file_without_a_classifier_has_this_length():
    """162,482,580 bytes, with a header of 20, as pjreddie.com gives darknet53.conv.74."""
    shapes = darknet._darknet_shapes(ARCHITECTURES["darknet53"])
    convolutions = [name for name in shapes if name.endswith("_conv/kernel")]
    assert len(convolutions) == 52
    held = {name: one for name, one in shapes.items() if "logits" not in name}
    assert darknet._bytes_of(held) == 162_482_580 - 20


def test_darknet_53_has_as_many_numbers_as_the_published_network():
    shapes = darknet._darknet_shapes(ARCHITECTURES["darknet53"])
    # Parameters and statistics of batch norm.
    assert sum(map(np.prod, shapes.values())) == 41_609_928 + 35_712


@pytest.mark.parametrize("change", [lambda b: b[:-4], lambda b: b + b"\0" * 4])
def test_a_darknet_file_of_another_length(tmp_path, change):
    path = darknet_file(small(DARKNET, seed=1), tmp_path / "w.weights")
    path.write_bytes(change(path.read_bytes()))
    refuses(DARKNET, path, "w.weights must have [0-9,]+ bytes.*cut off")


@pytest.mark.parametrize("size", [0, 7])
def test_a_darknet_file_without_a_header(tmp_path, size):
    (tmp_path / "w.weights").write_bytes(bytes(size))
    refuses(DARKNET, tmp_path / "w.weights", f"it has {size}")


def test_a_darknet_file_for_another_network(tmp_path):
    path = darknet_file(small(DARKNET), tmp_path / "w.weights")
    refuses(ARCHITECTURES["resnet20"], path, "darknet's, for the network 'darknet53'")
