"""The networks, against the papers' numbers and an independent forward pass."""

import functools
import json
import math
import pathlib
import re
import types
from dataclasses import replace

import keras
import numpy as np
import pytest

import keras_resnet
from keras_resnet.analysis.complexity import multiply_adds, parameters
from keras_resnet.config.architectures import ARCHITECTURES
from keras_resnet.config.dilation import with_output_stride
from keras_resnet.config.spec import (
    ResNetSpec,
    doubling,
)
from keras_resnet.models.resnet import build
from tests.helpers import paper_facts
from tests.helpers.reference import (
    Reference,
    assert_close,
    called,
    images,
    relu,
    with_random_weights,
)

COMPLEXITY = pathlib.Path(keras_resnet.__file__).parent / "config/complexity.json"
# Of each kind one, or the one that everybody knows. The rest are exhaustive: each takes
# seconds to build.
QUICK = {
    "resnet18",
    "resnet50",
    "resnet50_v2",
    "resnetv2_18",
    "resnet18c",
    "resnet18d",
    "resnext50_32x4d",
    "drn_a_18",
    "drn_c_26",
    "drn_d_22",
    "resnet20",
    "plain20",
    "wide_resnet16_4",
}


def networks(names):
    """The names as test parameters; tests of one network stay together."""
    return [
        name
        if name in QUICK
        else pytest.param(
            name, marks=[pytest.mark.exhaustive, pytest.mark.xdist_group(name)]
        )
        for name in names
    ]


TINY = ResNetSpec(
    stem="cifar",
    stem_filters=16,
    stages=doubling("basic", (1, 1), 16),
    dataset="cifar10",
    paper="none",
    source="none",
)


def tiny(block="basic", **changes):
    return replace(TINY, stages=doubling(block, (1, 1), 16), **changes)


@functools.cache
def built(name, shortcut=None):
    """What the tests ask of a whole network, so that each is built only once."""
    spec = ARCHITECTURES[name]
    model = build(replace(spec, shortcut=shortcut) if shortcut else spec)
    convolutions = layers_of(model, keras.layers.Conv2D)
    norms = layers_of(model, keras.layers.BatchNormalization)
    buffers = [w for norm in norms for w in norm.non_trainable_weights]
    stages = {layer.name.split("_")[0]: layer.output.shape for layer in model.layers}
    return types.SimpleNamespace(
        parameters=parameters(model),
        multiply_adds=multiply_adds(model),
        buffers=sum(math.prod(buffer.shape) for buffer in buffers),
        stages=[shape for name, shape in stages.items() if name.startswith("stage")],
        additions=len(layers_of(model, keras.layers.Add)),
        biased=[conv.name for conv in convolutions if conv.use_bias],
        norm_constants={(norm.epsilon, norm.momentum) for norm in norms},
        weighted_layers=1
        + sum(
            not conv.name.endswith(("_shortcut_conv", "_gate"))
            and "_se_" not in conv.name
            for conv in convolutions
        ),
    )


def layers_of(model, kind):
    return [layer for layer in model.layers if isinstance(layer, kind)]


def as_printed(count, like, unit):
    """``count`` in units, with as many decimals as the printed number has."""
    decimals = len(like.rstrip("M").partition(".")[2])
    return f"{count / unit:.{decimals}f}"


# --- The papers' numbers ----------------------------------------------------------


@pytest.mark.parametrize("name", networks(ARCHITECTURES))
def test_whole_network(name):
    network = built(name)
    count, buffers, billions = paper_facts.COUNTS[name]

    assert network.parameters == count
    assert buffers is None or network.buffers == buffers
    if billions is not None:
        assert as_printed(network.multiply_adds, billions, 1e9) == billions
    spec = ARCHITECTURES[name]
    # Three 3x3 count as one 7x7; wide nets for CIFAR count three projections instead of the
    # classifier.
    more = {"deep": 2}.get(spec.stem, -2 if spec.depth_counts == "projections" else 0)
    assert network.weighted_layers == spec.depth + more
    norm_constants = set() if name.startswith("highway") else {(1e-5, 0.9)}
    assert network.norm_constants == norm_constants


@pytest.mark.parametrize("name", networks(ARCHITECTURES))
def test_biased_convolutions(name):
    """None, but in squeeze-and-excitation, gates and where the source has them."""
    biased = {re.sub(r"stage\d+_block\d+_", "", name) for name in built(name).biased}
    if ARCHITECTURES[name].squeeze_excitation:
        assert biased == {"se_1_conv", "se_2_conv"}
    elif name.endswith("_v2_keras"):
        assert biased == {"stem_conv", "shortcut_conv", "3_conv"}
    elif name.endswith("gating"):
        assert biased == {"gate"}
    elif name.startswith("highway"):
        assert biased == {"stem_conv", "1_conv", "gate", "final_conv"}
    else:
        assert biased == ({"stem_conv"} if name == "resnet50_caffe" else set())


@pytest.mark.parametrize("name", networks(paper_facts.COUNTS_OF_100_CLASSES))
def test_with_100_classes(name):
    model = build(ARCHITECTURES[name], classes=100)
    assert parameters(model) == paper_facts.COUNTS_OF_100_CLASSES[name]


@pytest.mark.parametrize("stride", paper_facts.MULTIPLY_ADDS_OF_OUTPUT_STRIDES)
def test_dilated_in_place_of_strides(stride):
    spec = with_output_stride(ARCHITECTURES["resnet50_v1_5"], stride)
    model = build(spec)
    printed = paper_facts.MULTIPLY_ADDS_OF_OUTPUT_STRIDES[stride]
    assert as_printed(multiply_adds(model), printed, 1e9) == printed
    assert parameters(model) == paper_facts.COUNTS["resnet50_v1_5"][0]


@pytest.mark.exhaustive
def test_darknet_on_smaller_images():
    model = build(ARCHITECTURES["darknet53"], input_shape=(224, 224, 3))
    printed = paper_facts.DARKNET53_AT_224
    assert as_printed(multiply_adds(model), printed, 1e9) == printed


@pytest.mark.parametrize(
    ("name", "shortcut"),
    [
        pair if pair[0] in QUICK else pytest.param(*pair, marks=pytest.mark.exhaustive)
        for pair in paper_facts.COUNTS_OF_OPTIONS
    ],
)
def test_other_shortcut_options(name, shortcut):
    count, billions = paper_facts.COUNTS_OF_OPTIONS[name, shortcut]
    network = built(name, shortcut)

    assert network.parameters == count
    if billions is not None:
        assert as_printed(network.multiply_adds, billions, 1e9) == billions


def test_counts_are_those_that_the_papers_print():
    """Of all networks: they are compared with the file of counts, and it with them."""
    counts = json.loads(COMPLEXITY.read_text())
    for name, printed in paper_facts.PARAMETERS_TABLE_6.items():
        assert as_printed(counts[name]["parameters"], printed, 1e6) + "M" == printed
    for name, printed in paper_facts.FLOPS_TABLE_1.items():
        # Table 1 cuts some numbers and rounds others (3.66 is "3.6", 7.57 is "7.6"), so
        # no one rule prints it: 2 % covers both.
        billions = counts[name]["multiply_adds"] / 1e9
        assert billions == pytest.approx(printed, rel=0.02), name


@pytest.mark.parametrize("name", networks(ARCHITECTURES))
def test_complexity_file_is_current(name):
    spec = ARCHITECTURES[name]
    assert json.loads(COMPLEXITY.read_text())[name] == {
        "parameters": built(name).parameters,
        "multiply_adds": built(name).multiply_adds,
        "image_size": spec.image_size,
        "classes": spec.classes,
    }


def test_complexity_file_holds_no_other_network():
    assert list(json.loads(COMPLEXITY.read_text())) == list(ARCHITECTURES)


@pytest.mark.parametrize(
    ("name", "stages"),
    [
        ("resnet18", paper_facts.STAGES_TABLE_1["resnet18"]),
        ("resnet50", paper_facts.STAGES_TABLE_1["resnet50"]),
        ("resnet50_v1_5", paper_facts.STAGES_TABLE_1["resnet50"]),
        ("resnet50_v2", paper_facts.STAGES_TABLE_1["resnet50"]),
        ("plain18", paper_facts.STAGES_TABLE_1["resnet18"]),
        ("resnet20", paper_facts.STAGES_CIFAR),
        ("plain20", paper_facts.STAGES_CIFAR),
    ],
)
def test_stage_shapes(name, stages):
    expected = [(None, side, side, filters) for side, filters in stages]
    assert built(name).stages == expected


def test_kernels_are_drawn_from_an_untruncated_normal():
    for conv in layers_of(build(ARCHITECTURES["resnet18"]), keras.layers.Conv2D):
        kernel = keras.ops.convert_to_numpy(conv.kernel)
        deviations = kernel / np.sqrt(2 / math.prod(kernel.shape[:-1]))
        # The std of 9,000 draws or more scatters by less than 1 %.
        assert deviations.std() == pytest.approx(1, abs=0.04)
        assert abs(deviations.mean()) < 0.05
        # Keras's HeNormal ends at 2.27; one draw in 370 lies beyond 3.
        assert abs(deviations).max() > 3


# --- Against NumPy ----------------------------------------------------------------


@pytest.mark.parametrize("order", ["original", "preactivation"])
def test_whole_tiny_network(order):
    x = images(2, 8, 8, 3)
    model = with_random_weights(
        build(tiny(order=order), input_shape=(8, 8, 3), classes=5)
    )
    r = Reference(model)

    def unit(x, name, stride):
        """One block of either order, written out."""
        if order == "original":
            y = r.unit(x, f"{name}_1", stride=stride)
            y = r.conv_norm(y, f"{name}_2")
            if stride == 2:
                x = r.conv_norm(x, f"{name}_shortcut", stride=2)
            return relu(x + y)
        a = x
        if stride == 2:
            a = relu(r.norm(x, f"{name}_0"))
            x = r.conv(a, f"{name}_shortcut", stride=2)
        return x + r.conv(r.unit(a, f"{name}_1", stride=stride), f"{name}_2")

    y = r.unit(x, "stem")
    y = unit(y, "stage1_block1", 1)
    y = unit(y, "stage2_block1", 2)
    if order == "preactivation":
        y = relu(r.norm(y, "final"))
    logits = y.mean(axis=(1, 2)) @ r.weights["logits/kernel"] + r.weights["logits/bias"]
    assert_close(model, x, logits)


# --- Options ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("block", "order", "shortcuts"),
    [
        ("basic", "original", {"A": 0, "B": 1, "C": 2, "D": 1}),
        ("basic", "preactivation", {"A": 0, "B": 1, "C": 2, "D": 1}),
        # A bottleneck's first stage widens the channels as well.
        ("bottleneck", "original", {"A": 0, "B": 2, "C": 2, "D": 2}),
        ("bottleneck_v1_5", "original", {"A": 0, "B": 2, "C": 2, "D": 2}),
        ("bottleneck_v1_5", "preactivation", {"A": 0, "B": 2, "C": 2, "D": 2}),
    ],
)
@pytest.mark.parametrize("option", "ABCD")
@pytest.mark.parametrize("name", ["cifar", "imagenet"])
def test_shortcut_options(block, order, shortcuts, option, name):
    spec = tiny(block, order=order, shortcut=option, stem=name)
    model = build(spec, input_shape=(32, 32, 3))
    names = [layer.name for layer in model.layers]

    projections = [name for name in names if name.endswith("_shortcut_conv")]
    assert len(projections) == shortcuts[option]
    norms = [name for name in names if name.endswith("_shortcut_bn")]
    assert len(norms) == (0 if spec.preactivation else shortcuts[option])
    logits = called(model, images(2, 32, 32, 3))
    assert logits.shape == (2, spec.classes)
    assert np.isfinite(logits).all()


def test_a_plain_net_is_a_residual_one_without_additions():
    assert built("plain20").additions == 0
    assert built("resnet20").additions == 9


@pytest.mark.parametrize("pooling", [None, "avg", "max"])
def test_features(pooling):
    model = build(TINY, include_top=False, pooling=pooling)
    features = build(TINY, include_top=False)
    features.set_weights(model.get_weights())
    x = images(2, 12, 20, 3)
    expected = called(features, x)
    assert expected.shape == (2, 6, 10, 32)
    if pooling:
        reduce = {"avg": np.mean, "max": np.max}[pooling]
        expected = reduce(expected, axis=(1, 2))
    np.testing.assert_allclose(called(model, x), expected, rtol=1e-6, atol=1e-6)


def test_a_bare_array_is_taken_without_a_warning(recwarn):
    build(TINY, input_shape=(8, 8, 3))(images(2, 8, 8, 3))
    assert [str(w.message) for w in recwarn if "structure" in str(w.message)] == []


def test_input_tensor():
    inputs = keras.Input((8, 8, 3), name="raw")
    model = build(TINY, input_tensor=keras.layers.Rescaling(1 / 255)(inputs))
    assert model.input is inputs
    same = build(TINY, input_shape=(8, 8, 3))
    same.set_weights(model.get_weights())
    x = images(2, 8, 8, 3)
    np.testing.assert_allclose(called(model, 255 * x), called(same, x), atol=1e-5)


def test_the_classifier_stays_in_float32_under_mixed_precision():
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = build(TINY, input_shape=(8, 8, 3), classifier_activation="softmax")
    finally:
        keras.config.set_dtype_policy(before)
    assert model.get_layer("stem_conv").compute_dtype == "bfloat16"
    probabilities = called(model, images(2, 8, 8, 3))
    assert probabilities.dtype == "float32"
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"input_shape": (224, 224)}, "shape of one image.*Received: input_shape="),
        ({"input_shape": 224}, "shape of one image.*Received: input_shape=224"),
        ({"input_shape": (8, 224, 224, 3)}, "shape of one image"),
        ({"input_shape": (224, 224, None)}, "number of channels, last"),
        ({"input_shape": (224, 224, 0)}, "number of channels"),
        ({"input_shape": (31, 224, 3)}, "at least 32x32 pixels.*Received: .*31"),
        ({"pooling": "mean"}, "`pooling` must be .*Received: pooling='mean'"),
        ({"pooling": "mean", "include_top": False}, "`pooling` must be"),
        ({"classes": 0}, "`classes` must be a positive integer.*Received: classes=0"),
        ({"classes": -1}, "`classes`"),
        ({"classes": 10.0}, "`classes`"),
        ({"classes": True}, "`classes`"),
        ({"input_shape": (224, 224, True)}, "number of channels"),
        ({"classes": "10"}, "`classes`"),
    ],
    ids=str,
)
def test_what_cannot_be_built(options, message):
    with pytest.raises(ValueError, match=message):
        build(ARCHITECTURES["resnet18"], **options)


def test_an_input_tensor_too_small():
    with pytest.raises(ValueError, match="at least 32x32 pixels"):
        build(ARCHITECTURES["resnet18"], input_tensor=keras.Input((16, 16, 3)))
