"""The comparison on a GPU: its dry run without TensorFlow, and what it keeps."""

import json
import os
import time

import pytest

from benchmarks import gpu, speed_tables

DRY = """
import sys
from benchmarks import gpu
dry = ["--dry-run", "--output", "kept"]
assert gpu.main([*dry, "--batch-sizes", "2"]) == 0
began = open("kept/gpu.json").read()
assert gpu.main([*dry, "--batch-sizes", "2", "3", "--seconds", "0"]) == 1
assert open("kept/gpu.json").read() == began
assert not {"keras", "jax", "torch"} & set(sys.modules)  # They would take memory.
"""
OTHER, THIRD = "torchvision, compiled, channels last", "timm, compiled, channels last"


class Fake:
    """A variant that computes nothing."""

    def __init__(self, size, batch_size, error=None):
        if error:
            raise error

    def rest(self):
        pass


def the_batch_size(variant, size, batch_size):
    return {"batch_size": batch_size}


def fails(variant, size, batch_size):
    raise MemoryError("Out of memory.\nMore lines.")


def ends(variant, size, batch_size):
    os._exit(3)


def sleeps(variant, size, batch_size):
    time.sleep(60)


def answer(images, rate, memory=2**30):
    return {
        "images_per_second": images,
        "matrix_rate": rate,
        "loss": 7.0,
        "device": "A GPU",
        "memory_bytes": memory,
    }


@pytest.mark.multiprocess
def test_the_dry_run_needs_no_tensorflow_and_is_not_done_twice(
    without_tensorflow, tmp_path
):
    pytest.importorskip("jax", reason="needs JAX: see CONTRIBUTING.md")
    done = without_tensorflow("", DRY, tmp_path)
    assert done.returncode == 0, done.stdout[-1000:] + done.stderr[-2000:]
    assert "Batch 2 is there." in done.stdout
    assert "Batch 3: nothing to keep." in done.stdout
    kept = json.loads((tmp_path / "kept" / "gpu.json").read_text())["batches"]["2"]
    row = kept["variants"][gpu.OURS]
    assert kept["rounds"] == len(row["images_per_second_by_round"]) == 2
    assert kept["hardware"]["accelerators"] == [] and "jax" in kept["versions"]
    assert "error" not in row and row["memory_bytes"] > 2**20


@pytest.mark.multiprocess
def test_a_variant_that_fails_is_left_out_with_its_error():
    kinds = dict.fromkeys("abcd", (Fake, {})) | {
        "e": (Fake, {"error": ImportError("No module named 'timm'")})
    }
    variants = gpu.Variants(kinds, gpu.DRY, 5, time.monotonic() + 60)
    try:
        assert variants.ask("a", the_batch_size) == {"batch_size": 5}
        assert variants.ask("b", fails) is None
        assert variants.ask("c", ends) is None
        assert variants.ask("d", sleeps, seconds=0.1) is None
        assert variants.ask("e", the_batch_size) is None
        assert variants.errors == {
            "b": "MemoryError: Out of memory.",
            "c": "its process ended with exit code 3",
            "d": "not ready after 0.1 s",
            "e": "ImportError: No module named 'timm'",
        }
        assert variants.ask("a", the_batch_size) == {"batch_size": 5}
        variants.deadline = time.monotonic()
        with pytest.raises(gpu.OutOfTime):
            variants.ask("a", sleeps)
    finally:
        variants.end()
    assert not any(process.is_alive() for process in variants.processes.values())


def test_medians_every_round_and_the_ratio_to_the_best_are_kept(tmp_path, monkeypatch):
    answers = {
        gpu.OURS: [answer(images, 8e14) for images in (2400.0, 3000.0, 2500.0)],
        OTHER: [answer(images, 7e14) for images in (2000.0, 2000.0, 1000.0)],
        THIRD: [answer(2200.0, 7e14)],
    }
    firsts = dict.fromkeys(answers, {"first_update_seconds": 40.0})
    errors = {THIRD: "MemoryError: Out of memory."}
    result = gpu.result_of(firsts, answers, errors, gpu.FULL)
    assert (result["rounds"], result["matrix_rate"]) == (3, 8e14)
    assert result["times_as_fast"] == {gpu.OURS: 1.25}
    row = result["variants"][gpu.OURS]
    assert row["images_per_second_by_round"] == [2400.0, 3000.0, 2500.0]
    # 4.1 billion multiply-adds forward, 3 times that in an update.
    assert row["share_of_matrix_rate"] == pytest.approx(
        6 * 4.1e9 * 2500 / 8e14, abs=2e-3
    )
    assert result["variants"][THIRD]["error"] == errors[THIRD]
    assert gpu.result_of(firsts, dict.fromkeys(answers, []), {}, gpu.FULL) is None

    about = {
        "date": "2026-01-01",
        "versions": dict.fromkeys(("python", "keras", "jax", "torch", "timm"), "1.0"),
        "hardware": {"accelerators": ["A GPU"]},
    }
    kept = {"goal": 1.15, "side": 224, "batches": {"256": about | result}}
    monkeypatch.setattr(speed_tables, "RESULTS", tmp_path)
    assert speed_tables.gpu() == "Not measured yet.\n"
    (tmp_path / "gpu.json").touch()
    monkeypatch.setattr(speed_tables, "load", lambda name: kept)
    table = speed_tables.gpu()
    assert f"| {gpu.OURS} | 256 | 2,500 (2,400–3,000) | 8 % | 1.0 | 1.25 × |" in table
    assert f"| {THIRD} | 256 | MemoryError: Out of memory. | – | – | – |" in table
    assert "JAX 1.0" in table and table.endswith("timm 1.0.\n")
