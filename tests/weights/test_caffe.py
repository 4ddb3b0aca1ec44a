"""Caffe's files, written here byte by byte."""

from dataclasses import replace

import numpy as np
import pytest

from keras_resnet.config.architectures import ARCHITECTURES
from keras_resnet.config.spec import doubling
from keras_resnet.weights.load import load_weights
from tests.helpers.weight_files import assert_same_weights, refuses, small, weights_of

CAFFE = replace(
    ARCHITECTURES["resnet50_caffe"],
    stem_filters=4,
    stages=doubling("bottleneck", (3, 2), 4),
)


def varint(number):
    """Protobuf's integers: 7 bits a byte, the lowest first."""
    low, rest = number & 127, number >> 7
    return bytes([low]) if rest == 0 else bytes([low | 128]) + varint(rest)


def field(number, contents):
    """A field of bytes: its number and wire type 2, its length, itself."""
    return varint(number << 3 | 2) + varint(len(contents)) + contents


def blob(array, *, old=False):
    """BlobProto: data = 5, and shape = 7 {dim = 1} or num … width = 1 … 4."""
    array = np.asarray(array, "<f4")
    data = field(5, array.tobytes())
    if not old:
        return data + field(7, field(1, b"".join(map(varint, array.shape))))
    shape = (1,) * (4 - array.ndim) + array.shape
    return data + b"".join(
        varint(number << 3) + varint(side) for number, side in enumerate(shape, 1)
    )


def layer(name, arrays, *, old=False):
    """layer = 100 {name = 1, blobs = 7}; before, layers = 2 {name = 4, blobs = 6}."""
    number, name_field, blobs = (2, 4, 6) if old else (100, 1, 7)
    parts = [field(name_field, name.encode())]
    return field(
        number, b"".join(parts + [field(blobs, blob(a, old=old)) for a in arrays])
    )


def caffe_file(model, path, *, numbered=False, old=False, extra=b"", leave_out=()):
    """The layers of He et al.'s prototxt with a model's weights."""

    def convolution(ours, theirs, suffix):
        kernel, *bias = weights_of(model, f"{ours}_conv")
        gamma, beta, mean, variance = weights_of(model, f"{ours}_bn")
        return {
            theirs: [kernel.transpose(3, 2, 0, 1), *bias],
            f"bn{suffix}": [4 * mean, 4 * variance, [4.0]],  # Sums, and their weight.
            f"scale{suffix}": [gamma, beta],
            f"{theirs}_relu": [],
        }

    layers = convolution("stem", "conv1", "_conv1")
    for stage, repeats in ((1, 3), (2, 2)):
        for block in range(1, repeats + 1):
            name = f"{stage + 1}{'abc'[block - 1]}"
            if numbered and block > 1:
                name = f"{stage + 1}b{block - 1}"
            branches = {"1": "branch2a", "2": "branch2b", "3": "branch2c"}
            if block == 1:
                branches["shortcut"] = "branch1"
            for place, branch in branches.items():
                layers |= convolution(
                    f"stage{stage}_block{block}_{place}",
                    f"res{name}_{branch}",
                    f"{name}_{branch}",
                )
    kernel, bias = weights_of(model, "logits")
    layers["fc1000"] = [kernel.T, bias]
    contents = field(1, b"ResNet")
    for name, arrays in layers.items():
        if name not in leave_out:
            contents += layer(name, arrays, old=old)
    path.write_bytes(contents + extra)
    return path


@pytest.mark.parametrize("numbered", [False, True], ids=["abc", "b1"])
@pytest.mark.parametrize("old", [False, True], ids=["layer", "layers"])
def test_caffe(tmp_path, numbered, old):
    source, model = small(CAFFE, seed=1), small(CAFFE, seed=2)
    path = caffe_file(source, tmp_path / "w.caffemodel", numbered=numbered, old=old)
    known = load_weights(model, path, CAFFE)
    assert_same_weights(model, source)
    assert known.channel_order == "bgr"
    assert known.mean == (103.939, 116.779, 123.68)


def test_a_truncated_caffe_file(tmp_path):
    path = caffe_file(small(CAFFE, seed=1), tmp_path / "w.caffemodel")
    path.write_bytes(path.read_bytes()[:-100])
    refuses(CAFFE, path, "w.caffemodel must be a .caffemodel, whole and undamaged")


def test_a_caffe_file_cut_between_layers(tmp_path):
    path = caffe_file(small(CAFFE), tmp_path / "w.caffemodel", leave_out={"fc1000"})
    refuses(CAFFE, path, "must hold 'logits/kernel', 'logits/bias' for 'small'")


def test_a_caffe_file_with_a_layer_too_many(tmp_path):
    extra = layer("res4a_branch1", [np.ones((1, 1, 1, 1))])
    path = caffe_file(small(CAFFE), tmp_path / "w.caffemodel", extra=extra)
    refuses(CAFFE, path, "no place for: .'stage3_block1_shortcut_conv/kernel'")


def test_another_networks_caffe_file(tmp_path):
    path = tmp_path / "vgg.caffemodel"
    path.write_bytes(layer("conv1_1", [np.ones((1, 3, 3, 3)), np.ones(1)]))
    refuses(CAFFE, path, "must hold 'stem_conv/kernel', .* more for.*'conv1_1/0'")


def test_a_caffe_blob_with_too_few_values(tmp_path):
    broken = field(7, field(5, bytes(8)) + field(7, field(1, varint(3))))
    contents = field(100, field(1, b"conv1") + broken)
    (tmp_path / "w.caffemodel").write_bytes(contents)
    refuses(CAFFE, tmp_path / "w.caffemodel", r"'conv1'.*the shape \(3,\), and has 2")


def test_a_caffe_file_for_a_network_that_pools_in_another_way(tmp_path):
    path = caffe_file(small(CAFFE), tmp_path / "w.caffemodel")
    spec = replace(CAFFE, stem="imagenet")
    refuses(spec, path, "is for 'resnet50_caffe', 'resnet101_caffe'")
