"""CIFAR on JAX alone: a few updates on made images, without TensorFlow."""

import json

import numpy as np
import pytest

from benchmarks import accuracy_tables

TRAINING = """
import json, pathlib
import numpy as np
from benchmarks import cifar_gpu

rng = np.random.default_rng(0)
about = {"name": "cifar10", "version": "made", "sha256": ""}
arrays = {"about": np.array(json.dumps(about))}
for name, count in {"train": 10, "validation": 4, "test": 4}.items():
    arrays[f"{name}_images"] = rng.integers(0, 256, (count, 32, 32, 3), "uint8")
    arrays[f"{name}_labels"] = rng.integers(0, 10, count, "int32")
cifar_gpu.save(pathlib.Path("made.npz"), arrays)
few = "--data made.npz --steps 4 --every 2 --batch-size 4 --output".split()
assert cifar_gpu.main([*few, "whole"]) == 0
assert cifar_gpu.main([*few, "parts", "--seconds", "0"]) == 1  # After two updates.
assert cifar_gpu.main([*few, "parts"]) == 0
try:
    cifar_gpu.main([*few, "parts", "--precision", "mixed_bfloat16"])
except SystemExit as error:
    assert "must be of a run with these settings" in str(error)
else:
    raise AssertionError("A run of another precision was gone on with.")

from benchmarks.cifar_gpu import order
stream = order(10, 0, 0, 30)
assert all(sorted(epoch) == list(range(10)) for epoch in stream.reshape(3, 10).tolist())
assert order(10, 0, 7, 23).tolist() == stream[7:23].tolist()
assert order(10, 1, 0, 10).tolist() != stream[:10].tolist()
"""
KINDS = "whole", "parts"
NAME = "resnet20_cifar10_seed0"
# Each call builds a model of its own, whose programs are those of the first.
CACHED = {
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
}


@pytest.mark.multiprocess
def test_a_run_that_was_stopped_ends_with_the_same_weights(
    without_tensorflow, tmp_path, monkeypatch
):
    pytest.importorskip("jax", reason="needs JAX: see CONTRIBUTING.md")
    cache = {"JAX_COMPILATION_CACHE_DIR": str(tmp_path / "cache"), **CACHED}
    done = without_tensorflow("jax", TRAINING, tmp_path, **cache)
    assert done.returncode == 0, done.stdout[-1000:] + done.stderr[-2000:]
    assert "Going on from update 2." in done.stdout

    whole, parts = (np.load(tmp_path / kind / f"{NAME}.npz") for kind in KINDS)
    leaves = sorted(set(whole.files) - {"about"})
    assert len(leaves) > 100
    for leaf in leaves:
        np.testing.assert_array_equal(whole[leaf], parts[leaf])

    records = tmp_path / "results" / "cifar_gpu"
    records.mkdir(parents=True)
    found = [json.loads((tmp_path / k / f"{NAME}.json").read_text()) for k in KINDS]
    assert found[0]["test_error"] == found[1]["test_error"]
    assert [row["step"] for row in found[1]["curve"]] == [2, 4]
    assert found[0]["loop"].startswith("The loop is its own")
    assert found[0]["hardware"]["cores"] and found[0]["wall_seconds"] > 0
    monkeypatch.setattr(accuracy_tables, "RESULTS", tmp_path / "results")
    assert accuracy_tables.cifar_gpu() == "Not measured yet.\n"
    (records / "one.json").write_text(json.dumps(found[0]))
    error = f"{found[0]['test_error']:.2f}"
    assert f"| ResNet-20 | 0 | {error} | 8.75 | 4 |" in accuracy_tables.cifar_gpu()
