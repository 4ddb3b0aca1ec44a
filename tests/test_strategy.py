"""Where a run computes, and replicas that agree."""

import json
import os
import subprocess
import sys

import pytest

from keras_resnet.training import batch_norm, machine, strategy

ONE_CPU = machine.Devices("cpu", ("cpu:0",))
TWO_GPUS = machine.Devices("gpu", ("gpu:0", "gpu:1"))


def on_backend(monkeypatch, name):
    monkeypatch.setattr("keras.backend.backend", lambda: name)


@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_one_device_is_the_one_that_computes(monkeypatch, backend):
    on_backend(monkeypatch, backend)
    monkeypatch.setattr("keras.device", lambda name: f"scope of {name}")
    second = machine.Devices("gpu", ("gpu:1",))
    assert strategy.distribution(second) == "scope of gpu:1"
    assert strategy.first_device(TWO_GPUS) == "scope of gpu"
    assert strategy.distribution(ONE_CPU) == "scope of cpu"


def test_on_tensorflow_visible_devices_decide():
    with strategy.distribution(ONE_CPU) as scope:
        assert scope is None


@pytest.mark.multiprocess
def test_jax_computes_on_the_device_that_is_named():
    pytest.importorskip("jax", reason="needs jax: pip install jax")
    code = (
        "import jax, keras\n"
        "from keras_resnet.training import machine, strategy\n"
        "machine.find_devices('cpu:2')\n"
        "with strategy.distribution(machine.Devices('cpu', ('cpu:1',))):\n"
        "    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])\n"
        "    model.compile('sgd', 'mse')\n"
        "    zeros = keras.ops.zeros\n"
        "    model.fit(zeros((4, 3)), zeros((4, 2)), verbose=0)\n"
        "print(model.weights[0].value.devices() == {jax.devices('cpu')[1]})\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={**os.environ, "CUDA_VISIBLE_DEVICES": "-1", "KERAS_BACKEND": "jax"},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.strip() == "True"


def test_synchronized_batch_norm_is_tensorflows(monkeypatch):
    on_backend(monkeypatch, "jax")
    with pytest.raises(ValueError, match="global batch anyway"):
        batch_norm.synchronize(None, True)


@pytest.mark.multiprocess
def test_two_devices_train_like_one():
    done = subprocess.run(
        [sys.executable, "-m", "tests.two_devices"],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "CUDA_VISIBLE_DEVICES": "-1", "TF_ENABLE_ONEDNN_OPTS": "0"},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    differences = json.loads(done.stdout)
    assert differences["without"] < 1e-9
    assert differences["synchronized"] < 1e-5
    # With the ordinary kind, each replica has statistics of its own half …
    assert differences["replicas_differed"] > 0.1
    # … and what is saved is their mean.
    assert differences["saved_is_mean"] < 1e-6
    assert differences["callback_averaged"] == 0
