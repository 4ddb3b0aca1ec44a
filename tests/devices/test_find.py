"""Devices: those that are asked for, or an error."""

import pytest

from keras_resnet.devices.describe import accelerators
from keras_resnet.devices.find import Devices, find_devices

ONE_CPU = Devices("cpu", ("cpu:0",))
TWO_GPUS = Devices("gpu", ("gpu:0", "gpu:1"))


@pytest.mark.parametrize("request_", ["cpu", "cpu:1"])
def test_one_cpu(request_):
    assert find_devices(request_) == ONE_CPU


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ("tpu", "must be 'all'"),
        ("cpu:x", "Received: devices='cpu:x'"),
        ("cpu:0", "at least one CPU"),
        ("gpu:99", "does not see"),
    ],
)
def test_devices_that_are_not_there(request_, message):
    with pytest.raises(ValueError, match=message):
        find_devices(request_)


def test_devices_named_too_late():
    tf = pytest.importorskip("tensorflow")
    tf.zeros(1)  # From now on TensorFlow has one CPU.
    with pytest.raises(ValueError, match="'cpu:3' must be asked for before tensorflow"):
        find_devices("cpu:3")


def test_a_record_names_the_gpus(monkeypatch):
    tf = pytest.importorskip("tensorflow")
    assert accelerators(ONE_CPU) == []
    monkeypatch.setattr(tf.config, "get_visible_devices", lambda kind: ["a", "b"])
    monkeypatch.setattr(
        tf.config.experimental,
        "get_device_details",
        {"a": {"device_name": "NVIDIA H200"}, "b": {}}.get,
    )
    assert accelerators(TWO_GPUS) == ["NVIDIA H200", "GPU"]
    hosts = Devices("gpu", TWO_GPUS.names, workers=2)
    assert accelerators(hosts) == 2 * ["NVIDIA H200", "GPU"]


def test_several_devices_on_torch_are_refused(monkeypatch):
    monkeypatch.setattr("keras.backend.backend", lambda: "torch")
    with pytest.raises(ValueError, match="On the PyTorch backend training uses one"):
        find_devices("cpu:2")
