"""What is kept of the rounds in which the server is timed beside a loop."""

import json

import keras
import pytest

from benchmarks import serve, speed_tables
from tests.helpers.pictures import picture

DESCRIBED = {
    "date": "2026-12-01",
    "hardware": {"cores": 2, "cpu": "a CPU"},
    "versions": dict.fromkeys(("python", "keras", "tensorflow"), "1.0"),
    "network": "resnet50",
    "clients": 64,
}


def one_round(loop, speed, p99):
    of = {
        "answered": 10,
        "lost": 1,
        "images_per_second": speed,
        "p50_ms": 700,
        "p99_ms": p99,
    }
    return {"loop": loop, "json": of, "binary": {**of, "images_per_second": 2 * speed}}


def test_medians_and_every_round_are_kept(tmp_path, monkeypatch):
    rounds = [one_round(20, 10, 900), one_round(40, 10, 950), one_round(25, 20, 800)]
    result = serve.summary(rounds)
    assert result["rounds"] == rounds
    assert result["loop"] == 25
    assert result["json"] == {
        "images_per_second": 10,
        "ratio_to_loop": 0.5,
        "answered": 30,
        "lost": 3,
        "p50_ms": 700,
        "p99_ms": 950,
    }
    monkeypatch.setattr(serve, "RESULTS", tmp_path / "serve.json")
    serve.keep("onnx", {**DESCRIBED, **result})
    serve.keep("keras", {**DESCRIBED, **result})
    kept = json.loads((tmp_path / "serve.json").read_text())
    assert list(kept["forms"]) == ["keras", "onnx"]
    text = speed_tables.server_table(kept)
    row = "| onnx | 25.0 | 10.0 (0.50 ×) | 0.70 | 0.95 | 20.0 (1.00 ×) | 0.70 | 0.95 |"
    assert row in text
    assert "120 images answered, 12 lost. The goal is 0.9 × the" in text


@pytest.mark.multiprocess
@pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="servers start with TensorFlow"
)
def test_a_short_run(tmp_path, monkeypatch):
    pytest.importorskip("litserve")
    for number in range(3):
        file = picture("JPEG", size=(50 + number, 40))
        (tmp_path / f"{number}.JPEG").write_bytes(file)
    monkeypatch.setattr(serve, "RESULTS", tmp_path / "serve.json")
    monkeypatch.setattr(serve, "idle", lambda: 1.0)
    short = ["--seconds", "1", "--rounds", "1", "--clients", "4"]
    forms = ["--only", "saved_model"]
    serve.main([str(tmp_path), "--network", "resnet20", *short, *forms])
    kept = json.loads((tmp_path / "serve.json").read_text())
    [(form, result)] = kept["forms"].items()
    assert form == "saved_model" and result["loop"] > 0
    for way in serve.WAYS:
        assert result[way]["lost"] == 0 and result[way]["answered"] >= 4
