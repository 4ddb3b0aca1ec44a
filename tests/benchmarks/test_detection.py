"""What is kept of the rounds in which detectors are timed."""

import argparse

import numpy as np
import pytest

from benchmarks import detection, detection_tables

OPTIONS = argparse.Namespace(train_side=320, height=800, width=1333)
NAMES = list(detection.VARIANTS)
DESCRIBED = {
    "date": "2026-01-01",
    "hardware": {"cores": 2, "cpu": "a CPU"},
    "versions": dict.fromkeys(("python", "keras", "tensorflow", "torch"), "1.0"),
}
BOXES = np.array([[0, 0, 9, 9], [5, 5, 40, 30]], "float32")


def seconds(*medians):
    return {n: [m / 2, m, 3 * m] for n, m in zip(NAMES, medians, strict=True)}


def test_the_better_setting_of_each_is_compared_and_named(tmp_path, monkeypatch):
    results = {"threads": 2, "goals": detection.GOALS, "note": "Alone."}
    for task, medians in (("training", (2, 4, 5, 3)), ("inference", (4, 2, 3, 5))):
        memory = dict.fromkeys(NAMES, 1.234)
        alike = {"objects": 2}
        of = detection.result_of(task, seconds(*medians), memory, alike, OPTIONS)
        results[task] = DESCRIBED | of
    assert results["training"]["times_as_fast"] == 1.5
    assert results["training"]["seconds_by_round"][NAMES[0]] == [1, 2, 6]
    assert (results["inference"]["height"], results["inference"]["images"]) == (800, 1)

    monkeypatch.setattr(detection_tables, "load", lambda name: results)
    monkeypatch.setattr(detection_tables, "RESULTS", tmp_path)
    assert detection_tables.detection() == "Not measured yet.\n"
    (tmp_path / "detection.json").touch()
    table = detection_tables.detection()
    first = "2.00 (1.00–6.00) | 1.2 | 4.00 (2.00–12.00) | 1.2 |"
    assert f"| {NAMES[0]} | {first}" in table and table.endswith("Alone.\n")
    assert table.count("2026-01-01") == 1
    results["inference"]["date"] = "2026-01-02"
    assert "training: 2026-01-01" in (both := detection_tables.detection())
    assert "inference: 2026-01-02" in both
    for better, ratio in ((NAMES[0], "1.50"), (NAMES[1], "1.50")):
        assert f"our better setting, {better}, is {ratio} × as fast" in table


def test_other_objects_or_losses_are_no_comparison():
    found = {name: (BOXES, np.array([1, 2])) for name in NAMES}
    assert detection.compared("inference", found)["objects"] == 2
    found[NAMES[0]] = BOXES + 0.5, np.array([1, 3])
    with pytest.raises(SystemExit, match="80% of the objects"):
        detection.compared("inference", found)
    losses = dict(zip(NAMES, ((1.0,), (1.1,), (1.2,), (1.3,)), strict=True))
    assert detection.compared("training", losses)["losses"][NAMES[3]] == 1.3
    with pytest.raises(SystemExit, match="must be alike"):
        detection.compared("training", losses | {NAMES[0]: (2.0,)})
