"""One block of each order and kind against the forward pass in NumPy."""

from dataclasses import replace

import keras
import pytest

from keras_resnet.config.architectures import ARCHITECTURES
from keras_resnet.config.merges import ExclusiveGate
from keras_resnet.config.orders import ORDERS
from keras_resnet.models import orders
from keras_resnet.models.resnet import features
from tests.helpers.one_block import SIZES, basic_residual, model_of_block
from tests.helpers.reference import (
    Reference,
    assert_close,
    images,
    leaky,
    model_of,
    relu,
    subsampled_and_padded,
)


def bottleneck_residual(r, x, first, second, **options):
    """Conv-BN-ReLU, conv-BN-ReLU, conv-BN."""
    x = r.unit(x, "b_1", stride=first)
    x = r.unit(x, "b_2", stride=second, **options)
    return r.conv_norm(x, "b_3")


@SIZES
@pytest.mark.parametrize(
    ("kind", "shortcut", "filters", "stride", "expected"),
    [
        pytest.param(
            "basic", "B", 32, 2,
            lambda r, x: basic_residual(r, x, 2) + r.conv_norm(x, "b_shortcut", stride=2),
            id="basic-B",
        ),
        pytest.param(
            "basic", "B", 16, 1,
            lambda r, x: basic_residual(r, x, 1) + x,
            id="basic-B-identity",
        ),
        pytest.param(
            "basic", "C", 16, 1,
            lambda r, x: basic_residual(r, x, 1) + r.conv_norm(x, "b_shortcut"),
            id="basic-C",
        ),
        pytest.param(
            "basic", "A", 32, 2,
            lambda r, x: basic_residual(r, x, 2) + subsampled_and_padded(x, 32),
            id="basic-A",
        ),
        pytest.param(
            "basic", "A", 16, 1,
            lambda r, x: basic_residual(r, x, 1) + x,
            id="basic-A-identity",
        ),
        pytest.param(
            "bottleneck", "B", 32, 2,
            lambda r, x: bottleneck_residual(r, x, 2, 1)
            + r.conv_norm(x, "b_shortcut", stride=2),
            id="bottleneck-B",
        ),
        pytest.param(
            "bottleneck", "A", 16, 2,
            lambda r, x: bottleneck_residual(r, x, 2, 1) + subsampled_and_padded(x, 64),
            id="bottleneck-A",
        ),
        pytest.param(
            "bottleneck_v1_5", "B", 32, 2,
            lambda r, x: bottleneck_residual(r, x, 1, 2)
            + r.conv_norm(x, "b_shortcut", stride=2),
            id="bottleneck_v1_5-B",
        ),
    ],
)  # fmt: skip
def test_original(kind, shortcut, filters, stride, expected, size):
    x = images(2, size, size, 16)
    model = model_of_block(kind, filters, x, stride=stride, shortcut=shortcut)
    assert_close(model, x, relu(expected(Reference(model), x)))


def test_grouped_convolutions():
    x = images(2, 8, 8, 16)
    model = model_of_block("bottleneck_v1_5", 8, x, stride=2, groups=4)
    r = Reference(model)
    residual = bottleneck_residual(r, x, 1, 2, groups=4)
    assert_close(model, x, relu(residual + r.conv_norm(x, "b_shortcut", stride=2)))


def test_dilated_basic():
    x = images(2, 9, 9, 16)
    model = model_of_block("basic", 16, x, dilations=(2, 4))
    expected = relu(basic_residual(Reference(model), x, 1, (2, 4)) + x)
    assert_close(model, x, expected)


def test_dilated_bottleneck():
    x = images(2, 9, 9, 16)
    model = model_of_block("bottleneck_v1_5", 4, x, dilations=(2, 4))
    residual = bottleneck_residual(Reference(model), x, 1, 1, dilation=2)
    assert_close(model, x, relu(residual + x))


@SIZES
def test_plain(size):
    x = images(2, size, size, 16)
    model = model_of_block("basic", 32, x, stride=2, order="plain", shortcut=None)
    r = Reference(model)
    assert_close(model, x, relu(basic_residual(r, x, 2)))
    assert not [layer for layer in model.layers if "add" in layer.name]


# --- Pre-activation (He et al. 2016b, fig. 4e) ------------------------------------


def basic_v2_residual(r, activated, stride):
    """Conv, BN-ReLU-conv."""
    return r.conv(r.unit(activated, "b_1", stride=stride), "b_2")


def bottleneck_v2_residual(r, activated, first, second):
    """Conv, BN-ReLU-conv, BN-ReLU-conv."""
    x = r.unit(activated, "b_1", stride=first)
    return r.conv(r.unit(x, "b_2", stride=second), "b_3")


@SIZES
@pytest.mark.parametrize(
    ("kind", "shortcut", "filters", "stride", "expected"),
    [
        pytest.param(
            "basic", "B", 16, 1,
            lambda r, x, a: basic_v2_residual(r, a, 1) + x,
            id="basic-B-identity",
        ),
        pytest.param(
            "basic", "B", 32, 2,
            lambda r, x, a: basic_v2_residual(r, a, 2) + r.conv(a, "b_shortcut", stride=2),
            id="basic-B",
        ),
        pytest.param(
            "basic", "C", 16, 1,
            lambda r, x, a: basic_v2_residual(r, a, 1) + r.conv(a, "b_shortcut"),
            id="basic-C",
        ),
        pytest.param(
            "basic", "A", 32, 2,
            lambda r, x, a: basic_v2_residual(r, a, 2) + subsampled_and_padded(a, 32),
            id="basic-A",
        ),
        pytest.param(
            "basic", "A", 16, 1,
            lambda r, x, a: basic_v2_residual(r, a, 1) + x,
            id="basic-A-identity",
        ),
        pytest.param(
            "bottleneck_v1_5", "B", 4, 1,
            lambda r, x, a: bottleneck_v2_residual(r, a, 1, 1) + x,
            id="bottleneck_v1_5-B-identity",
        ),
        pytest.param(
            "bottleneck_v1_5", "B", 16, 2,
            lambda r, x, a: bottleneck_v2_residual(r, a, 1, 2)
            + r.conv(a, "b_shortcut", stride=2),
            id="bottleneck_v1_5-B",
        ),
        pytest.param(
            "bottleneck", "B", 16, 2,
            lambda r, x, a: bottleneck_v2_residual(r, a, 2, 1)
            + r.conv(a, "b_shortcut", stride=2),
            id="bottleneck-B",
        ),
    ],
)  # fmt: skip
def test_preactivation(kind, shortcut, filters, stride, expected, size):
    x = images(2, size, size, 16)
    model = model_of_block(
        kind, filters, x, stride=stride, shortcut=shortcut, order="preactivation"
    )
    r = Reference(model)
    assert_close(model, x, expected(r, x, relu(r.norm(x, "b_0"))))


def test_the_first_block_takes_the_stem_as_activated():
    x = images(2, 8, 8, 16)
    model = model_of_block("basic", 16, x, order="preactivation", first=True)
    assert_close(model, x, basic_v2_residual(Reference(model), x, 1) + x)


def test_the_first_block_behind_a_bare_stem_activates():
    x = images(2, 8, 8, 16)
    model = model_of_block(
        "basic", 16, x, order="preactivation", stem="bare", first=True
    )
    r = Reference(model)
    assert_close(model, x, basic_v2_residual(r, relu(r.norm(x, "b_0")), 1) + x)


def test_dropout_lies_before_the_last_convolution():
    x = images(2, 8, 8, 16)
    model = model_of_block("basic", 16, x, order="preactivation", dropout=0.3)
    names = [layer.name for layer in model.layers]
    place = names.index("b_dropout")
    assert names[place - 1 : place + 2] == ["b_1_relu", "b_dropout", "b_2_conv"]
    r = Reference(model)
    assert_close(model, x, basic_v2_residual(r, relu(r.norm(x, "b_0")), 1) + x)


# --- The other orders (fig. 4b, c, d) ---------------------------------------------


class Basic:
    """The hidden part of a basic residual, of stride 2 to 32 filters."""

    kind, filters, last = "basic", 32, 2

    @staticmethod
    def hidden(r, x):
        """All but the last convolution, in the order of v1."""
        return r.unit(x, "b_1", stride=2)

    @staticmethod
    def relu_only(r, x):
        """ReLU-conv-BN, twice."""
        x = r.conv_norm(relu(x), "b_1", stride=2)
        return r.conv_norm(relu(x), "b_2")

    @staticmethod
    def shortcut(r, x, norm):
        """Option A."""
        return subsampled_and_padded(x, 32)


class Bottleneck:
    """The same of a bottleneck, stride on the first 1x1, to 64 filters."""

    kind, filters, last = "bottleneck", 16, 3

    @staticmethod
    def hidden(r, x):
        """All but the last convolution, in the order of v1."""
        return r.unit(r.unit(x, "b_1", stride=2), "b_2")

    @staticmethod
    def relu_only(r, x):
        """ReLU-conv-BN, three times."""
        x = r.conv_norm(relu(x), "b_1", stride=2)
        x = r.conv_norm(relu(x), "b_2")
        return r.conv_norm(relu(x), "b_3")

    @staticmethod
    def shortcut(r, x, norm):
        """Option B."""
        project = r.conv_norm if norm else r.conv
        return project(x, "b_shortcut", stride=2)


@SIZES
@pytest.mark.parametrize("block", [Basic, Bottleneck])
@pytest.mark.parametrize(
    ("order", "expected"),
    [
        (
            "bn_after_addition",
            lambda r, x, b: relu(
                r.norm(
                    r.conv(b.hidden(r, x), f"b_{b.last}")
                    + b.shortcut(r, x, norm=False),
                    "b",
                )
            ),
        ),
        (
            "relu_before_addition",
            lambda r, x, b: (
                r.unit(b.hidden(r, x), f"b_{b.last}") + b.shortcut(r, x, norm=True)
            ),
        ),
        (
            "relu_only_preactivation",
            lambda r, x, b: b.relu_only(r, x) + b.shortcut(r, relu(x), norm=True),
        ),
    ],
)
def test_orders(order, expected, block, size):
    x = images(2, size, size, 16)
    model = model_of_block(
        block.kind,
        block.filters,
        x,
        stride=2,
        order=order,
        shortcut="A" if block is Basic else "B",
    )
    assert_close(model, x, expected(Reference(model), x, block))


@pytest.mark.parametrize("order", ["bn_after_addition", "relu_before_addition"])
def test_orders_carry_the_input_itself(order):
    x = images(2, 8, 8, 16)
    model = model_of_block("basic", 16, x, order=order)
    r = Reference(model)
    hidden = r.unit(x, "b_1")
    if order == "bn_after_addition":
        expected = relu(r.norm(r.conv(hidden, "b_2") + x, "b"))
    else:
        expected = r.unit(hidden, "b_2") + x
    assert_close(model, x, expected)


def test_relu_only_carries_the_input_itself():
    x = images(2, 8, 8, 16)
    model = model_of_block("basic", 16, x, order="relu_only_preactivation")
    r = Reference(model)
    residual = r.conv_norm(relu(x), "b_1")
    assert_close(model, x, r.conv_norm(relu(residual), "b_2") + x)


# --- keras.applications' v2 and DarkNet -------------------------------------------


def test_keras_v2_projects_with_a_bias():
    x = images(2, 8, 8, 16)
    model = model_of_block("bottleneck_v1_5", 8, x, order="keras_v2", stem="keras_v2")
    r = Reference(model)
    activated = relu(r.norm(x, "b_0"))
    residual = bottleneck_v2_residual(r, activated, 1, 1)
    assert_close(model, x, residual + r.conv(activated, "b_shortcut"))
    biased = {layer.name for layer in model.layers if getattr(layer, "use_bias", False)}
    assert biased == {"b_3_conv", "b_shortcut_conv"}


@SIZES
def test_keras_v2_subsamples_its_input(size):
    x = images(2, size, size, 16)
    model = model_of_block(
        "bottleneck_v1_5", 4, x, stride=2, order="keras_v2", stem="keras_v2"
    )
    r = Reference(model)
    activated = relu(r.norm(x, "b_0"))
    residual = bottleneck_v2_residual(r, activated, 1, 2)
    assert_close(model, x, residual + x[:, ::2, ::2])


@pytest.mark.parametrize(("order", "slope"), [("darknet", 0.1), ("darknet_timm", 0.01)])
def test_darknet(order, slope):
    x = images(2, 8, 8, 16)
    model = model_of_block("darknet", 16, x, order=order)
    r = Reference(model)
    y = leaky(r.conv_norm(x, "b_1"), slope)
    assert_close(model, x, leaky(r.conv_norm(y, "b_2"), slope) + x)
    assert r.weights["b_1_conv/kernel"].shape[-1] == 8


# --- Highway networks (Srivastava et al. 2015, eq. 3) -----------------------------


def test_highway():
    x = images(2, 8, 8, 16)
    gate = ExclusiveGate(bias=-3.0, kernel_size=3)
    model = model_of_block("conv", 16, x, order="highway", merge=gate, stem="highway")
    r = Reference(model)
    t = r.gate(x, "b")
    assert r.weights["b_gate/kernel"].shape == (3, 3, 16, 16)
    assert_close(model, x, relu(r.conv(x, "b_1")) * t + x * (1 - t))


def test_highway_layers_that_widen_have_no_gate():
    x = images(2, 8, 8, 16)
    model = model_of_block(
        "conv", 32, x, order="highway", merge=ExclusiveGate(bias=0.0)
    )
    assert_close(model, x, relu(Reference(model).conv(x, "b_1")))


# --- Dilated residual networks ----------------------------------------------------


@pytest.mark.parametrize("name", ["drn_c_26", "drn_d_22"])
def test_dilated_residual_network(name):
    """DRN-C and D to level 8, with a tenth of the width."""
    full = ARCHITECTURES[name]
    narrow = {16: 16, 32: 16, 64: 16, 128: 16, 256: 32, 512: 32}
    spec = replace(
        full,
        stages=tuple(
            replace(
                stage,
                filters=narrow[stage.filters],
                output_filters=narrow[stage.filters],
            )
            for stage in full.stages
        ),
    )
    x = images(1, 24, 24, 3)
    model = model_of(
        lambda inputs: list(features(inputs, spec).values())[-1], (24, 24, 3)
    )
    r = Reference(model)

    def basic(x, name, stride=1, dilation=1):
        y = r.unit(x, f"{name}_1", stride=stride, dilation=dilation)
        y = r.conv_norm(y, f"{name}_2", dilation=dilation)
        if f"{name}_shortcut_conv/kernel" in r.weights:
            x = r.conv_norm(x, f"{name}_shortcut", stride=stride)
        return relu(x + y)

    y = r.unit(x, "stem")
    for number, stride in ((1, 1), (2, 2)):
        if name == "drn_c_26":
            y = basic(y, f"stage{number}_block1", stride)
        else:
            y = r.unit(y, f"stage{number}_block1_1", stride=stride)
    for number, stride, dilation in ((3, 2, 1), (4, 2, 1), (5, 1, 2), (6, 1, 4)):
        y = basic(y, f"stage{number}_block1", stride, dilation)
        y = basic(y, f"stage{number}_block2", 1, dilation)
    for number, dilation in ((7, 2), (8, 1)):
        for block in range(1, 3 if name == "drn_c_26" else 2):
            y = r.unit(y, f"stage{number}_block{block}_1", dilation=dilation)
    assert_close(model, x, y)


def test_the_first_block_of_drn_a_is_not_dilated():
    spec = ARCHITECTURES["drn_a_18"]
    model = keras.Model(
        inputs := keras.Input((32, 32, 3)), list(features(inputs, spec).values())[-1]
    )
    dilations = {
        layer.name: layer.dilation_rate[0]
        for layer in model.layers
        if isinstance(layer, keras.layers.Conv2D) and layer.dilation_rate[0] > 1
    }
    assert dilations == {
        "stage3_block2_1_conv": 2,
        "stage3_block2_2_conv": 2,
        "stage4_block2_1_conv": 4,
        "stage4_block2_2_conv": 4,
    }


def test_every_order_has_its_functions():
    assert set(orders.ORDERS) == set(ORDERS)
