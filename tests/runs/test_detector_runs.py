"""Runs of detectors: what is refused, and a tiny one from the command to the record."""

import json
from dataclasses import replace

import numpy as np
import pytest
import tomli_w

import keras_resnet
from keras_resnet.__main__ import main
from keras_resnet.config.detection_recipes import DETECTION_RECIPES
from keras_resnet.config.detectors import DETECTORS
from keras_resnet.config.recipe_files import for_toml
from keras_resnet.config.recipes import RECIPES
from keras_resnet.data import image_sizes
from keras_resnet.devices.find import ALONE
from keras_resnet.runs import analyze, detector_settle, report
from keras_resnet.runs.detector_choose import REFUSED, check_options, trains_detector
from keras_resnet.runs.request import TrainRequest
from keras_resnet.runs.settle import settle
from keras_resnet.training.history import read_history
from keras_resnet.weights.read import read
from tests.helpers.boxed_folders import seen_by_pillow, voc_folder
from tests.helpers.small_detectors import small_row

DETECTOR = "fasterrcnn_resnet18_fpn"
SETTINGS = ("record.json", "settings.json", "history.csv")
FILES = {*SETTINGS, "model.keras", "curves.png", "predictions.png", "images.csv"}
FILES |= {"misses.txt", "pictures"}  # And misses.png, where there is one.


def cells(root, validation="45"):
    """Six images of 40x60 with a red and a white cell each."""
    images = {
        name: [("red", 3 + int(name), 3, 31, 26), ("white", 25, 10, 50, 36)]
        for name in "012345"
    }
    lists = {"train": [n for n in images if n not in validation], "val": [*validation]}
    return voc_folder(root / "cells", images, lists=lists if validation else None)


@pytest.fixture
def settled(tmp_path, monkeypatch):
    """A function from options to the job, on a folder of six images."""
    monkeypatch.setattr(image_sizes, "of_files", seen_by_pillow)
    folder = cells(tmp_path)

    def job_of(recipe=None, **options):
        options = {"data": folder, "output_dir": tmp_path / "runs"} | options
        request = TrainRequest(recipe=recipe, **options)
        assert trains_detector(request)
        return detector_settle.settled(request, ALONE)[0]

    return job_of


def test_the_row_says_what_is_trained(tmp_path):
    def says(**options):
        return trains_detector(TrainRequest(**options))

    file = tmp_path / "mine.toml"
    file.write_text(tomli_w.dumps(for_toml(DETECTION_RECIPES["bccd"])))
    assert says(network=DETECTOR, data=tmp_path)
    assert says(network=small_row(), data=tmp_path)
    assert says(recipe=file)
    assert all(says(recipe=name) for name in DETECTION_RECIPES)
    assert all(says(recipe=row) for row in DETECTION_RECIPES.values())
    assert not any(says(recipe=name) for name in RECIPES)
    assert not says(network="resnet18", data=tmp_path)
    assert not DETECTION_RECIPES.keys() & RECIPES.keys()


@pytest.mark.parametrize("option", REFUSED)
def test_what_detectors_have_not_is_refused(option, tmp_path):
    values = {"augment": "strong", "bit_depth": 12, "freeze": 1, "teacher": "run"}
    values |= {"snapshots": 2, "accumulate": 2, "steps_per_execution": 2}
    options = {option: values.get(option, True), "weights": "torchvision:COCO_V1"}
    request = TrainRequest(network=DETECTOR, data=tmp_path, **options)
    with pytest.raises(
        ValueError, match=rf"`{option}` .* isn't for detectors\. .+ Leave"
    ):
        check_options(request)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"network": DETECTOR, "precision": "mixed_float16"}, "float32 or mixed_bfl"),
        ({"network": DETECTOR, "xla": "on"}, "isn't trained with `xla`"),
        ({"network": DETECTOR, "batch_size": 9}, "must not exceed the 4 training"),
        ({"network": DETECTOR, "val_fraction": 0.2}, "must be left out where a list"),
        ({"network": DETECTOR, "data": "cifar10"}, "'cifar10', which has no boxes"),
        ({"network": DETECTOR, "data": "nowhere"}, "there is nothing at"),
        ({"network": DETECTOR, "changes": {"steps": 3}}, "name one"),
        (
            {"recipe": "quickstart", "network": DETECTOR},
            "recipe must be one of detection",
        ),
        ({"recipe": "bccd", "network": "resnet18"}, "'resnet18', a classifier"),
        (
            {"recipe": "bccd", "size": 64, "changes": {"batches": {}}},
            "must be given once",
        ),
        ({"recipe": "bccd", "changes": {"mixing": []}}, "`mixing` is no field"),
    ],
)
def test_contradictions_are_named(options, message, settled):
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        settled(**options)


def test_a_classifier_on_boxes_is_told_of_detectors(tmp_path):
    request = TrainRequest(network="resnet18", data=cells(tmp_path))
    with pytest.raises(ValueError, match="has boxes in VOC's layout: name a detector"):
        settle(request, ALONE)


def test_several_devices_are_refused():
    two = replace(ALONE, names=("cpu:0", "cpu:1"))
    with pytest.raises(ValueError, match="on one device"):
        detector_settle.check_devices(two)


def test_options_change_the_recipe(settled):
    job = settled(network=DETECTOR, size=96, batch_size=2, learning_rate=0.25, epochs=3)
    batches = job.recipe.batches
    assert (batches.shorter_sides, batches.longer_side) == ((96,), 160)
    assert (job.recipe.batch_size, job.recipe.steps) == (2, 6)
    assert job.recipe.schedule.learning_rate == 0.25
    assert job.name == f"{DETECTOR}_on_cells" and job.spec == DETECTORS[DETECTOR]
    assert job.validation_batches() == 1
    assert not settled(network=DETECTOR, no_flip=True).recipe.batches.horizontal_flip
    named = settled("fasterrcnn_resnet50_c4_detectron2_voc", batch_size=2, size=80)
    sides = named.recipe.batches.shorter_sides
    assert (len(sides), sides[0], sides[-1]) == (11, 48, 80)
    assert named.recipe.target is None
    # As many epochs as over 07+12.
    assert named.recipe.steps == round(18_000 * 16 / 15_751 * 4 / 2)


def test_settings_tell_one_detector_from_another(settled):
    one = settled(network=DETECTOR).settings()
    assert one["recipe"]["detector"] == DETECTOR
    assert one["network"]["anchors"]["sizes"][0] == [32]
    assert settled(network=small_row()).settings()["network"] != one["network"]
    assert json.loads(json.dumps(one)) == one


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The folder of a tiny run that the command line has trained."""
    root = tmp_path_factory.mktemp("detector")
    folder = cells(root)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(DETECTORS, "small", small_row())
        patch.setattr(image_sizes, "of_files", seen_by_pillow)
        patch.chdir(root)
        words = "train --data cells --network small --size 64 --steps 4 --batch-size 2"
        assert main([*words.split(), "--quiet"]) == 0
        assert main([*words.split(), "--quiet"]) == 0  # It is finished.
    return folder.parent / "runs" / "small_on_cells_seed0"


@pytest.mark.slow
def test_a_run_leaves_what_others_leave(finished):
    assert {path.name for path in finished.iterdir()} >= FILES
    updates = [int(row["step"]) for row in read_history(finished / "history.csv")]
    pictures = sorted(path.name for path in (finished / "pictures").iterdir())
    assert pictures == [f"update_{update:06}.png" for update in updates]
    assert "images." in (finished / "misses.txt").read_text()
    record = json.loads((finished / "record.json").read_text())
    assert record["network"] == "small" and record["classes"] == ["red", "white"]
    assert record["dataset"]["splits"] == {"train": 4, "validation": 2}
    assert record["dataset"]["category_ids"] == [1, 2]
    found = record["validation"]
    assert found["n"] == 2
    assert [row["name"] for row in found["by_class"]] == ["red", "white"]
    assert 0 <= found["average_precision"] <= 100
    assert found["average_precision"] == pytest.approx(
        np.mean([row["average_precision"] for row in found["by_class"]])
    )
    assert found["loss"] == pytest.approx(sum(found["losses"].values()), rel=1e-5)
    last = read_history(finished / "history.csv")[-1]
    # The validation of `fit` drew the same anchors and proposals.
    assert last["val_loss"] == pytest.approx(found["loss"], rel=1e-4)
    assert last["val_average_precision"] == pytest.approx(
        found["average_precision"] / 100, rel=1e-5
    )


@pytest.mark.slow
def test_a_run_loads(finished):
    run = keras_resnet.load(finished)
    assert run.classes == run.model.class_names == ("red", "white")
    assert run.batches.shorter_sides == (64,)
    assert "small, 2 classes" in repr(run)
    found = run.model.predict(np.zeros((1, 64, 96, 3), "uint8"), verbose=0)
    assert found["boxes"].shape == (1, 5, 4)


@pytest.mark.slow
def test_what_is_for_classifiers_says_so(finished, tmp_path):
    with pytest.raises(ValueError, match="holds a detector, and this is for classif"):
        analyze.analyze(finished, "responses")
    with pytest.raises(ValueError, match="holds a detector, and this is for classif"):
        report.report(finished)
    weights = tmp_path / "detector.weights.h5"
    keras_resnet.load(finished).model.save_weights(weights)
    for path in (finished, weights):
        with pytest.raises(ValueError, match="holds a detector: a classifier must be"):
            read(path)


@pytest.mark.exhaustive
@pytest.mark.parametrize("form", ["folder", "weights.h5"])
def test_a_detector_begins_with_another_ones_weights(form, finished, tmp_path):
    folder = cells(tmp_path)
    trained = keras_resnet.load(finished).model
    weights = finished
    if form == "weights.h5":
        weights = tmp_path / "detector.weights.h5"
        trained.save_weights(weights)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(image_sizes, "of_files", seen_by_pillow)
        begun = keras_resnet.train(
            data=folder,
            network=small_row(),
            weights=weights,
            size=64,
            steps=1,
            batch_size=2,
            learning_rate=1e-9,
            output_dir=tmp_path / "runs",
            verbose=0,
        )
    model = keras_resnet.load(begun).model
    for ours, theirs in zip(model.get_weights(), trained.get_weights(), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)


@pytest.mark.exhaustive
def test_a_plan_writes_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(image_sizes, "of_files", seen_by_pillow)
    said = keras_resnet.plan(
        data=cells(tmp_path),
        network=small_row(),
        size=64,
        steps=2,
        batch_size=2,
        output_dir=tmp_path / "runs",
    )
    assert "small on" in said and "2 images" in said
    assert not (tmp_path / "runs").exists()
