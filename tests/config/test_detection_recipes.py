"""Recipes of detection: the sources' numbers, files, impossible rows, other images."""

from dataclasses import replace

import pytest

from keras_resnet.__main__ import main
from keras_resnet.config.box_datasets import BOX_DATASETS
from keras_resnet.config.detection_adapted import (
    for_own_objects,
    on_other_objects,
    with_shorter_side,
)
from keras_resnet.config.detection_recipe import DetectionTarget
from keras_resnet.config.detection_recipes import DETECTION_RECIPES
from keras_resnet.config.detectors import DETECTORS
from keras_resnet.config.recipe_files import changed, read_recipe
from keras_resnet.config.schedules import PlateauDecay, StepDecay
from keras_resnet.training.schedules import learning_rate

BCCD = DETECTION_RECIPES["bccd"]


def test_rows_are_as_their_sources():
    targets = {
        name: (row.target.average_precision, row.target.rule)
        for name, row in DETECTION_RECIPES.items()
        if row.target is not None
    }
    assert targets == {
        "fasterrcnn_resnet101_c4_voc": (76.4, "11 points"),
        "fasterrcnn_resnet101_c4_voc2012": (73.8, "area"),
        "fasterrcnn_resnet101_c4_voc2007": (76.2, "area"),
        "fasterrcnn_resnet101_c4_coco": (27.2, "coco"),
        "fasterrcnn_resnet101_c4_context_coco": (30.0, "coco"),
        "fasterrcnn_resnet50_c4_detectron2_voc": (80.3, "area"),
        "fasterrcnn_resnet50_fpn_coco": (37.0, "coco"),
        "fasterrcnn_resnet50_fpn_v2_coco": (46.7, "coco"),
    }
    for name, row in DETECTION_RECIPES.items():
        assert row.source and row.deviations
        if name != "bccd":
            assert row.detector in DETECTORS and row.dataset in BOX_DATASETS
            assert row.validate_every < row.steps


def test_a_recipe_comes_back_from_its_file(tmp_path, capsys):
    for name, recipe in DETECTION_RECIPES.items():
        assert main(["show", name, "--toml"]) == 0
        file = tmp_path / f"{name}.toml"
        file.write_text(capsys.readouterr().out)
        assert read_recipe(file) == recipe


def test_detectors_and_their_recipes_are_listed(capsys):
    assert main(["list", "--detectors"]) == 0
    assert all(name in capsys.readouterr().out for name in ["fasterrcnn_resnet18_fpn"])
    assert main(["list", "--recipes"]) == 0
    said = capsys.readouterr().out
    assert all(f"{name} " in said for name in DETECTION_RECIPES)
    assert main(["show", "fasterrcnn_resnet50_fpn"]) == 0
    assert "anchors.sizes " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"steps": 0}, "`steps` must be a positive integer"),
        ({"clip_norm": 0.0}, "`clip_norm` must be positive"),
        ({"schedule": StepDecay(learning_rate=1, at=(600,))}, "below `steps`"),
        (
            {"schedule": PlateauDecay(learning_rate=1, patience=1, min_delta=0)},
            "`schedule` must be one of",
        ),
        ({"batches": 4}, "`batches` must be one of BoxBatches"),
    ],
)
def test_what_no_run_can_follow_is_no_recipe(changes, message):
    with pytest.raises(ValueError, match=message):
        replace(BCCD, **changes)


def test_a_target_has_a_known_rule():
    with pytest.raises(ValueError, match="`rule` must be one of"):
        DetectionTarget(average_precision=1.0, rule="mean", where="nowhere")


def test_on_other_images_a_recipe_has_as_many_epochs():
    row = DETECTION_RECIPES["fasterrcnn_resnet101_c4_voc"]
    moved = on_other_objects(row, "cells", 1_575, batch_size=2)
    assert (moved.steps, moved.schedule.at) == (3_500, (2_500,))
    assert moved.validate_every == 175 and moved.target is None
    assert on_other_objects(row, "voc0712", 1) == row
    # Its own images are a folder, whose number isn't known.
    assert on_other_objects(BCCD, "cells", 10).steps == BCCD.steps


def test_a_side_changes_the_others_in_proportion():
    row = DETECTION_RECIPES["fasterrcnn_resnet50_c4_detectron2_voc"]
    batches = with_shorter_side(row, 400).batches
    assert (batches.shorter_sides[0], batches.shorter_sides[-1]) == (240, 400)
    assert batches.longer_side == 666


def test_own_images_have_a_recipe():
    row = for_own_objects(
        "fasterrcnn_resnet18_fpn", (800, 1333), dataset="c", examples=9
    )
    assert (row.batch_size, row.steps, row.validate_every) == (2, 60, 5)
    assert row.batches.shorter_sides == (800,)


def test_fields_change_by_name():
    row = changed(BCCD, {"batches.vertical_flip": True, "detector.box_head.units": 64})
    assert row.batches.vertical_flip and row.detector.box_head.units == 64


def test_a_rate_warms_up_and_drops():
    row = StepDecay(learning_rate=1.0, at=(60,), warmup=0.2, warmup_from=0.5)
    rate = learning_rate(row, 100)
    assert [round(float(rate(step)), 6) for step in (0, 10, 20, 59, 60)] == [
        *(0.5, 0.75, 1.0, 1.0, 0.1)
    ]
    again = type(rate).from_config(rate.get_config())
    assert float(again(10)) == pytest.approx(0.75)
