"""TensorFlow beside another backend."""

import pytest
import tensorflow as tf

from keras_resnet.devices import host


@pytest.fixture(autouse=True)
def anew():
    """As in a process that has not used TensorFlow yet."""
    host.tensorflow.cache_clear()
    yield
    host.tensorflow.cache_clear()


@pytest.mark.parametrize("backend", ["tensorflow", "jax", "torch"])
def test_tensorflow_takes_no_gpu_from_another_backend(monkeypatch, backend):
    hidden = []
    monkeypatch.setattr("keras.backend.backend", lambda: backend)
    monkeypatch.setattr(
        tf.config, "set_visible_devices", lambda *args: hidden.append(args)
    )
    assert host.tensorflow() is host.tensorflow() is tf
    assert hidden == ([] if backend == "tensorflow" else [([], "GPU")])


def test_hiding_gpus_too_late_is_no_error(monkeypatch):
    monkeypatch.setattr("keras.backend.backend", lambda: "jax")

    def too_late(*args):
        raise RuntimeError("must be set at program startup")

    monkeypatch.setattr(tf.config, "set_visible_devices", too_late)
    assert host.tensorflow() is tf
