"""TensorFlow beside another backend."""

import re

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_resnet.data.decoding import decode
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


def as_a_dataset(contents):
    images = tf.data.Dataset.from_tensor_slices([contents]).map(lambda c: decode(c, 3))
    list(images)


def in_fit(contents):
    if keras.backend.backend() != "tensorflow":
        pytest.skip("Keras's graph is TensorFlow's")
    model = keras.Sequential([keras.Input((None, None, 3)), keras.layers.Flatten()])
    model.compile("sgd", "mse")
    images = tf.data.Dataset.from_tensor_slices([contents]).map(lambda c: decode(c, 3))
    model.fit(images.map(lambda x: (tf.cast(x, tf.float32)[None], np.zeros((1, 3)))))


@pytest.mark.parametrize(
    "run",
    [
        lambda contents: decode(tf.constant(contents), 3),
        tf.function(lambda contents: decode(tf.constant(contents), 3)),
        as_a_dataset,
        in_fit,
    ],
    ids=["eager", "function", "dataset", "fit"],
)
@pytest.mark.parametrize(
    ("contents", "message"),
    [
        (b"text", r"Unknown image file format\. One of JPEG, .* required\."),
        (
            b"\xff\xd8\xff",
            r"jpeg::Uncompress failed\. Invalid JPEG data or crop window\.",
        ),
    ],
)
def test_messages_say_nothing_of_the_graph(run, contents, message):
    with pytest.raises(tf.errors.InvalidArgumentError) as info:
        run(contents)
    assert "node" in str(info.value) or "[Op:" in str(info.value)
    assert re.fullmatch(message, host.plain_message(info.value))


@pytest.mark.parametrize(
    "text", ["Received: [[1, 2]].", "two\n  lines", "{{a}} [b] name:"]
)
def test_other_messages_stay_as_they_are(text):
    assert host.plain_message(ValueError(text)) == text
    assert host.plain_message(ValueError()) == "ValueError"
