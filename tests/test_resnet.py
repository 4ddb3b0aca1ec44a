"""The networks, against the papers' numbers and an independent forward pass."""

import functools
import json
import math
import os
import pathlib
import subprocess
import sys
import types
from dataclasses import replace

import keras
import numpy as np
import pytest

import keras_resnet
from keras_resnet.analysis.complexity import multiply_adds, parameters
from keras_resnet.config.architectures import ARCHITECTURES, ResNetSpec
from keras_resnet.models import blocks
from keras_resnet.models.resnet import build, stem
from tests import paper_facts

COMPLEXITY = pathlib.Path(keras_resnet.__file__).parent / "config/complexity.json"
# Each takes seconds to build; together they would double the time of the suite.
SLOW = {
    "resnet101",
    "resnet152",
    "resnet101_v1_5",
    "resnet152_v1_5",
    "resnet101_v2",
    "resnet152_v2",
    "resnet200_v2",
    "resnet1202",
    "plain110",
}


def networks(names):
    """The names as test parameters, with a mark on those that are slow to build."""
    return [
        pytest.param(name, marks=pytest.mark.slow if name in SLOW else ())
        for name in names
    ]


TINY = ResNetSpec(
    block="basic",
    blocks=(1, 1),
    stem="cifar",
    filters=16,
    shortcut="B",
    paper="none",
    source="none",
)


@functools.cache
def built(name, shortcut=None):
    """What the tests ask of a whole network, so that each is built only once."""
    spec = ARCHITECTURES[name]
    model = build(replace(spec, shortcut=shortcut) if shortcut else spec)
    convolutions = layers_of(model, keras.layers.Conv2D)
    norms = layers_of(model, keras.layers.BatchNormalization)
    buffers = [w for norm in norms for w in norm.non_trainable_weights]
    return types.SimpleNamespace(
        parameters=parameters(model),
        multiply_adds=multiply_adds(model),
        buffers=sum(math.prod(buffer.shape) for buffer in buffers),
        biased=[conv.name for conv in convolutions if conv.use_bias],
        norm_constants={(norm.epsilon, norm.momentum) for norm in norms},
        weighted_layers=1
        + sum(not conv.name.endswith("_shortcut_conv") for conv in convolutions),
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
    assert as_printed(network.multiply_adds, billions, 1e9) == billions
    assert network.weighted_layers == ARCHITECTURES[name].depth
    assert network.biased == []
    assert network.norm_constants == {(1e-5, 0.9)}


@pytest.mark.parametrize(("name", "shortcut"), paper_facts.COUNTS_OF_OPTIONS)
def test_other_shortcut_options(name, shortcut):
    count, billions = paper_facts.COUNTS_OF_OPTIONS[name, shortcut]
    network = built(name, shortcut)

    assert network.parameters == count
    if billions is not None:
        assert as_printed(network.multiply_adds, billions, 1e9) == billions


@pytest.mark.parametrize("name", networks(paper_facts.PARAMETERS_TABLE_6))
def test_parameters_as_table_6_prints_them(name):
    printed = paper_facts.PARAMETERS_TABLE_6[name]
    assert as_printed(built(name).parameters, printed, 1e6) + "M" == printed


@pytest.mark.parametrize("name", networks(paper_facts.FLOPS_TABLE_1))
def test_multiply_adds_near_table_1(name):
    printed = paper_facts.FLOPS_TABLE_1[name]
    # Table 1 cuts some numbers and rounds others (3.66 is "3.6", 7.57 is "7.6"), so
    # no one rule prints it: 2 % covers both.
    assert built(name).multiply_adds / 1e9 == pytest.approx(printed, rel=0.02)


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
    model = build(ARCHITECTURES[name])
    for number, (side, filters) in enumerate(stages, start=1):
        *_, last = (
            layer for layer in model.layers if layer.name.startswith(f"stage{number}_")
        )
        assert last.output.shape == (None, side, side, filters)


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


def conv(x, kernel, stride=1):
    """Cross-correlation with zeros on both sides, as torch's ``padding=k // 2``."""
    size = kernel.shape[0]
    x = np.pad(x, [(0, 0), (size // 2,) * 2, (size // 2,) * 2, (0, 0)])
    height, width = ((side - size) // stride + 1 for side in x.shape[1:3])
    y = 0
    for i in range(size):
        for j in range(size):
            rows = slice(i, i + stride * (height - 1) + 1, stride)
            columns = slice(j, j + stride * (width - 1) + 1, stride)
            y = y + x[:, rows, columns] @ kernel[i, j]
    return y


def max_pool(x):
    """3x3, stride 2, with minus infinity on both sides, as in torchvision."""
    x = np.pad(
        x, [(0, 0), (1, 1), (1, 1), (0, 0)], constant_values=-np.inf
    )  # fmt: skip
    height, width = ((side - 3) // 2 + 1 for side in x.shape[1:3])
    windows = [
        x[:, i : i + 2 * height - 1 : 2, j : j + 2 * width - 1 : 2]
        for i in range(3)
        for j in range(3)
    ]
    return np.max(windows, axis=0)


def relu(x):
    return np.maximum(x, 0)


class Reference:
    """The arithmetic of a block, with the weights of a built one, by layer name."""

    def __init__(self, model):
        self.weights = {w.path: keras.ops.convert_to_numpy(w) for w in model.weights}

    def conv(self, x, name, stride=1):
        return conv(x, self.weights[f"{name}_conv/kernel"], stride)

    def norm(self, x, name):
        gamma, beta, mean, variance = (
            self.weights[f"{name}_bn/{part}"]
            for part in ("gamma", "beta", "moving_mean", "moving_variance")
        )
        return gamma * (x - mean) / np.sqrt(variance + 1e-5) + beta

    def conv_norm(self, x, name, stride=1):
        return self.norm(self.conv(x, name, stride), name)

    def basic_residual(self, x, stride):
        x = relu(self.conv_norm(x, "b_1", stride))
        return self.conv_norm(x, "b_2")

    def bottleneck_residual(self, x, first, second):
        x = relu(self.conv_norm(x, "b_1", first))
        x = relu(self.conv_norm(x, "b_2", second))
        return self.conv_norm(x, "b_3")

    def basic_v2_residual(self, activated, stride):
        x = self.conv(activated, "b_1", stride)
        return self.conv(relu(self.norm(x, "b_1")), "b_2")

    def bottleneck_v2_residual(self, activated, stride):
        x = self.conv(activated, "b_1")
        x = self.conv(relu(self.norm(x, "b_1")), "b_2", stride)
        return self.conv(relu(self.norm(x, "b_2")), "b_3")


def subsampled_and_padded(x, channels):
    """Option A at stride 2: every second pixel, then zeros behind the channels."""
    x = x[:, ::2, ::2]
    return np.concatenate([x, np.zeros((*x.shape[:3], channels - x.shape[3]))], axis=3)


def with_random_weights(model, seed=0):
    """Weights and statistics far from those that a new network starts with."""
    random = np.random.default_rng(seed)
    for weight in model.weights:
        if weight.path.endswith("kernel"):
            scale = np.sqrt(1 / math.prod(weight.shape[:-1]))
            value = random.normal(0, scale, weight.shape)
        elif weight.path.endswith(("gamma", "variance")):
            value = random.uniform(0.5, 2, weight.shape)
        else:
            value = random.normal(0, 0.5, weight.shape)
        weight.assign(value)
    return model


def images(*shape, seed=1):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def model_of(function, shape):
    inputs = keras.Input(shape)
    return with_random_weights(keras.Model(inputs, function(inputs)))


def called(model, x):
    """As `model.predict`, without the seconds of tracing a graph."""
    return keras.ops.convert_to_numpy(keras.ops.stop_gradient(model(x, training=False)))


def assert_close(model, x, expected):
    # Float32 against float64, over values of about 1 to 10.
    np.testing.assert_allclose(called(model, x), expected, atol=2e-5)


@pytest.mark.parametrize("size", [8, 9])
@pytest.mark.parametrize(
    ("block", "shortcut", "filters", "stride", "expected"),
    [
        pytest.param(
            blocks.plain, None, 32, 2,
            lambda r, x: relu(r.basic_residual(x, 2)),
            id="plain",
        ),
        pytest.param(
            blocks.basic, blocks.projection, 32, 2,
            lambda r, x: relu(r.basic_residual(x, 2) + r.conv_norm(x, "b_shortcut", 2)),
            id="basic-B",
        ),
        pytest.param(
            blocks.basic, blocks.projection, 16, 1,
            lambda r, x: relu(r.basic_residual(x, 1) + x),
            id="basic-B-identity",
        ),
        pytest.param(
            blocks.basic, blocks.projection_always, 16, 1,
            lambda r, x: relu(r.basic_residual(x, 1) + r.conv_norm(x, "b_shortcut")),
            id="basic-C",
        ),
        pytest.param(
            blocks.basic, blocks.zero_padding, 32, 2,
            lambda r, x: relu(r.basic_residual(x, 2) + subsampled_and_padded(x, 32)),
            id="basic-A",
        ),
        pytest.param(
            blocks.basic, blocks.zero_padding, 16, 1,
            lambda r, x: relu(r.basic_residual(x, 1) + x),
            id="basic-A-identity",
        ),
        pytest.param(
            blocks.bottleneck, blocks.projection, 32, 2,
            lambda r, x: relu(
                r.bottleneck_residual(x, 2, 1) + r.conv_norm(x, "b_shortcut", 2)
            ),
            id="bottleneck-B",
        ),
        pytest.param(
            blocks.bottleneck, blocks.zero_padding, 16, 2,
            lambda r, x: relu(
                r.bottleneck_residual(x, 2, 1) + subsampled_and_padded(x, 64)
            ),
            id="bottleneck-A",
        ),
        pytest.param(
            blocks.bottleneck_v1_5, blocks.projection, 32, 2,
            lambda r, x: relu(
                r.bottleneck_residual(x, 1, 2) + r.conv_norm(x, "b_shortcut", 2)
            ),
            id="bottleneck_v1_5-B",
        ),
    ],
)  # fmt: skip
def test_block_v1(block, shortcut, filters, stride, expected, size):
    x = images(2, size, size, 16)
    model = model_of(
        lambda inputs: block(
            inputs, filters, stride=stride, shortcut=shortcut, name="b"
        ),
        x.shape[1:],
    )
    assert_close(model, x, expected(Reference(model), x))


@pytest.mark.parametrize("size", [8, 9])
@pytest.mark.parametrize(
    ("block", "shortcut", "filters", "stride", "expected"),
    [
        pytest.param(
            blocks.basic_v2, blocks.convolution_projection, 16, 1,
            lambda r, x, a: r.basic_v2_residual(a, 1) + x,
            id="basic_v2-B-identity",
        ),
        pytest.param(
            blocks.basic_v2, blocks.convolution_projection, 32, 2,
            lambda r, x, a: r.basic_v2_residual(a, 2) + r.conv(a, "b_shortcut", 2),
            id="basic_v2-B",
        ),
        pytest.param(
            blocks.basic_v2, blocks.convolution_projection_always, 16, 1,
            lambda r, x, a: r.basic_v2_residual(a, 1) + r.conv(a, "b_shortcut"),
            id="basic_v2-C",
        ),
        pytest.param(
            blocks.basic_v2, blocks.zero_padding, 32, 2,
            lambda r, x, a: r.basic_v2_residual(a, 2) + subsampled_and_padded(a, 32),
            id="basic_v2-A",
        ),
        pytest.param(
            blocks.basic_v2, blocks.zero_padding, 16, 1,
            lambda r, x, a: r.basic_v2_residual(a, 1) + x,
            id="basic_v2-A-identity",
        ),
        pytest.param(
            blocks.bottleneck_v2, blocks.convolution_projection, 4, 1,
            lambda r, x, a: r.bottleneck_v2_residual(a, 1) + x,
            id="bottleneck_v2-B-identity",
        ),
        pytest.param(
            blocks.bottleneck_v2, blocks.convolution_projection, 16, 2,
            lambda r, x, a: r.bottleneck_v2_residual(a, 2) + r.conv(a, "b_shortcut", 2),
            id="bottleneck_v2-B",
        ),
    ],
)  # fmt: skip
def test_block_v2(block, shortcut, filters, stride, expected, size):
    x = images(2, size, size, 16)
    model = model_of(
        lambda inputs: block(
            inputs, filters, stride=stride, shortcut=shortcut, name="b"
        ),
        x.shape[1:],
    )
    reference = Reference(model)
    activated = relu(reference.norm(x, "b_0"))
    assert_close(model, x, expected(reference, x, activated))


def test_the_first_v2_block_takes_the_stem_as_activated():
    x = images(2, 8, 8, 16)
    model = model_of(
        lambda inputs: blocks.basic_v2(
            inputs,
            16,
            stride=1,
            shortcut=blocks.convolution_projection,
            name="b",
            activate=blocks.already_activated,
        ),
        x.shape[1:],
    )
    assert_close(model, x, Reference(model).basic_v2_residual(x, 1) + x)


@pytest.mark.parametrize("size", [32, 33])
@pytest.mark.parametrize("name", ["resnet18", "resnet18_v2"])
def test_imagenet_stem(name, size):
    x = images(2, size, size, 3)
    model = model_of(lambda inputs: stem(inputs, ARCHITECTURES[name]), x.shape[1:])
    expected = max_pool(relu(Reference(model).conv_norm(x, "stem", 2)))
    assert_close(model, x, expected)


def test_cifar_stem():
    x = images(2, 8, 8, 3)
    model = model_of(
        lambda inputs: stem(inputs, ARCHITECTURES["resnet20"]), x.shape[1:]
    )
    assert_close(model, x, relu(Reference(model).conv_norm(x, "stem")))


@pytest.mark.parametrize("block", ["basic", "basic_v2"])
def test_whole_tiny_network(block):
    x = images(2, 8, 8, 3)
    model = with_random_weights(
        build(replace(TINY, block=block), input_shape=(8, 8, 3), classes=5)
    )
    reference = Reference(model)
    w = reference.weights

    def unit(x, name, stride):
        """One block of either kind, written out."""
        if block == "basic":
            y = relu(reference.conv_norm(x, f"{name}_1", stride))
            y = reference.conv_norm(y, f"{name}_2")
            if stride == 2:
                x = reference.conv_norm(x, f"{name}_shortcut", 2)
            return relu(x + y)
        if stride == 2:
            a = relu(reference.norm(x, f"{name}_0"))
            x = reference.conv(a, f"{name}_shortcut", 2)
        else:
            a = x
        y = relu(reference.conv_norm(a, f"{name}_1", stride))
        return x + reference.conv(y, f"{name}_2")

    y = relu(reference.conv_norm(x, "stem"))
    y = unit(y, "stage1_block1", 1)
    y = unit(y, "stage2_block1", 2)
    if block == "basic_v2":
        y = relu(reference.norm(y, "final"))
    logits = y.mean(axis=(1, 2)) @ w["logits/kernel"] + w["logits/bias"]
    assert_close(model, x, logits)


# --- Options ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("block", "shortcuts"),
    [
        ("basic", {"A": 0, "B": 1, "C": 2}),
        ("basic_v2", {"A": 0, "B": 1, "C": 2}),
        # A bottleneck's first stage widens the channels as well.
        ("bottleneck", {"A": 0, "B": 2, "C": 2}),
        ("bottleneck_v1_5", {"A": 0, "B": 2, "C": 2}),
        ("bottleneck_v2", {"A": 0, "B": 2, "C": 2}),
    ],
)
@pytest.mark.parametrize("option", "ABC")
@pytest.mark.parametrize("name", ["cifar", "imagenet"])
def test_shortcut_options(block, shortcuts, option, name):
    spec = replace(TINY, block=block, shortcut=option, stem=name)
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
    model = build(ARCHITECTURES["plain20"])
    assert layers_of(model, keras.layers.Add) == []
    assert len(layers_of(build(ARCHITECTURES["resnet20"]), keras.layers.Add)) == 9


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
    np.testing.assert_allclose(called(model, x), expected, atol=1e-6)


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


# --- Saving -----------------------------------------------------------------------

PLAIN_KERAS = """
import sys
import keras, numpy as np
x = np.load("x.npy")
for name in sys.argv[1:]:
    model = keras.models.load_model(name + ".keras")
    logits = keras.ops.convert_to_numpy(keras.ops.stop_gradient(model(x)))
    np.save(name + "_loaded.npy", logits)
if "keras_resnet" in sys.modules:
    raise SystemExit("keras_resnet was imported")
"""


@pytest.mark.parametrize(
    "backend",
    [
        "tensorflow",
        pytest.param("jax", marks=pytest.mark.slow),
        pytest.param("torch", marks=pytest.mark.slow),
    ],
)
def test_a_saved_network_needs_keras_alone(tmp_path, backend):
    pytest.importorskip(backend)
    x = images(2, 16, 16, 3)
    np.save(tmp_path / "x.npy", x)
    variants = {
        "plain": replace(TINY, block="plain", shortcut=None),
        "a": replace(TINY, shortcut="A"),
        "b": replace(TINY, block="bottleneck"),
        "v1_5": replace(TINY, block="bottleneck_v1_5", shortcut="C"),
        "v2": replace(TINY, block="bottleneck_v2", stem="imagenet"),
        "v2a": replace(TINY, block="basic_v2", shortcut="A"),
    }
    for name, spec in variants.items():
        model = with_random_weights(build(spec, input_shape=(16, 16, 3)))
        model.save(tmp_path / f"{name}.keras")
        np.save(tmp_path / f"{name}.npy", called(model, x))

    # `-P` and another directory, so that the checkout is not on the path.
    result = subprocess.run(
        [sys.executable, "-P", "-c", PLAIN_KERAS, *variants],
        cwd=tmp_path,
        env=os.environ | {"KERAS_BACKEND": backend},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert result.returncode == 0, result.stderr
    same_backend = backend == keras.backend.backend()
    for name in variants:
        np.testing.assert_allclose(
            np.load(tmp_path / f"{name}_loaded.npy"),
            np.load(tmp_path / f"{name}.npy"),
            atol=0 if same_backend else 1e-5,
            rtol=0 if same_backend else 1e-5,
        )
