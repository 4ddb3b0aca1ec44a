"""Shortcuts, merges and transforms of the residual against NumPy."""

import keras
import numpy as np
import pytest

from keras_resnet.config.merges import (
    ExclusiveGate,
    Scaling,
    ShortcutDropout,
    ShortcutGate,
)
from keras_resnet.models import merges, residuals
from tests.helpers.one_block import SIZES, basic_residual, model_of_block
from tests.helpers.reference import (
    Reference,
    assert_close,
    average_pool,
    called,
    images,
    model_of,
    relu,
    sigmoid,
)


@SIZES
@pytest.mark.parametrize("stride", [1, 2])
def test_option_d_averages_then_projects(size, stride):
    x = images(2, size, size, 16)
    model = model_of_block("basic", 32, x, stride=stride, shortcut="D")
    r = Reference(model)
    averaged = average_pool(x) if stride == 2 else x
    shortcut = r.conv_norm(averaged, "b_shortcut")
    assert_close(model, x, relu(basic_residual(r, x, stride) + shortcut))


# --- Merges (He et al. 2016b, fig. 2) ---------------------------------------------


def carried_and_residual(merge, stride=1):
    """A block's model, its reference, its input, shortcut and residual."""
    x = images(2, 8, 8, 16)
    filters = 32 if stride == 2 else 16
    model = model_of_block(
        "basic", filters, x, stride=stride, merge=merge, shortcut="B"
    )
    r = Reference(model)
    carried = r.conv_norm(x, "b_shortcut", stride=2) if stride == 2 else x
    return model, r, x, carried, basic_residual(r, x, stride)


@pytest.mark.parametrize("stride", [1, 2])
def test_constant_scaling(stride):
    model, _, x, carried, residual = carried_and_residual(
        Scaling(shortcut=0.5, residual=0.25), stride
    )
    assert_close(model, x, relu(0.5 * carried + 0.25 * residual))


@pytest.mark.parametrize("stride", [1, 2])
def test_exclusive_gating(stride):
    model, r, x, carried, residual = carried_and_residual(
        ExclusiveGate(bias=-6.0), stride
    )
    g = r.gate(x, "b", stride)
    assert g.std() > 0.05
    assert_close(model, x, relu((1 - g) * carried + g * residual))


@pytest.mark.parametrize("stride", [1, 2])
def test_shortcut_only_gating(stride):
    model, r, x, carried, residual = carried_and_residual(
        ShortcutGate(bias=-6.0), stride
    )
    g = r.gate(x, "b", stride)
    assert_close(model, x, relu((1 - g) * carried + residual))


@pytest.mark.parametrize("gate", [ExclusiveGate, ShortcutGate])
def test_gates_begin_with_the_given_bias(gate):
    inputs = keras.Input((8, 8, 16))
    merge = merges.exclusive_gate if gate is ExclusiveGate else merges.shortcut_gate
    out = merge(inputs, inputs, x=inputs, stride=1, name="b", gate=gate(bias=-6.0))
    layer = keras.Model(inputs, out).get_layer("b_gate")
    assert isinstance(layer.kernel_initializer, keras.initializers.GlorotUniform)
    bias = layer.bias
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(bias), np.full(16, -6.0))


def test_dropout_of_the_shortcut():
    model, _, x, carried, residual = carried_and_residual(ShortcutDropout(rate=0.5))
    assert_close(model, x, relu(0.5 * carried + residual))
    dropout = model.get_layer("b_dropout")
    dropped = keras.ops.convert_to_numpy(dropout(np.ones((4, 8, 8, 16)), training=True))
    scaled = keras.ops.convert_to_numpy(model.get_layer("b_carried")(dropped))
    # In training what is kept is whole and the rest is gone, half of it each.
    assert set(np.unique(scaled)) == {0.0, 1.0}
    assert scaled.mean() == pytest.approx(0.5, abs=0.05)


# --- Transforms -------------------------------------------------------------------


def test_squeeze_and_excitation():
    x = images(2, 8, 8, 16)
    model = model_of_block("basic", 16, x, squeeze_excitation=16)
    r = Reference(model)
    residual = basic_residual(r, x, 1)
    s = residual.mean(axis=(1, 2), keepdims=True)
    s = relu(r.conv(s, "b_se_1"))
    assert s.shape[-1] == 8  # A sixteenth, and at least 8.
    assert_close(model, x, relu(residual * sigmoid(r.conv(s, "b_se_2")) + x))


@pytest.mark.parametrize(
    ("filters", "reduced"), [(256, 16), (512, 32), (64, 8), (192, 16)]
)
def test_reduced_channels_are_multiples_of_8(filters, reduced):
    model = model_of(
        lambda x: residuals.squeeze_and_excite(x, ratio=16, name="b"), (4, 4, filters)
    )
    assert model.get_layer("b_se_1_conv").filters == reduced


def test_stochastic_depth_leaves_out_whole_residuals():
    x = images(64, 4, 4, 16)
    model = model_of_block(
        "basic", 16, x, stochastic_depth=0.5, order="relu_before_addition"
    )
    r = Reference(model)
    assert_close(model, x, r.unit(r.unit(x, "b_1"), "b_2") + x)

    layer = model.get_layer("b_stochastic_depth")
    kept = keras.ops.convert_to_numpy(layer(np.ones((400, 4, 4, 16)), training=True))
    per_image = kept.reshape(400, -1)
    assert (per_image == per_image[:, :1]).all()
    assert set(np.unique(per_image)) == {0.0, 2.0}
    assert 120 < (per_image[:, 0] == 0).sum() < 280


def test_the_later_a_block_the_more_often_it_is_left_out():
    from keras_resnet.applications import create

    model = create("resnet20", stochastic_depth=0.5)
    rates = [layer.rate for layer in model.layers if "stochastic" in layer.name]
    np.testing.assert_allclose(rates, 0.5 * np.arange(1, 10) / 9)


def test_zero_gamma_makes_each_block_an_identity():
    from keras_resnet.applications import create

    model = create("resnet20", zero_gamma=True, shortcut="B", include_top=False)
    gammas = {
        layer.name: float(np.abs(keras.ops.convert_to_numpy(layer.gamma)).max())
        for layer in model.layers
        if isinstance(layer, keras.layers.BatchNormalization)
    }
    zero = {name for name, gamma in gammas.items() if gamma == 0}
    assert zero == {name for name in gammas if name.endswith("_2_bn")}
    stem = keras.Model(model.input, model.get_layer("stem_relu").output)
    first = keras.Model(model.input, model.get_layer("stage1_block3_relu").output)
    x = images(2, 8, 8, 3)
    np.testing.assert_allclose(called(first, x), called(stem, x))


def test_gate_strides_match_those_of_the_residual():
    x = images(1, 9, 9, 16)
    model = model_of_block(
        "basic", 32, x, stride=2, shortcut="A", merge=ExclusiveGate(bias=0.0)
    )
    assert called(model, x).shape == (1, 5, 5, 32)
