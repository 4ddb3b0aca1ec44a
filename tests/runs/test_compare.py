"""Runs beside each other: what is said of each, paired tests, and what is written."""

import csv
import xml.etree.ElementTree
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from keras_resnet.__main__ import main
from keras_resnet.analysis import plots
from keras_resnet.cli import comparing
from keras_resnet.config.architectures import ARCHITECTURES
from keras_resnet.config.recipes import RECIPES
from keras_resnet.config.values import to_values
from keras_resnet.evaluation.statistics import accuracy_interval, paired_test
from keras_resnet.files import read_json, write_json
from keras_resnet.runs import compare as comparison
from keras_resnet.runs import speed
from keras_resnet.runs.compare import compare
from keras_resnet.runs.comparison_files import row_of
from keras_resnet.runs.predictions import Predictions, path_of, write_predictions
from keras_resnet.runs.record import Record
from tests.helpers.small_nets import CLASSES, shared_net
from tests.runs.test_analyze import run_of

SHA = "a" * 64
HISTORY = """step,loss,accuracy,val_loss,val_accuracy
100,1.2,0.5,1.3,0.4
200,0.8,0.75,0.9,0.7
"""


def metrics(error, n):
    return {"top1_error": error, "top5_error": None, "loss": 1.0, "n": n}


def run_in(folder, name, *, recipe="resnet20_cifar10", sha256=SHA, **changes):
    """A run with a record and a history, whose network is small."""
    record = {
        "recipe": recipe,
        "seed": 3,
        "network": "resnet20",
        "network_values": to_values(ARCHITECTURES["resnet20"]),
        "recipe_values": to_values(RECIPES[recipe]),
        "dataset": {"name": "noise", "sha256": sha256},
        "parameters": 1234,
        "hardware": {"cpu": "EPYC", "cores": 2, "accelerators": []},
        "steps": 200,
        "wall_seconds": 61.0,
        "images_per_second": 500.0,
        "validation": metrics(30.0, 50),
        "test": metrics(25.0, 80),
        "target": RECIPES[recipe].target and RECIPES[recipe].target.error,
    }
    run = replace(run_of(shared_net(), folder / name), record=Record(record | changes))
    run.folder.mkdir(parents=True)
    (run.folder / "history.csv").write_text(HISTORY)
    return run


def measured(run, right, protocol="single_crop", names=None):
    """Keeps predictions of a run, of which these are right, as `evaluate` does."""
    right = np.array(right)
    labels = np.arange(len(right)) % CLASSES
    probabilities = np.eye(CLASSES, dtype="float32")[
        np.where(right, labels, labels - 1)
    ]
    path = run.folder / "evaluation.json"
    result = {"data": "noise", "sha256": run.record["dataset"]["sha256"]}
    result |= {"split": "test", "protocol": protocol, "top1_interval": [0.0, 100.0]}
    result |= metrics(100 * float(np.mean(~right)), len(right))
    earlier = read_json(path)["results"] if path.exists() else []
    write_json(path, {"results": [*earlier, result]})
    kept = Predictions(
        names=np.arange(len(right)).astype(str) if names is None else names,
        labels=labels,
        probabilities=probabilities,
        sha256=result["sha256"],
    )
    write_predictions(path_of(run.folder, result), kept)


@pytest.fixture
def two(tmp_path):
    return [run_in(tmp_path / "runs", name) for name in ("one", "two")]


def test_a_run_is_described_beside_its_paper(two):
    first, second = compare(two, time=False)["runs"]
    assert (first["run"], second["run"]) == ("one", "two")
    assert (first["order"], first["shortcut"], first["depth"]) == ("original", "A", 20)
    assert (first["blocks"], first["updates"], first["seed"]) == (["basic"], 200, 3)
    assert (first["parameters"], first["image"]) == (1234, [8, 8, 3])
    assert first["multiply_adds"] > 10_000  # Of the network that is there.
    assert first["target"]["error"] == 8.75
    assert first["target"]["where"].startswith("He et al. 2016a, table 6")
    assert (first["seconds"], first["trained_on"]) == (61.0, "2 cores, EPYC")
    assert first["forward"] is None
    (error,) = first["errors"]
    assert (error["split"], error["protocol"]) == ("test", "single_crop")
    low, high = accuracy_interval(60, 80)
    assert error["top1_interval"] == [100 - high, 100 - low]


def test_errors_are_those_on_its_own_data_the_targets_protocol_first(tmp_path):
    run = run_in(tmp_path, "a", recipe="resnet50_tv2_imagenet")
    protocol = RECIPES["resnet50_tv2_imagenet"].target.protocol
    assert protocol != "single_crop"
    measured(run, [True, False], "2_crops")
    measured(run, [False, True, True], protocol)
    foreign = read_json(run.folder / "evaluation.json")
    foreign["results"].append(
        foreign["results"][0] | {"sha256": "b" * 64, "top1_error": 0}
    )
    write_json(run.folder / "evaluation.json", foreign)
    found = compare([run, run_in(tmp_path, "b")], time=False)["runs"][0]
    assert [one["protocol"] for one in found["errors"]] == [
        protocol,
        "single_crop",
        "2_crops",
    ]
    row = row_of(found)
    assert row["error"] == pytest.approx(100 / 3) and row["protocol"] == protocol
    assert (row["best_error"], row["best_protocol"]) == (25.0, "single_crop")


def test_without_a_test_split_errors_are_of_validation(tmp_path):
    runs = [run_in(tmp_path, name, test=None) for name in ("a", "b")]
    (error,) = compare(runs, time=False)["runs"][0]["errors"]
    assert (error["split"], error["top1_error"]) == ("validation", 30.0)


def test_targets_of_earlier_records(tmp_path):
    old = run_in(tmp_path, "old", recipe_values={})
    other = run_in(tmp_path, "other", recipe="quickstart", recipe_values={}, target=5.0)
    none = run_in(tmp_path, "none", recipe="quickstart")
    found = compare([old, other, none], time=False)["runs"]
    assert found[0]["target"]["where"].startswith("He et al. 2016a")
    assert found[1]["target"] == {"error": 5.0, "protocol": None, "where": None}
    assert found[2]["target"] is None


def test_a_converted_network_has_less_to_say(two):
    record = Record({"network": "unheard_of", "source": "somewhere"})
    converted = replace(two[1], record=record)
    (converted.folder / "history.csv").unlink()
    found = compare([two[0], converted], time=False)["runs"][1]
    assert found["parameters"] > 1000
    known = {name for name, value in found.items() if value not in (None, [])}
    assert known == {
        "run", "folder", "network", "image", "parameters", "multiply_adds"
    }  # fmt: skip


def test_paired_tests_are_made_on_the_same_images(tmp_path):
    a, b, c = (run_in(tmp_path, name) for name in "abc")
    ours, theirs = [True] * 6 + [False] * 4, [False] * 5 + [True] * 5
    measured(a, ours)
    measured(b, theirs)
    measured(c, ours, names=np.array([f"{n}.png" for n in range(10)]))
    foreign = run_in(tmp_path, "d", sha256="b" * 64)
    measured(foreign, theirs)
    (test,) = compare([a, b, c, foreign], time=False)["paired_tests"]
    expected = paired_test(np.array(ours), np.array(theirs))
    assert test == {
        "first": "a", "second": "b", "data": "noise", "split": "test",
        "protocol": "single_crop", "images": 10, **vars(expected),
    }  # fmt: skip
    assert (test["first_alone"], test["second_alone"]) == (5, 4)


def test_data_are_known_by_what_they_hold(tmp_path):
    """A folder that was renamed is the same; two converted networks may differ in it."""
    runs = [run_in(tmp_path, name) for name in "abc"]
    for run in runs:
        measured(run, [True, False, True])
        path = run.folder / "evaluation.json"
        found = read_json(path)
        (kept,) = (run.folder / "predictions").iterdir()
        found["results"][0]["data"] = f"photos_{run.folder.name}"
        kept.rename(path_of(run.folder, found["results"][0]))
        write_json(path, found)
    tests = compare(runs, time=False)["paired_tests"]
    assert [(test["first"], test["second"]) for test in tests] == [
        ("a", "b"), ("a", "c"), ("b", "c")
    ]  # fmt: skip
    # Of a converted network nobody knows what it was trained on.
    record = Record({"network": "unheard_of", "source": "somewhere"})
    converted = [replace(run, record=record) for run in runs]
    shown = [row_of(one) for one in compare(converted, time=False)["runs"]]
    assert "don't compare" not in "".join(comparing.errors(shown))
    shown[1]["measured_sha256"] = "b" * 64
    assert "photos_b (bbbbbb): they don't compare" in comparing.errors(shown)[-1]


def test_damaged_predictions_are_left_out(two):
    for run in two:
        measured(run, [True, False])
    (path,) = (two[0].folder / "predictions").iterdir()
    whole = path.read_bytes()
    path.write_bytes(b"PK")
    with pytest.warns(UserWarning, match="can't be read .* They are left out"):
        assert compare(two, time=False)["paired_tests"] == []
    path.write_bytes(whole)
    assert len(compare(two, time=False)["paired_tests"]) == 1
    results = read_json(two[0].folder / "evaluation.json")
    results["results"][0]["predictions_sha256"] = "f" * 64
    write_json(two[0].folder / "evaluation.json", results)
    with pytest.warns(UserWarning, match="another measurement.* They are left out"):
        assert compare(two, time=False)["paired_tests"] == []


def undrawn(histories, path, *, title):
    path.write_text(title)  # Drawing takes longer.


def test_what_is_written_is_what_is_returned(two, tmp_path, monkeypatch):
    before = {run.folder: sorted(run.folder.iterdir()) for run in two}
    folder = tmp_path / "new" / "comparison"
    found = compare(two, output=folder, time=False)
    assert {path.name for path in folder.iterdir()} == {
        "comparison.json", "comparison.csv", "curves.png", "curves.svg"
    }  # fmt: skip
    assert read_json(folder / "comparison.json") == found
    with open(folder / "comparison.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["run"] for row in rows] == ["one", "two"]
    assert rows[0]["shortcut"] == "A" and rows[0]["error"] == "25.0"
    assert rows[0]["forward_images_per_second"] == ""
    assert (folder / "curves.png").read_bytes().startswith(b"\x89PNG")
    xml.etree.ElementTree.parse(folder / "curves.svg")
    assert {run.folder: sorted(run.folder.iterdir()) for run in two} == before

    with pytest.raises(FileExistsError, match="must not exist yet.*--overwrite"):
        compare(two, output=folder)
    monkeypatch.setattr(plots, "learning_curves", undrawn)
    compare(two[::-1], output=folder, overwrite=True, time=False)
    assert read_json(folder / "comparison.json")["runs"][0]["run"] == "two"
    with pytest.raises(FileExistsError, match="Only what a comparison wrote"):
        compare(two, output=two[0].folder, overwrite=True)


def test_runs_that_cant_be_compared(two, tmp_path):
    for runs in ([two[0]], "runs", two[0]):
        with pytest.raises(ValueError, match="`runs` must be two or more"):
            compare(runs)
    with pytest.raises(ValueError, match="Each run must be given once"):
        compare([two[0], two[0]])
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        compare([two[0], tmp_path / "nowhere"])


def test_networks_take_turns(monkeypatch):
    turns, clock = [], iter(range(1000))

    def network(name, seconds, size=(8, 8, 3)):
        def predict_on_batch(images):
            turns.append((name, images.shape))
            for _ in range(seconds - 1):
                next(clock)

        return SimpleNamespace(
            input_shape=(None, *size), predict_on_batch=predict_on_batch
        )

    monkeypatch.setattr(
        speed, "time", SimpleNamespace(perf_counter=lambda: float(next(clock)))
    )
    monkeypatch.setattr(speed, "SECONDS", 1000.0)
    models = [network("a", 2), network("b", 4), network("c", 1, (None, None, 3))]
    found = speed.forward_speeds(models, batch=8, rounds=3)
    assert found[0] == {"images_per_second": 4.0, "batch": 8}
    assert found[1] == {"images_per_second": 2.0, "batch": 8}
    assert found[2] is None
    assert [name for name, _ in turns] == ["a", "b"] * 4
    assert turns[0][1] == (8, 8, 8, 3)
    # Slow ones are measured once, after the first that compiles.
    monkeypatch.setattr(speed, "SECONDS", 0.0)
    turns.clear()
    speed.forward_speeds(models[:1], batch=8, rounds=3)
    assert len(turns) == 2


def test_the_command_prints_tables(two, tmp_path, monkeypatch, capsys):
    for run, right in zip(two, ([True] * 40, [False] * 39 + [True]), strict=True):
        measured(run, right)
    other = run_in(tmp_path, "three", sha256="b" * 64, recipe="quickstart")
    runs = {run.folder.name: run for run in (*two, other)}
    monkeypatch.setattr(comparison, "load", runs.__getitem__)
    monkeypatch.setattr(plots, "learning_curves", undrawn)
    monkeypatch.chdir(tmp_path)
    assert main(["compare", "one", "two", "three", "--no-time"]) == 0
    said = capsys.readouterr().out
    lines = said.splitlines()
    header, row = (line.split() for line in lines[:2])
    assert header[:5] == ["run", "network", "depth", "order", "shortcuts"]
    assert row[:5] == ["one", "resnet20", "20", "original", "A"]
    assert "noise (aaaaaa)" in said and "noise (bbbbbb)" in said
    assert "target 8.75 %: He et al. 2016a, table 6" in said
    assert (
        "The errors are those on different data, noise (aaaaaa), noise (bbbbbb): they "
        "don't compare." in said
    )
    assert "1 min 01 s" in said and "Here:" not in said
    assert (
        "one alone is right on 39, two alone on 0 of 40 test images (noise, "
        "single_crop): the difference is more than noise (p = 3.6e-12)." in said
    )
    files = "comparison.csv comparison.json curves.png curves.svg".split()
    assert lines[-1].split(", ") == [f"comparison/{name}" for name in files]
    assert main(["compare", "one", "two"]) == 2  # It is there.
    assert "comparison" in capsys.readouterr().err


def test_of_several_tests_each_must_show_more():
    test = {
        "first": "a", "second": "b", "data": "noise", "split": "test", "images": 9,
        "protocol": "single_crop", "first_alone": 5, "second_alone": 1, "p_value": 0.03,
    }  # fmt: skip
    alone = comparing.differences({"paired_tests": [test]})
    assert "more than noise (p = 0.03)" in alone[0]
    beside = comparing.differences({"paired_tests": [test, test]})
    assert "within noise (p = 0.03)" in beside[1]
    assert beside[-1].endswith("p < 0.025, since there are 2 tests.")
    assert (
        "`keras-resnet evaluate RUN RUN`"
        in comparing.differences({"paired_tests": []})[0]
    )
