"""Where a run computes, and replicas that agree."""

import contextlib
import json
import os
import subprocess
import sys

import numpy as np
import pytest

from keras_resnet.devices import distribute, workers
from keras_resnet.devices.find import Devices

ONE_CPU = Devices("cpu", ("cpu:0",))
TWO_GPUS = Devices("gpu", ("gpu:0", "gpu:1"))


def on_backend(monkeypatch, name):
    monkeypatch.setattr("keras.backend.backend", lambda: name)


@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_one_device_is_the_one_that_computes(monkeypatch, backend):
    on_backend(monkeypatch, backend)
    monkeypatch.setattr("keras.device", lambda name: f"scope of {name}")
    second = Devices("gpu", ("gpu:1",))
    assert distribute.distribution(second) == "scope of gpu:1"
    assert distribute.first_device(TWO_GPUS) == "scope of gpu"
    assert distribute.distribution(ONE_CPU) == "scope of cpu"


def test_on_tensorflow_visible_devices_decide():
    with distribute.distribution(ONE_CPU) as scope:
        assert scope is None


@pytest.mark.multiprocess
def test_jax_computes_on_the_device_that_is_named():
    pytest.importorskip("jax", reason="needs jax: pip install jax")
    code = (
        "import jax, keras\n"
        "from keras_resnet.devices import distribute, find\n"
        "find.find_devices('cpu:2')\n"
        "with distribute.distribution(find.Devices('cpu', ('cpu:1',))):\n"
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


@pytest.mark.multiprocess
def test_two_devices_train_like_one():
    done = subprocess.run(
        [sys.executable, "-m", "tests.helpers.two_devices"],
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


class Alone:
    """In place of TensorFlow's strategy of several workers."""

    num_replicas_in_sync = 2

    def scope(self):
        return contextlib.nullcontext()

    def distribute_datasets_from_function(self, function):
        return function(None)


def test_a_loss_is_named_wherever_it_shows(monkeypatch):
    import tensorflow as tf

    monkeypatch.setattr(workers, "joined", Alone)
    two = Devices("cpu", ("cpu:0",), workers=2)
    with pytest.raises(workers.WorkerLost, match="2 workers was lost.*gone"):
        with distribute.distribution(two):
            raise tf.errors.UnavailableError(None, None, "gone")


def test_a_strategy_that_does_not_use_all_devices_is_an_error(monkeypatch):
    monkeypatch.setattr(workers, "joined", Alone)
    two_of_four = Devices("gpu", ("gpu:0", "gpu:1"), workers=2)
    message = "Received: 2 replicas for 4 devices of 2 workers"
    with pytest.raises(RuntimeError, match=message):
        with distribute.distribution(two_of_four):
            pass


def test_batches_are_shared_out_to_a_workers_devices(monkeypatch):
    import tensorflow as tf

    monkeypatch.setattr(workers, "joined", Alone)
    gpus = Devices("gpu", ("gpu:0", "gpu:1"), workers=2)
    images = np.arange(12 * 3, dtype="float32").reshape(12, 3)
    # As of validation: of a size that the data set's type does not tell.
    batches = tf.data.Dataset.from_tensor_slices((images, np.arange(12))).batch(4)
    placed = list(distribute.placed(batches, gpus).as_numpy_iterator())
    assert [labels.tolist() for _, labels in placed] == [
        [i, i + 1] for i in range(0, 12, 2)
    ]
    np.testing.assert_array_equal(np.concatenate([x for x, _ in placed]), images)


def test_images_of_changing_sizes_are_shared_out_too(monkeypatch):
    import tensorflow as tf

    monkeypatch.setattr(workers, "joined", Alone)
    gpus = Devices("gpu", ("gpu:0", "gpu:1"), workers=2)
    batches = tf.data.Dataset.from_generator(
        lambda: (np.zeros((4, side, side, 3)) for side in (5, 7)),
        output_signature=tf.TensorSpec((4, None, None, 3)),
    ).map(lambda images: (images, tf.zeros(4)))
    placed = distribute.placed(batches, gpus)
    assert placed.element_spec[0].shape[-1] == 3
    shapes = [images.shape for images, _ in placed]
    assert shapes == 2 * [(2, 5, 5, 3)] + 2 * [(2, 7, 7, 3)]
