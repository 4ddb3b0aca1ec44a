"""Networks as backbones: feature maps by name, any input, weights from elsewhere."""

import functools
import math

import keras
import numpy as np
import pytest

import keras_resnet
from keras_resnet.config.architectures import ARCHITECTURES
from keras_resnet.weights.to_torch import to_state_dict
from tests.helpers.cut import cut
from tests.helpers.reference import called, images, with_random_weights

# Counted on the papers' figures: by what each map's side is divided.
STRIDES = {
    "resnet18": {"stem": 2, "stage1": 4, "stage2": 8, "stage3": 16, "stage4": 32},
    "resnet18_v2": {"stem": 2, "stage1": 4, "stage2": 8, "stage3": 16, "stage4": 32},
    "resnetv2_18": {"stem": 2, "stage1": 4, "stage2": 8, "stage3": 16, "stage4": 32},
    "resnet20": {"stem": 1, "stage1": 1, "stage2": 2, "stage3": 4},
    "drn_d_22": {"stem": 1, "stage1": 1, "stage2": 2, "stage3": 4}
    | {f"stage{number}": 8 for number in (4, 5, 6, 7, 8)},
    "darknet53": {"stem": 1, "stage1": 2, "stage2": 4, "stage3": 8, "stage4": 16}
    | {"stage5": 32},
}  # fmt: skip
CHANNELS = {
    "resnet18": (64, 64, 128, 256, 512),
    "resnet18_v2": (64, 64, 128, 256, 512),
    "resnetv2_18": (64, 64, 128, 256, 512),
    "resnet20": (16, 16, 32, 64),
    "drn_d_22": (16, 16, 32, 64, 128, 256, 512, 512, 512),
    "darknet53": (32, 64, 128, 256, 512, 1024),
}
NETWORKS = pytest.mark.parametrize("name", STRIDES)
# Of few layers: one with batch norm behind its convolutions, one before and at the end.
SMALL = pytest.mark.parametrize("name", ["resnet20", "resnetv2_18"])


@pytest.fixture(scope="module", autouse=True)
def one_block_a_stage():
    """What is asked of the networks here doesn't depend on their depth."""
    patch = pytest.MonkeyPatch()
    for name, spec in list(ARCHITECTURES.items()):
        patch.setitem(ARCHITECTURES, name, cut(spec, repeats=1))
    yield
    patch.undo()


@functools.cache
def whole(name, **options):
    """All feature maps, from random weights; shared, so not to be changed."""
    return with_random_weights(keras_resnet.backbone(name, **options))


def maps_of(model, x):
    """The feature maps as arrays."""
    maps = model(x, training=False)
    return {
        name: keras.ops.convert_to_numpy(keras.ops.stop_gradient(y))
        for name, y in maps.items()
    }


def assert_same_maps(maps, expected, **tolerance):
    assert list(maps) == list(expected)
    for name in expected:
        np.testing.assert_allclose(
            maps[name], expected[name], err_msg=name, **tolerance
        )


def named_weights(model):
    """Our own names: a state dict that every network has."""
    return {
        "/".join(variable.path.split("/")[-2:]): value
        for variable, value in zip(model.weights, model.get_weights(), strict=True)
    }


def names_of(model):
    return {layer.name for layer in model.layers}


# --- Feature maps -----------------------------------------------------------------


@NETWORKS
@pytest.mark.parametrize("side", [64, 75])
def test_feature_maps(name, side):
    model = whole(name)
    maps = maps_of(model, images(1, side, side + 8, 3))
    assert model.strides == STRIDES[name]
    assert list(maps) == list(STRIDES[name])
    for (part, stride), filters in zip(
        STRIDES[name].items(), CHANNELS[name], strict=True
    ):
        # A border on both sides: an odd side's last pixel has an output of its own.
        expected = (1, math.ceil(side / stride), math.ceil((side + 8) / stride))
        assert maps[part].shape == (*expected, filters), part


@NETWORKS
def test_the_last_map_is_the_networks(name):
    model = whole(name)
    network = keras_resnet.create(name, include_top=False)
    network.set_weights(model.get_weights())
    x = images(2, 64, 64, 3)
    *_, last = maps_of(model, x).values()
    np.testing.assert_array_equal(last, called(network, x))


@pytest.mark.parametrize(
    ("name", "strides"),
    [("resnetv2_18", (4, 8, 8, 8)), ("resnet20", (1, 2, 2))],
)
def test_output_stride(name, strides):
    stride = strides[-1]
    dilated = keras_resnet.backbone(name, output_stride=stride)
    assert tuple(dilated.strides.values())[1:] == strides
    x = images(1, 64, 64, 3)
    sides = [y.shape[1] for y in maps_of(dilated, x).values()][1:]
    assert sides == [64 // stride for stride in strides]
    # The weights are those of the network itself.
    network = keras_resnet.backbone(name)
    shapes = {k: v.shape for k, v in named_weights(network).items()}
    assert {k: v.shape for k, v in named_weights(dilated).items()} == shapes


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", ["resnet18", "resnet50", "resnet50_v1_5"])
def test_dilation_keeps_what_the_stride_left(name):
    """Up to the first stride that is replaced, the maps are the same."""
    network = whole(name)
    dilated = keras_resnet.backbone(name, output_stride=8)
    dilated.set_weights(network.get_weights())
    x = images(1, 64, 64, 3)
    maps, expected = maps_of(dilated, x), maps_of(network, x)
    for part in ("stem", "stage1", "stage2"):
        np.testing.assert_array_equal(maps[part], expected[part])
    # Dilated, the convolutions see at every second pixel what they saw before.
    np.testing.assert_allclose(
        maps["stage3"][:, ::2, ::2], expected["stage3"], rtol=1e-4, atol=1e-4
    )
    np.testing.assert_allclose(
        maps["stage4"][:, ::4, ::4], expected["stage4"], rtol=1e-4, atol=1e-4
    )


# --- A choice of them -------------------------------------------------------------


@SMALL
def test_chosen_features(name):
    *_, before, last = STRIDES[name]
    chosen = keras_resnet.backbone(name, features=(before, "stem"))
    assert chosen.strides == {
        before: STRIDES[name][before],
        "stem": STRIDES[name]["stem"],
    }
    assert not [layer for layer in names_of(chosen) if layer.startswith(last)]
    assert "final_bn" not in names_of(chosen)
    weights = named_weights(whole(name))
    chosen.set_weights([weights[path] for path in named_weights(chosen)])
    x = images(1, 64, 64, 3)
    expected = maps_of(whole(name), x)
    assert_same_maps(
        maps_of(chosen, x), {part: expected[part] for part in (before, "stem")}
    )


@pytest.mark.parametrize(
    "features", [["stage5"], ["stem", "c4"], [], "stage4"], ids=str
)
def test_unknown_features(features):
    with pytest.raises(ValueError, match="stem, stage1, .*Received: features="):
        keras_resnet.backbone("resnet18", features=features)


def test_an_image_too_small():
    with pytest.raises(ValueError, match="at least 32x32"):
        keras_resnet.backbone("resnet18", input_shape=(16, 16, 3))


# --- Saved and loaded -------------------------------------------------------------


@SMALL
def test_a_saved_backbone_needs_keras_alone(name, tmp_path):
    model = whole(name)
    model.save(tmp_path / "backbone.keras")
    loaded = keras.models.load_model(tmp_path / "backbone.keras")
    x = images(1, 64, 64, 3)
    assert_same_maps(maps_of(loaded, x), maps_of(model, x))


@pytest.mark.parametrize("features", [None, ("stage2", "stage3")], ids=["all", "two"])
@pytest.mark.parametrize("suffix", [".weights.h5", ".keras"])
@pytest.mark.parametrize("source", ["backbone", "network"])
def test_weights_from_a_keras_file(tmp_path, suffix, source, features):
    name, path = "resnet20", tmp_path / f"w{suffix}"
    network = whole(name)
    if source == "network":
        network = with_random_weights(keras_resnet.create(name))
    network.save(path) if suffix == ".keras" else network.save_weights(path)
    model = keras_resnet.backbone(name, weights=path, features=features)
    expected = named_weights(network)
    for path, value in named_weights(model).items():
        np.testing.assert_array_equal(value, expected[path], err_msg=path)


@SMALL
@pytest.mark.parametrize("features", [None, ("stem", "stage2")], ids=["all", "two"])
def test_weights_from_a_state_dict(name, features):
    network = whole(name)
    state = named_weights(network)
    model = keras_resnet.backbone(name, weights=state, features=features)
    x = images(1, 64, 64, 3)
    expected = maps_of(network, x)
    assert_same_maps(maps_of(model, x), {part: expected[part] for part in model.output})


def test_weights_in_torchvisions_names():
    network = with_random_weights(
        keras_resnet.create("resnet18", input_shape=(64, 64, 3))
    )
    state = to_state_dict(network, ARCHITECTURES["resnet18"], "torchvision")
    assert "fc.weight" in state
    model = keras_resnet.backbone("resnet18", weights=state)
    x = images(1, 64, 64, 3)
    features = keras.Model(network.input, network.get_layer("pool").input)
    np.testing.assert_array_equal(maps_of(model, x)["stage4"], called(features, x))


# --- Input channels ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "channels"),
    [("resnet20", 1), ("resnet20", 4), ("resnet20", 6), ("resnet18d", 1)],
)
def test_weights_for_rgb_fit_other_channels(name, channels):
    network = whole(name)
    state = named_weights(network)
    model = keras_resnet.backbone(
        name, weights=state, input_shape=(None, None, channels)
    )
    first = "stem_1_conv/kernel" if name == "resnet18d" else "stem_conv/kernel"
    rgb, kernel = state[first], named_weights(model)[first]
    if channels == 1:
        expected = rgb[:, :, 0] + rgb[:, :, 1] + rgb[:, :, 2]
        np.testing.assert_allclose(kernel[:, :, 0], expected, rtol=1e-6, atol=1e-7)
    else:
        order = [0, 1, 2, 0, 1, 2][:channels]
        expected = rgb[:, :, order] * (3 / channels)
        np.testing.assert_allclose(kernel, expected, rtol=1e-6)
    if channels != 4:
        # Of grey images, in as many channels as there are, the maps stay the same.
        grey = images(1, 64, 64, 1)
        assert_same_maps(
            maps_of(model, np.repeat(grey, channels, axis=3)),
            maps_of(network, np.repeat(grey, 3, axis=3)),
            rtol=1e-3,
            atol=1e-3,
        )


def test_weights_for_four_channels_do_not_fit_three():
    network = with_random_weights(
        keras_resnet.backbone("resnet20", input_shape=(None, None, 4))
    )
    with pytest.raises(ValueError, match="stem_conv.*input_shape.*Received: .*4"):
        keras_resnet.backbone("resnet20", weights=named_weights(network))


# --- Frozen batch norm ------------------------------------------------------------


@SMALL
def test_frozen_batch_norm(name):
    model = keras_resnet.backbone(name, frozen_batch_norm=True)
    model.set_weights(whole(name).get_weights())
    trained = {"/".join(v.path.split("/")[-2:]) for v in model.trainable_variables}
    every = set(named_weights(model))
    assert trained == {p for p in every if p.endswith(("kernel", "bias"))}
    # Nor does it use a batch's statistics: training gives what inference gives.
    x = images(2, 64, 64, 3)
    *_, last = model(x, training=True).values()
    *_, expected = maps_of(model, x).values()
    np.testing.assert_allclose(last, expected, rtol=1e-5, atol=1e-5)
    other = keras_resnet.backbone(name)
    other.set_weights(whole(name).get_weights())
    *_, unfrozen = other(x, training=True).values()
    assert np.abs(unfrozen - expected).max() > 0.1


def assert_frozen(model, x):
    """The batch norms of a model don't train, and nothing but them is frozen."""
    trained = {variable.path.split("/")[-1] for variable in model.trainable_variables}
    assert trained == {"kernel"}
    kernels = [v for v in model.variables if v.path.endswith("kernel")]
    assert len(model.trainable_variables) == len(kernels)
    norms = [n for n in model.layers if isinstance(n, keras.layers.BatchNormalization)]
    assert norms
    before = [norm.get_weights() for norm in norms]
    *_, last = model(x, training=True).values()
    *_, expected = maps_of(model, x).values()
    np.testing.assert_allclose(
        keras.ops.convert_to_numpy(keras.ops.stop_gradient(last)),
        expected,
        rtol=1e-5,
        atol=1e-5,
    )
    for norm, weights in zip(norms, before, strict=True):
        assert not norm.trainable
        for now, then in zip(norm.get_weights(), weights, strict=True):
            np.testing.assert_array_equal(now, then)


def thawed(model):
    """The model after the two phases of fine-tuning."""
    model.trainable = False
    assert model.trainable_variables == []
    model.trainable = True
    return model


@pytest.mark.exhaustive
@SMALL
@pytest.mark.parametrize(
    "preprocessing",
    [pytest.param(False, id="bare"), pytest.param(True, id="preprocessing")],
)
def test_frozen_batch_norm_stays_frozen(name, preprocessing, tmp_path):
    model = keras_resnet.backbone(
        name, frozen_batch_norm=True, include_preprocessing=preprocessing
    )
    x = 255 * images(2, 64, 64, 3)
    assert_frozen(thawed(model), x)
    around = keras.Sequential([model])
    assert_frozen(thawed(around).layers[0], x)
    for layer in model.layers:
        layer.trainable = True
    assert_frozen(model, x)

    clone = keras.models.clone_model(model)
    assert_frozen(thawed(clone), x)
    for suffix in (".keras", ".h5"):
        model.save(tmp_path / f"frozen{suffix}")
        loaded = keras.models.load_model(tmp_path / f"frozen{suffix}", compile=False)
        assert_frozen(thawed(loaded), x)


@pytest.mark.parametrize("suffix", [".keras", ".weights.h5"])
def test_files_of_frozen_and_other_batch_norms_are_interchangeable(suffix, tmp_path):
    frozen = with_random_weights(
        keras_resnet.backbone("resnet20", frozen_batch_norm=True)
    )
    other = with_random_weights(keras_resnet.backbone("resnet20"))
    for source, target in ((frozen, other), (other, frozen)):
        path = tmp_path / f"{source is frozen}{suffix}"
        source.save(path) if suffix == ".keras" else source.save_weights(path)
        filled = keras_resnet.backbone(
            "resnet20", weights=path, frozen_batch_norm=target is frozen
        )
        expected = named_weights(source)
        for path, value in named_weights(filled).items():
            np.testing.assert_array_equal(value, expected[path], err_msg=path)
