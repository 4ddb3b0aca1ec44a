"""The main job on the other backends, and on two devices: a few updates each."""

import importlib.util
import json
import os
import subprocess
import sys

import numpy as np
import pytest

import keras_resnet
from keras_resnet.runs.export import export
from tests.helpers.served import Served

tf = pytest.importorskip("tensorflow")

pytestmark = pytest.mark.multiprocess


def train(tmp_path, *options):
    """Runs `keras-resnet train` for four updates in a process of its own."""
    # With oneDNN as the command line switches it on, which the other tests leave off.
    env = {k: v for k, v in os.environ.items() if k != "TF_ENABLE_ONEDNN_OPTS"}
    done = subprocess.run(
        [sys.executable, "-m", "keras_resnet", "train", "--steps", "4", *options]
        + ["--output-dir", str(tmp_path), "--quiet"],
        capture_output=True,
        text=True,
        timeout=400,
        env=env,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    folder = tmp_path / "quickstart_seed0"
    return folder, json.loads((folder / "record.json").read_text())


def check_served(folder, exported):
    """An export answers in a session what `predict` does, from all signatures."""
    run = keras_resnet.load(folder)
    shape = (4, *run.preprocessing.size, run.preprocessing.channels)
    images = np.random.default_rng(0).integers(0, 256, shape, "uint8")
    with Served(exported) as served:
        answer = served("images", images=images)
        features = served("features", images=images)["features"]
        encode = tf.io.encode_png
        files = served(
            "serving_default", image_bytes=[encode(i).numpy() for i in images]
        )
    for row, names, shares in zip(
        run.predict(images), answer["classes"], answer["probabilities"], strict=True
    ):
        assert [name.decode() for name in names] == [name for name, _ in row]
        np.testing.assert_allclose(shares, [share for _, share in row], atol=1e-4)
    np.testing.assert_allclose(files["scores"], answer["scores"], atol=1e-6)
    assert features.shape == (4, 64)


@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_main_job_on_another_backend(tmp_path, backend):
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"needs {backend}: pip install {backend}")
    folder, record = train(tmp_path, "--backend", backend)
    assert record["backend"] == backend
    assert record["xla"] is (backend == "jax")
    assert record["test"]["n"] == 2_000
    # What another backend trained is loaded and exported here.
    assert keras_resnet.load(folder).model.output_shape == (None, 10)
    check_served(folder, export(folder, output=tmp_path / "exported")[0])
    if backend == "jax":
        own = folder / "saved_model" / "1"
        check_served(folder, own)
        # Servers with GPUs take it, and those without.
        graph = (own / "saved_model.pb").read_bytes()
        assert b"CPU" in graph and b"CUDA" in graph


@pytest.mark.exhaustive
def test_two_devices_train_in_mixed_precision_and_float32_is_saved(tmp_path):
    options = "--devices", "cpu:2", "--precision", "mixed_bfloat16"
    folder, record = train(tmp_path, *options)
    assert record["devices"] == ["cpu:0", "cpu:1"]
    assert record["validation"]["n"] == 500
    assert record["precision"] == "mixed_bfloat16"
    model = keras_resnet.load(folder).model
    assert {layer.compute_dtype for layer in model.layers} == {"float32"}
    check_served(folder, folder / "saved_model" / "1")


@pytest.mark.exhaustive
def test_main_job_on_two_devices_of_jax(tmp_path):
    pytest.importorskip("jax")
    _, record = train(tmp_path, "--backend", "jax", "--devices", "cpu:2")
    assert record["devices"] == ["cpu:0", "cpu:1"]
    assert record["validation"]["n"] == 500
