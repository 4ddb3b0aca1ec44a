"""Precision and XLA: honoured or refused."""

import importlib
import operator

import keras
import pytest

from keras_resnet.config.architectures import ARCHITECTURES
from keras_resnet.devices import find, precision
from keras_resnet.runs.request import TrainRequest

ONE_CPU = find.Devices("cpu", ("cpu:0",))
TWO_CPUS = find.Devices("cpu", ("cpu:0", "cpu:1"))
ONE_GPU = find.Devices("gpu", ("gpu:0",))
TWO_GPUS = find.Devices("gpu", ("gpu:0", "gpu:1"))


def on_backend(monkeypatch, name):
    monkeypatch.setattr("keras.backend.backend", lambda: name)


@pytest.mark.parametrize("network", ["resnet20", "resnet18"])
def test_precision_on_the_cpu(monkeypatch, network):
    monkeypatch.setattr(precision, "_cpu_has_bfloat16", lambda: True)
    spec = ARCHITECTURES[network]
    assert precision.choose_precision("auto", ONE_CPU, spec) == "float32"
    assert (
        precision.choose_precision("mixed_bfloat16", ONE_CPU, spec) == "mixed_bfloat16"
    )
    with pytest.raises(ValueError, match="needs a GPU"):
        precision.choose_precision("mixed_float16", ONE_CPU, spec)
    with pytest.raises(ValueError, match="must be one of"):
        precision.choose_precision("float8", ONE_CPU, spec)


@pytest.mark.parametrize(
    ("capability", "policy"),
    [((9, 0), "mixed_bfloat16"), ((7, 5), "mixed_float16"), ((6, 1), "float32")],
)
def test_precision_follows_the_gpu(monkeypatch, capability, policy):
    monkeypatch.setattr(precision, "compute_capability", lambda devices: capability)
    spec = ARCHITECTURES["resnet50"]
    assert precision.choose_precision("auto", ONE_GPU, spec) == policy


@pytest.mark.parametrize("has_bfloat16", [True, False])
def test_bottlenecks_take_the_cpus_bfloat16(monkeypatch, has_bfloat16):
    monkeypatch.setattr(precision, "_cpu_has_bfloat16", lambda: has_bfloat16)
    chosen = precision.choose_precision("auto", ONE_CPU, ARCHITECTURES["resnet50"])
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
    assert precision.choose_xla(request_, devices) is expected


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
        precision.choose_xla(request_, devices)


def test_xla_and_synchronized_batch_norm_exclude_each_other(monkeypatch):
    on_backend(monkeypatch, "tensorflow")
    with pytest.raises(ValueError, match="exclude each other.*--backend jax"):
        precision.choose_xla("on", TWO_CPUS, synchronized=True)
    assert precision.choose_xla("auto", TWO_GPUS, synchronized=True) is False
    assert precision.choose_xla("on", ONE_CPU, synchronized=True) is True


class Reached(Exception):
    """Of a test: a function has come as far as it should."""


@pytest.mark.parametrize(
    ("module", "function", "inner", "arguments"),
    [
        ("reproduce", "_train", "find_devices", (TrainRequest(), None)),
        ("reproduce", "plan", "find_devices", ()),
        ("runs.load", "load", "local_path", ("run",)),
        ("runs.load", "Run.scores", "as_uint8", (None, None)),
        ("runs.evaluate", "evaluate", "load", ("run",)),
        ("runs.export", "export", "load", ("run",)),
        ("runs.convert", "convert", "local_path", ("weights.npz", "out")),
    ],
)
def test_what_keras_is_told_does_not_reach(
    monkeypatch, keras_is_told, module, function, inner, arguments
):
    def told():
        config = keras.config
        return (
            config.dtype_policy().name,
            config.floatx(),
            config.epsilon(),
            config.image_data_format(),
            config.max_epochs(),
            config.max_steps_per_epoch(),
        )

    def reached(*_):
        assert told() == ("float32", "float32", 1e-7, "channels_last", None, None)
        raise Reached

    keras_is_told()
    users = told()
    module = importlib.import_module(f"keras_resnet.{module}")
    monkeypatch.setattr(module, inner, reached)
    with pytest.raises(Reached):
        operator.attrgetter(function)(module)(*arguments)
    assert told() == users
