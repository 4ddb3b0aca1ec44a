"""Networks saved and loaded: as .keras, as .h5, as JSON, and in older forms."""

import json
import os
import subprocess
import sys
from dataclasses import replace

import keras
import numpy as np
import pytest

import keras_resnet
from keras_resnet.config.architectures import ARCHITECTURES
from keras_resnet.config.merges import ExclusiveGate
from keras_resnet.config.preprocessing import CIFAR10_MEAN, Preprocessing
from keras_resnet.models import shortcuts, stems
from keras_resnet.models.layers import channel_axis
from keras_resnet.models.preprocessing import normalized
from keras_resnet.models.resnet import build
from keras_resnet.models.saved import save, without_newer
from tests.helpers.cut import cut
from tests.helpers.reference import called, images, with_random_weights
from tests.models.test_resnet import tiny

PLAIN_KERAS = """
import sys
import keras, numpy as np
x = np.load("x.npy")
for name in sys.argv[1:]:
    for suffix in (".keras", ".h5"):
        model = keras.models.load_model(name + suffix, compile=False)
        logits = keras.ops.convert_to_numpy(keras.ops.stop_gradient(model(x)))
        np.save(name + suffix + ".npy", logits)
if "keras_resnet" in sys.modules:
    raise SystemExit("keras_resnet was imported")
"""


VARIANTS = {
    "plain": tiny(order="plain", shortcut=None),
    "a": tiny(shortcut="A"),
    "b": tiny("bottleneck"),
    "v1_5": tiny("bottleneck_v1_5", shortcut="C"),
    "v2": tiny("bottleneck_v1_5", order="preactivation", stem="imagenet"),
    "v2a": tiny(order="preactivation", shortcut="A"),
    "bare": tiny(order="preactivation", stem="bare"),
    "d": tiny(shortcut="D", stem="deep", squeeze_excitation=16),
    "gated": tiny(merge=ExclusiveGate(bias=-1.0)),
    "depth": tiny(stochastic_depth=0.5),
    "dark": tiny("darknet", order="darknet", stem="darknet"),
}


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A folder of small networks of each kind, and what they answer."""
    folder = tmp_path_factory.mktemp("saved")
    x = images(2, 16, 16, 3)
    np.save(folder / "x.npy", x)
    for name, spec in VARIANTS.items():
        model = with_random_weights(build(spec, input_shape=(16, 16, 3)))
        model.save(folder / f"{name}.keras")
        model.save(folder / f"{name}.h5")
        np.save(folder / f"{name}.npy", called(model, x))
    return folder


# What Keras 3.10.0 takes for each class: it, 3.11.3 and 3.14.0 loaded all of `VARIANTS`
# with these keys on JAX, and gave logits equal to ours within 2e-6.
TAKEN = {
    "Activation": "activation dtype name trainable",
    "Add": "dtype name trainable",
    "AveragePooling2D": "data_format dtype name padding pool_size strides trainable",
    "BatchNormalization": (
        "axis beta_constraint beta_initializer beta_regularizer center dtype "
        "epsilon gamma_constraint gamma_initializer gamma_regularizer momentum "
        "moving_mean_initializer moving_variance_initializer name scale "
        "synchronized trainable"
    ),
    "Constant": "value",
    "Conv2D": (
        "activation activity_regularizer bias_constraint bias_initializer "
        "bias_regularizer data_format dilation_rate dtype filters groups "
        "kernel_constraint kernel_initializer kernel_regularizer kernel_size name "
        "padding strides trainable use_bias"
    ),
    "DTypePolicy": "name",
    "Dense": (
        "activation bias_constraint bias_initializer bias_regularizer dtype "
        "kernel_constraint kernel_initializer kernel_regularizer name trainable "
        "units use_bias"
    ),
    "Dropout": "dtype name noise_shape rate seed trainable",
    "Functional": "input_layers layers name output_layers trainable",
    "GlobalAveragePooling2D": "data_format dtype keepdims name trainable",
    "GlorotUniform": "seed",
    "InputLayer": "batch_shape dtype name optional ragged sparse",
    "LeakyReLU": "dtype name negative_slope trainable",
    "MaxPooling2D": "data_format dtype name padding pool_size strides trainable",
    "Multiply": "dtype name trainable",
    "Normalization": "axis dtype invert mean name trainable variance",
    "Ones": "",
    "ReLU": "dtype max_value name negative_slope threshold trainable",
    "Subtract": "dtype name trainable",
    "VarianceScaling": "distribution mode scale seed",
    "ZeroPadding2D": "data_format dtype name padding trainable",
    "Zeros": "",
}


def keys_of(config):
    """The class and the keys of each object in a configuration."""
    if isinstance(config, list):
        return [pair for one in config for pair in keys_of(one)]
    if not isinstance(config, dict):
        return []
    found = [pair for one in config.values() for pair in keys_of(one)]
    if isinstance(config.get("config"), dict):
        found.append((config["class_name"], set(config["config"])))
    return [pair for pair in found if pair[0] != "__keras_tensor__"]


def test_keras_3_10_takes_every_key_of_what_is_saved():
    for name in ("a", "d", "v2", "gated", "dark"):  # With layers of every class.
        config = keras.saving.serialize_keras_object(build(VARIANTS[name]))
        for kind, keys in keys_of(without_newer(config)):
            assert keys <= set(TAKEN[kind].split()), (name, kind)


def test_what_is_used_of_a_newer_keras_is_kept():
    layer = keras.layers.BatchNormalization(renorm=True, renorm_momentum=0.5)
    config = without_newer(keras.saving.serialize_keras_object(layer))["config"]
    assert (config["renorm"], config["renorm_momentum"]) == (True, 0.5)
    # Of defaults, those that earlier versions know.
    values = {"renorm": False, "renorm_momentum": 0.99, "momentum": 0.99}
    config = {"class_name": "BatchNormalization", "config": values}
    assert without_newer(config)["config"] == {"momentum": 0.99}


def test_what_is_saved_is_what_keras_saves_otherwise(tmp_path):
    model = with_random_weights(build(VARIANTS["d"], input_shape=(16, 16, 3)))
    for _ in range(2):  # One that is there is replaced.
        save(model, tmp_path / "m.keras")
    assert [path.name for path in tmp_path.iterdir()] == ["m.keras"]
    loaded = keras.saving.load_model(tmp_path / "m.keras")
    x = images(2, 16, 16, 3)
    np.testing.assert_array_equal(called(loaded, x), called(model, x))


@pytest.mark.slow
@pytest.mark.parametrize(
    "backend",
    [
        "tensorflow",
        *(
            pytest.param(name, marks=pytest.mark.exhaustive)
            for name in ("jax", "torch")
        ),
    ],
)
def test_a_saved_network_needs_keras_alone(saved, backend):
    pytest.importorskip(backend)
    # `-P` and another directory, so that the checkout is not on the path.
    result = subprocess.run(
        [sys.executable, "-P", "-c", PLAIN_KERAS, *VARIANTS],
        cwd=saved,
        env=os.environ | {"KERAS_BACKEND": backend},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert result.returncode == 0, result.stderr
    same_backend = backend == keras.backend.backend()
    tolerance = 0 if same_backend else 1e-5
    for name in VARIANTS:
        for suffix in (".keras", ".h5"):
            np.testing.assert_allclose(
                np.load(saved / f"{name}{suffix}.npy"),
                np.load(saved / f"{name}.npy"),
                err_msg=name + suffix,
                atol=tolerance,
                rtol=tolerance,
            )


# --- Every network ----------------------------------------------------------------


def strict(constant):
    raise AssertionError(f"JSON has no {constant}")


def assert_there_and_back(model, folder):
    """A model is the same as .keras, as .h5 and as JSON, and of Keras's layers alone."""
    # A function of `keras.ops` in a graph is an operation that is no layer.
    assert {op.name for op in model.operations} == {one.name for one in model.layers}
    side = 32 if None in model.input_shape[1:] else model.input_shape[1]
    x = images(1, side, side, 3)
    expected = called(model, x)
    for suffix in (".keras", ".h5"):
        model.save(folder / f"model{suffix}")
        loaded = keras.models.load_model(folder / f"model{suffix}", compile=False)
        np.testing.assert_array_equal(called(loaded, x), expected, err_msg=suffix)
    text = model.to_json()
    json.loads(text, parse_constant=strict)
    loaded = keras.models.model_from_json(text)
    loaded.set_weights(model.get_weights())
    np.testing.assert_array_equal(called(loaded, x), expected)


def small(spec):
    """A network with all of a row's parts, of one block a stage and few filters."""
    return cut(spec, repeats=1, narrower=1 if spec.groups > 1 else 2)


# Of the parts that Keras's own layers have made anew, and of our one layer.
QUICK = ("resnet20", "resnetv2_18")


@pytest.mark.parametrize(
    "name",
    [
        name if name in QUICK else pytest.param(name, marks=pytest.mark.exhaustive)
        for name in ARCHITECTURES
    ],
)
def test_every_network_there_and_back(name, tmp_path):
    spec = small(ARCHITECTURES[name])
    side = max(32, spec.stride)
    model = with_random_weights(build(spec, input_shape=(side, side, 3), classes=3))
    assert_there_and_back(model, tmp_path)


@pytest.mark.parametrize("order", ["rgb", "bgr"])
def test_preprocessing_there_and_back(order, tmp_path):
    preprocessing = Preprocessing(
        channels=3,
        resize=None,
        size=(32, 32),
        mean=CIFAR10_MEAN,
        std=(63.0, 62.1, 66.7),
        channel_order=order,
    )
    inputs = keras.Input((32, 32, 3))
    model = keras.Model(inputs, normalized(inputs, preprocessing))
    assert_there_and_back(model, tmp_path)
    x = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), "uint8")
    before = x[..., ::-1] if order == "bgr" else x
    expected = (before - np.float32(CIFAR10_MEAN)) / np.float32(preprocessing.std)
    np.testing.assert_allclose(called(model, x), expected, rtol=1e-5, atol=1e-5)
    # Half precision would round the images.
    with_policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        inputs = keras.Input((32, 32, 3))
        half = keras.Model(inputs, normalized(inputs, preprocessing))
    finally:
        keras.config.set_dtype_policy(with_policy)
    np.testing.assert_array_equal(called(half, x + 0.1), called(model, x + 0.1))


# --- Files of graphs with functions of `keras.ops` -----------------------------------


def old_zero_padding(x, filters, *, stride, name):
    """Option A as networks were built and saved until version 0.1."""
    if stride > 1:
        x = keras.layers.AveragePooling2D(1, strides=stride, name=f"{name}_shortcut")(x)
    missing = filters - x.shape[channel_axis()]
    return keras.ops.pad(x, [(0, 0)] * 3 + [(0, missing)]) if missing else x


def old_pool(x):
    """Max pooling of timm's v2 as networks were built and saved until version 0.1."""
    border = [(0, 0), (1, 1), (1, 1), (0, 0)]
    x = keras.ops.pad(x, border, constant_values=float("-inf"))
    return keras.layers.MaxPooling2D(3, strides=2, name="stem_pool")(x)


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", ["a", "v2a", "bare"])
def test_older_files_load(name, tmp_path, monkeypatch):
    spec = VARIANTS[name]
    x = images(2, 18, 22, 3)
    with monkeypatch.context() as patch:
        patch.setitem(shortcuts.SHORTCUTS, "A", old_zero_padding)
        bare = replace(stems.STEMS["bare"], pool=old_pool)
        patch.setitem(stems.STEMS, "bare", bare)
        old = with_random_weights(build(spec, input_shape=(18, 22, 3)))
    assert len(old.operations) > len(old.layers)
    expected = called(old, x)
    old.save(tmp_path / "model.keras")
    old.save_weights(tmp_path / "old.weights.h5")

    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(called(loaded, x), expected)
    new = build(spec, input_shape=(18, 22, 3))
    assert [w.path for w in new.weights] == [w.path for w in old.weights]
    for path in ("old.weights.h5", "model.keras"):
        new = keras_resnet.create(
            spec, input_shape=(18, 22, 3), weights=tmp_path / path
        )
        np.testing.assert_array_equal(called(new, x), expected)
