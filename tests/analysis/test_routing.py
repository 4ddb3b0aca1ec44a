"""Networks whose blocks can be steered: which are found, and what the weights do."""

import keras
import numpy as np
import pytest

from keras_resnet.analysis.differentiation import value_and_gradients
from keras_resnet.analysis.routing import RoutedAdd, route
from keras_resnet.applications import create
from keras_resnet.config.merges import ExclusiveGate, ShortcutGate
from tests.helpers.reference import called, images, with_random_weights
from tests.helpers.small_nets import SIZE, shared_net, shared_routed

TOLERANCE = 2e-5


def slow(*values):
    return pytest.param(*values, marks=pytest.mark.slow)


def check_same(model, x, routed=None):
    """The undamaged clone's outputs are the model's."""
    routed = routed or route(model)
    ours, theirs = called(routed.model, x), called(model, x)
    assert np.abs(ours - theirs).max() <= TOLERANCE * max(1, np.abs(theirs).max())
    return routed


# --- Which blocks there are ------------------------------------------------------


def test_blocks_of_v1():
    routed = check_same(shared_net(), images(2, *SIZE), shared_routed())
    assert [block.name for block in routed.blocks] == [
        f"stage{stage}_block{block}_add" for stage in (1, 2) for block in (1, 2)
    ]
    assert [block.stage for block in routed.blocks] == [1, 1, 2, 2]
    assert [block.first for block in routed.blocks] == [True, False, True, False]
    assert [block.identity for block in routed.blocks] == [True, True, False, True]
    third = routed.blocks[2]
    assert third.shape == (4, 4, 8)
    assert third.start == "stage1_block2_relu"
    assert third.shortcut == ("stage2_block1_shortcut", "stage2_block1_shortcut_pad")
    assert third.residual == tuple(
        f"stage2_block1_{layer}"
        for layer in ("1_pad", "1_conv", "1_bn", "1_relu", "2_conv", "2_bn")
    )
    assert all(block.shortcut_input == 0 for block in routed.blocks)


@pytest.mark.parametrize(
    ("row", "identity"),
    [
        ({"order": "preactivation"}, [True, True, False, True]),
        slow({"shortcut": "C"}, [False] * 4),
        slow({"merge": ShortcutGate(bias=0.0)}, [False] * 4),
        # The residual of the third depends on the input before its projection, too.
        slow({"merge": ExclusiveGate(bias=0.0)}, [True, True, False, True]),
        slow(
            {"block": "bottleneck", "groups": 2, "squeeze_excitation": 4},
            [False, True, False, True],
        ),
    ],
    ids=["v2", "C", "shortcut gate", "exclusive gate", "SE-ResNeXt"],
)
def test_blocks_of_other_kinds(row, identity):
    routed = check_same(shared_net(**row), images(2, *SIZE))
    assert [block.identity for block in routed.blocks] == identity
    assert all(len(b.shortcut) < len(b.residual) for b in routed.blocks)


def block_of(join):
    """A model of one block, whose addition is ``join(x, residual)``."""
    inputs = keras.Input(SIZE)
    x = keras.layers.ReLU(name="stem")(inputs)
    residual = keras.layers.Conv2D(3, 3, padding="same", name="conv")(x)
    x = join(x, residual)
    x = keras.layers.GlobalAveragePooling2D()(x)
    return with_random_weights(keras.Model(inputs, keras.layers.Dense(3)(x)))


@pytest.mark.parametrize(
    ("join", "shortcut"),
    [
        (lambda x, residual: keras.layers.Add(name="sum")([residual, x]), 1),
        (lambda x, residual: keras.layers.add([x, residual], name="sum"), 0),
        (lambda x, residual: x + residual, 0),
        (lambda x, residual: keras.ops.add(residual, x), 1),
    ],
    ids=["layer", "function", "operator", "operation"],
)
def test_the_shortcut_is_either_input(join, shortcut):
    (block,) = check_same(block_of(join), images(2, *SIZE)).blocks
    assert block.shortcut_input == shortcut
    assert (block.start, block.residual) == ("stem", ("conv",))


def test_other_additions_are_left_alone():
    first, second = keras.Input(SIZE), keras.Input(SIZE)
    x = keras.layers.Add(name="two_inputs")([first, second])
    x = keras.layers.Add(name="twice")([x, x]) + 1.0
    pooled = keras.layers.GlobalAveragePooling2D(keepdims=True)(x)
    x = keras.layers.Add(name="broadcast")([x, pooled])
    residual = keras.layers.Conv2D(3, 1, name="conv")(x)
    x = keras.layers.Add(name="residual")([x, residual])
    model = keras.Model([first, second], x)
    routed = route(model)
    assert [block.name for block in routed.blocks] == ["residual"]
    assert isinstance(routed.model.get_layer("broadcast"), keras.layers.Add)


@pytest.mark.parametrize("order", ["plain", slow("original")])
def test_a_clone_computes_in_float64(order):
    routed = route(shared_net(order), dtype="float64")
    assert {layer.compute_dtype for layer in routed.model.layers[1:]} == {"float64"}
    outputs = called(routed.model, images(2, *SIZE))
    assert outputs.dtype == "float64"
    assert np.abs(outputs - outputs.astype("float32")).max() > 0


def test_one_layer_of_several_additions():
    add = keras.layers.Add(name="sum")
    x = inputs = keras.Input(SIZE)
    for number in range(2):
        x = add([x, keras.layers.Conv2D(3, 1, name=f"conv{number}")(x)])
    routed = check_same(keras.Model(inputs, x), images(2, *SIZE))
    assert [block.name for block in routed.blocks] == ["sum", "sum_1"]


def test_blocks_of_a_plain_net():
    model = shared_net("plain")
    routed = check_same(model, images(2, *SIZE), shared_routed("plain"))
    assert [block.name for block in routed.blocks] == [
        f"bypass_of_{name}"
        for name in ("stage1_block1", "stage1_block2", "stage2_block2")
    ]
    assert routed.skipped == ("stage2_block1",)
    assert [block.stage for block in routed.blocks] == [1, 1, 2]
    assert [block.first for block in routed.blocks] == [True, False, False]
    assert routed.blocks[0].start == "stem_relu"
    assert routed.blocks[1].residual[0] == "stage1_block2_1_conv"


def test_a_plain_net_of_other_names():
    x = inputs = keras.Input(SIZE)
    for name in ("part1_a", "part1_b", "part2_a"):
        x = keras.layers.Conv2D(3, 3, padding="same", name=name)(x)
    model = keras.Model(inputs, keras.layers.GlobalAveragePooling2D()(x))
    routed = route(model, plain_blocks=r"(part\d)_")
    assert [block.residual for block in routed.blocks] == [
        ("part1_a", "part1_b"),
        ("part2_a",),
    ]


def test_a_nested_network_lies_flat():
    inputs = keras.Input(SIZE)
    scaled = keras.layers.Rescaling(1 / 2)(inputs)
    outer = keras.Model(inputs, shared_net()(scaled, training=False))
    assert len(check_same(outer, images(2, *SIZE)).blocks) == 4


def test_a_network_without_blocks_is_refused():
    inputs = keras.Input((4,))
    model = keras.Model(inputs, keras.layers.Dense(3)(inputs), name="dense")
    with pytest.raises(ValueError, match="residual additions.*'dense' without"):
        route(model)
    with pytest.raises(ValueError, match="one of stage1_block1_add, .*'stage9'"):
        shared_routed().delete(["stage9"])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("network", "blocks"),
    [("ResNet50", 16), ("ResNet50V2", 16), ("MobileNetV2", 10), ("ConvNeXtTiny", 18)],
)
def test_networks_of_keras_applications(network, blocks):
    constructor = getattr(keras.applications, network)
    keras.utils.set_random_seed(0)
    model = constructor(weights=None, input_shape=(32, 32, 3), classes=4)
    routed = check_same(model, images(2, 32, 32, 3))
    assert len(routed.blocks) == blocks
    names = {"ResNet50": "_add", "ResNet50V2": "_out"}
    assert all(b.name.endswith(names.get(network, "")) for b in routed.blocks)


@pytest.mark.exhaustive
@pytest.mark.parametrize(
    "name",
    [
        "resnet18d",
        "resnet50_v2_keras",
        "darknet53",
        "drn_d_22",
        "highway19",
        "resnet1202",
    ],
)
def test_networks_of_ours(name):
    side = 32 if name in ("highway19", "resnet1202") else 64
    # Or else the signal of more than a thousand layers is more than a float32.
    zero_gamma = {"zero_gamma": True} if name == "resnet1202" else {}
    model = create(name, input_shape=(side, side, 3), **zero_gamma)
    check_same(model, images(1, side, side, 3))


# --- What the weights do ----------------------------------------------------------


@pytest.fixture(scope="module")
def addition():
    layer = RoutedAdd(shortcut=1)
    layer.build([(None, 3), (None, 3)])
    return layer


def gradients(layer, a, b):
    """Of the sum of squares of the sum, with respect to both inputs."""

    def function(values):
        return keras.ops.sum(layer(values) ** 2)

    found = value_and_gradients(function)([a, b])[1]
    return [keras.ops.convert_to_numpy(one) for one in found]


def test_factors_and_gates(addition):
    a, b = images(2, 3), images(2, 3, seed=2)
    np.testing.assert_array_equal(called(addition, [a, b]), a + b)
    for one in gradients(addition, a, b):
        np.testing.assert_allclose(one, 2 * (a + b), rtol=1e-6)
    addition.gate_carry.assign(0.25)
    addition.gate_residual.assign(0.0)
    np.testing.assert_allclose(called(addition, [a, b]), a + b, rtol=1e-6)
    of_residual, of_shortcut = gradients(addition, a, b)
    np.testing.assert_array_equal(of_residual, 0)
    np.testing.assert_allclose(of_shortcut, (a + b) / 2, rtol=1e-5)
    addition.carry.assign(3.0)
    addition.residual.assign(0.0)
    np.testing.assert_allclose(called(addition, [a, b]), 3 * b, rtol=1e-6)
    assert not addition.trainable_weights
    again = RoutedAdd.from_config(addition.get_config())
    assert (again.shortcut, again.ordinary_carry) == (1, 1.0)


def test_a_deleted_block_is_its_shortcut():
    model = shared_net()
    x = images(2, *SIZE)
    routed = shared_routed()
    routed.delete([block.name for block in routed.blocks[:2]])
    stem = keras.Model(model.input, model.get_layer("stem_relu").output)
    second = model.get_layer("stage1_block2_relu").output
    rest = keras.Model(second, model.output)
    # Two blocks that add nothing to what ReLU has left.
    expected = called(rest, called(stem, x))
    np.testing.assert_allclose(called(routed.model, x), expected, atol=1e-5)
    assert np.abs(expected - called(model, x)).max() > 0.1
    routed.delete([])
    np.testing.assert_allclose(called(routed.model, x), called(model, x), atol=1e-5)


def test_a_deleted_block_of_a_plain_net_is_left_out():
    model = shared_net("plain")
    x = images(2, *SIZE)
    routed = shared_routed("plain")
    routed.delete([routed.blocks[1]])
    first = keras.Model(model.input, model.get_layer("stage1_block1_2_relu").output)
    rest = keras.Model(model.get_layer("stage1_block2_2_relu").output, model.output)
    expected = called(rest, called(first, x))
    np.testing.assert_allclose(called(routed.model, x), expected, atol=1e-5)
    routed.delete([])


def test_a_routed_network_is_saved_and_loaded(tmp_path):
    routed = shared_routed("plain")
    routed.delete(routed.blocks[:1])
    routed.model.save(tmp_path / "routed.keras")
    loaded = keras.saving.load_model(tmp_path / "routed.keras")
    x = images(2, *SIZE)
    np.testing.assert_allclose(called(loaded, x), called(routed.model, x), rtol=1e-6)
    routed.delete([])
    assert loaded.get_layer(routed.blocks[0].name).ordinary_carry == 0.0
