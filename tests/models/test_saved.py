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


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["tensorflow", "jax", "torch"])
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
QUICK = ("resnet20", "resnet110_v2", "resnetv2_18", "resnext29_32x4d")


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
