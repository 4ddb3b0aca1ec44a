"""Devices, precision and XLA: honoured or refused, and replicas that agree."""

import json
import os
import subprocess
import sys

import pytest

from keras_resnet.config.architectures import ARCHITECTURES
from keras_resnet.training import batch_norm, machine, strategy

ONE_CPU = machine.Devices("cpu", ("cpu:0",))
TWO_CPUS = machine.Devices("cpu", ("cpu:0", "cpu:1"))
TWO_GPUS = machine.Devices("gpu", ("gpu:0", "gpu:1"))
ONE_GPU = machine.Devices("gpu", ("gpu:0",))


def on_backend(monkeypatch, name):
    monkeypatch.setattr("keras.backend.backend", lambda: name)


@pytest.mark.parametrize("request_", ["cpu", "cpu:1"])
def test_one_cpu(request_):
    assert machine.find_devices(request_) == ONE_CPU


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ("tpu", "must be 'all'"),
        ("cpu:x", "Received: devices='cpu:x'"),
        ("cpu:0", "at least one CPU"),
        ("gpu:7", "does not see"),
    ],
)
def test_devices_that_are_not_there(request_, message):
    with pytest.raises(ValueError, match=message):
        machine.find_devices(request_)


def test_a_record_names_the_gpus(monkeypatch):
    tf = pytest.importorskip("tensorflow")
    assert machine.accelerators(ONE_CPU) == []
    monkeypatch.setattr(tf.config, "get_visible_devices", lambda kind: ["a", "b"])
    monkeypatch.setattr(
        tf.config.experimental,
        "get_device_details",
        {"a": {"device_name": "NVIDIA H200"}, "b": {}}.get,
    )
    assert machine.accelerators(TWO_GPUS) == ["NVIDIA H200", "GPU"]
    hosts = machine.Devices("gpu", TWO_GPUS.names, workers=2)
    assert machine.accelerators(hosts) == 2 * ["NVIDIA H200", "GPU"]


def test_several_devices_on_torch_are_refused(monkeypatch):
    on_backend(monkeypatch, "torch")
    with pytest.raises(ValueError, match="On the PyTorch backend training uses one"):
        machine.find_devices("cpu:2")


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


@pytest.mark.parametrize("network", ["resnet20", "resnet18"])
def test_precision_on_the_cpu(network):
    spec = ARCHITECTURES[network]
    assert machine.choose_precision("auto", ONE_CPU, spec) == "float32"
    assert machine.choose_precision("mixed_bfloat16", ONE_CPU, spec) == "mixed_bfloat16"
    with pytest.raises(ValueError, match="needs a GPU"):
        machine.choose_precision("mixed_float16", ONE_CPU, spec)
    with pytest.raises(ValueError, match="must be one of"):
        machine.choose_precision("float8", ONE_CPU, spec)


@pytest.mark.parametrize(
    ("capability", "policy"),
    [((9, 0), "mixed_bfloat16"), ((7, 5), "mixed_float16"), ((6, 1), "float32")],
)
def test_precision_follows_the_gpu(monkeypatch, capability, policy):
    monkeypatch.setattr(machine, "_compute_capability", lambda: capability)
    spec = ARCHITECTURES["resnet50"]
    assert machine.choose_precision("auto", ONE_GPU, spec) == policy


@pytest.mark.parametrize("has_bfloat16", [True, False])
def test_bottlenecks_take_the_cpus_bfloat16(monkeypatch, has_bfloat16):
    monkeypatch.setattr(machine, "_cpu_has_bfloat16", lambda: has_bfloat16)
    chosen = machine.choose_precision("auto", ONE_CPU, ARCHITECTURES["resnet50"])
    assert chosen == ("mixed_bfloat16" if has_bfloat16 else "float32")


@pytest.mark.parametrize(
    ("backend", "request_", "devices", "expected"),
    [
        ("tensorflow", "auto", ONE_CPU, False),
        ("tensorflow", "on", ONE_CPU, True),
        ("tensorflow", "auto", ONE_GPU, True),
        ("tensorflow", "auto", TWO_GPUS, False),
        ("tensorflow", "on", TWO_CPUS, True),
        ("tensorflow", "off", ONE_GPU, False),
        ("jax", "auto", TWO_CPUS, True),
        ("torch", "auto", ONE_GPU, False),
    ],
)
def test_xla(monkeypatch, backend, request_, devices, expected):
    on_backend(monkeypatch, backend)
    assert machine.choose_xla(request_, devices) is expected


@pytest.mark.parametrize(
    ("backend", "request_", "devices", "message"),
    [
        ("jax", "off", ONE_CPU, "always compiles"),
        ("torch", "on", ONE_CPU, "has no XLA"),
        ("tensorflow", "maybe", ONE_CPU, "must be 'auto'"),
    ],
)
def test_xla_that_cannot_be_had_is_an_error(
    monkeypatch, backend, request_, devices, message
):
    on_backend(monkeypatch, backend)
    with pytest.raises(ValueError, match=message):
        machine.choose_xla(request_, devices)


def test_xla_and_synchronized_batch_norm_exclude_each_other(monkeypatch):
    on_backend(monkeypatch, "tensorflow")
    with pytest.raises(ValueError, match="exclude each other.*--backend jax"):
        machine.choose_xla("on", TWO_CPUS, synchronized=True)
    assert machine.choose_xla("auto", TWO_GPUS, synchronized=True) is False
    assert machine.choose_xla("on", ONE_CPU, synchronized=True) is True


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
