"""Stems against NumPy, at even and odd sizes."""

import numpy as np
import pytest

from keras_resnet.config.spec import STEM_STRIDES
from keras_resnet.models.stems import STEMS
from tests.helpers.reference import (
    Reference,
    assert_close,
    images,
    leaky,
    max_pool,
    model_of,
    relu,
)


def model_of_stem(name, size):
    """A model of a stem of 16 filters, its reference and images."""
    stem = STEMS[name]
    x = images(2, size, size, 3)
    model = model_of(
        lambda inputs: stem.pool(stem.convolutions(inputs, 16)), x.shape[1:]
    )
    return model, Reference(model), x


SIZES = pytest.mark.parametrize("size", [32, 33, 34])


def test_every_stem_has_strides():
    assert set(STEMS) == set(STEM_STRIDES)


@pytest.mark.parametrize("name", STEMS)
def test_strides_are_as_said(name):
    convolutions, pool = STEM_STRIDES[name]
    model, _, _ = model_of_stem(name, 32)
    assert model.output_shape[1] == 32 // (convolutions * pool)


@SIZES
def test_imagenet(size):
    model, r, x = model_of_stem("imagenet", size)
    assert_close(model, x, max_pool(r.unit(x, "stem", stride=2)))


@SIZES
def test_deep(size):
    model, r, x = model_of_stem("deep", size)
    y = r.unit(r.unit(x, "stem_1", stride=2), "stem_2")
    assert r.weights["stem_2_conv/kernel"].shape == (3, 3, 8, 8)
    assert_close(model, x, max_pool(r.unit(y, "stem_3")))


@SIZES
@pytest.mark.parametrize("name", ["caffe", "caffe_biased"])
def test_caffe_pools_without_padding_and_rounds_up(name, size):
    model, r, x = model_of_stem(name, size)
    assert ("stem_conv/bias" in r.weights) == (name == "caffe_biased")
    y = r.unit(x, "stem", stride=2)
    # Caffe: ceil((side - 3) / 2) + 1, the last window cut off at the border.
    expected = max_pool(y, padding=(0, 1))
    assert expected.shape[1] == int(np.ceil((y.shape[1] - 3) / 2)) + 1
    assert_close(model, x, expected)


@SIZES
def test_bare_pools_with_minus_infinity(size):
    model, r, x = model_of_stem("bare", size)
    y = r.conv(x, "stem", stride=2) - 0.0
    assert_close(model, x, max_pool(y))
    assert (max_pool(y) < 0).any()  # Where a border of zeros would show.


@SIZES
def test_keras_v2_pools_with_zeros(size):
    model, r, x = model_of_stem("keras_v2", size)
    y = r.conv(x, "stem", stride=2)
    assert_close(model, x, max_pool(y, border=0.0))


def test_cifar():
    model, r, x = model_of_stem("cifar", 8)
    assert_close(model, x, r.unit(x, "stem"))


def test_highway():
    model, r, x = model_of_stem("highway", 8)
    assert_close(model, x, relu(r.conv(x, "stem")))


def test_drn():
    model, r, x = model_of_stem("drn", 9)
    assert r.weights["stem_conv/kernel"].shape[:2] == (7, 7)
    assert_close(model, x, relu(r.conv_norm(x, "stem")))


@pytest.mark.parametrize(("name", "slope"), [("darknet", 0.1), ("darknet_timm", 0.01)])
def test_darknet(name, slope):
    model, r, x = model_of_stem(name, 8)
    assert_close(model, x, leaky(r.conv_norm(x, "stem"), slope))
