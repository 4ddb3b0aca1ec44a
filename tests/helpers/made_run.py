"""Folders of runs, made of numbers alone: nothing was trained, and there is no network."""

import csv
from dataclasses import asdict

import numpy as np

from keras_resnet.evaluation.calibration import reliability
from keras_resnet.evaluation.metrics import from_probabilities
from keras_resnet.files import read_json, write_json
from keras_resnet.runs.evaluate import error_interval
from keras_resnet.runs.predictions import Predictions, path_of, write_predictions
from tests.conftest import REPOSITORY

SHA = "0123456789abcdef" * 4
TRAINED = REPOSITORY / "saved_models" / "quickstart_seed0"
# What must be shown as it is, whatever it means in HTML, scripts and paths.
ODD = ("<script>alert(1)</script>", "\"a\" & 'b'", "سمكة", "</title>", "${style} $x")


def made_run(folder, *, classes=ODD, n=40, seed=0, measured=("test", "validation")):
    """Makes the folder of a run, with results and predictions of some splits."""
    folder.mkdir(parents=True)
    record = read_json(TRAINED / "record.json")
    record |= {"classes": list(classes), "seed": seed}
    record["dataset"] = {
        "name": "<i>photos</i>",
        "version": "1",
        "sha256": SHA,
        "splits": {"train": 80, "validation": n, "test": n},
        "skipped": [],
    }
    record["deviations"] = ["Kernels begin <u>otherwise</u>."]
    record["overrides"] = {"data": "/home/<b>/photos"}
    write_json(folder / "record.json", record)
    write_json(folder / "settings.json", read_json(TRAINED / "settings.json"))
    write_history(folder)
    results = [
        add_predictions(folder, split, len(classes), n, seed) for split in measured
    ]
    if results:
        write_json(folder / "evaluation.json", {"results": results})
    return folder


def write_history(folder, last_loss=0.5):
    rows = [
        {"step": step, "epoch": step / 10, "loss": loss, "accuracy": 1 - loss / 4,
         "val_loss": 1.1 * loss, "val_accuracy": 0.5, "learning_rate": 0.1,
         "images_per_second": 9.5}
        for step, loss in ((10, 2.0), (20, 1.0), (30, last_loss))
    ]  # fmt: skip
    with open(folder / "history.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def add_predictions(folder, split, classes, n, seed):
    """Writes predictions, of which about two thirds are right; gives their result."""
    labels = np.arange(n) % classes
    random = np.random.default_rng([seed, len(split)])
    logits = random.normal(size=(n, classes))
    logits[np.arange(n), labels] += 1.5
    powers = np.exp(logits)
    found = Predictions(
        names=np.array([f"<b>{i}</b>/im'{i:03}.jpg" for i in range(n)]),
        labels=labels,
        probabilities=(powers / powers.sum(1, keepdims=True)).astype("float32"),
        sha256=SHA,
    )
    result = {
        "data": "<i>photos</i>",
        "sha256": SHA,
        "split": split,
        "protocol": "single_crop",
        "trained_on": None,
        **asdict(from_probabilities(found.probabilities, labels)),
        "top1_interval": error_interval(found),
        "ece": reliability(found.probabilities, labels).ece,
        "versions": {},
    }
    write_predictions(path_of(folder, result), found)
    return result


def add_analyses(folder):
    """Writes lesions and a landscape of three points a side."""
    for record in (lesions(folder.name), landscape(folder.name)):
        write_json(folder / "analysis" / f"{record['analysis']}.json", record)


def lesions(run):
    """The record of an analysis, with two blocks."""
    each = {
        "names": ["stage1_block1_add", "stage2_block1_add"], "stages": [1, 2],
        "error": [31.25, 52.5], "loss": [1.0, 2.0], "whole_error": 20.0,
        "whole_loss": 0.5, "images": 12, "skipped": [],
    }  # fmt: skip
    several = {
        "counts": [1, 2], "error": [[31.25, 52.5], [80.0, 90.0]],
        "loss": [[1.0, 2.0], [3.0, 4.0]], "deleted": [], "whole_error": 20.0,
    }  # fmt: skip
    return recorded("lesions", run, {"each": each, "random": several})


def landscape(run):
    surface = {
        "x": [-1.0, 0.0, 1.0], "y": [-1.0, 0.0, 1.0],
        "loss": [[10.0, 4.0, 10.0], [3.0, 0.25, 9.0], [10.0, 5.0, 10.0]],
        "error": [[90.0, 60.0, 90.0], [50.0, 20.0, 90.0], [90.0, 70.0, 90.0]],
        "cosine": 0.01, "clip": 10.0, "images": 12,
    }  # fmt: skip
    return recorded("landscape", run, {"networks": {run: surface}})


def recorded(analysis, run, results):
    return {
        "analysis": analysis, "run": run, "network": "resnet20", "data": "photos",
        "sha256": SHA, "split": "test", "images": 12, "seed": 0,
        "batch_norm": "inference", "results": results,
    }  # fmt: skip
