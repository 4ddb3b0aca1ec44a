"""`evaluate` and `predict` of a detector's run, for which something untrained stands."""

import csv
import json
from dataclasses import replace

import pytest

from keras_resnet.cli import run as command_line
from keras_resnet.config.box_batches import BoxBatches
from keras_resnet.data import box_folders, image_sizes
from keras_resnet.files import write_json
from keras_resnet.runs import (
    detector_data,
    detector_evaluate,
    detector_testing,
    ensemble,
    evaluate,
    predict,
)
from keras_resnet.runs.detector_run import DetectorRun
from tests.helpers.boxed_folders import (
    photograph,
    seen_by_pillow,
    voc_folder,
    write_image,
)
from tests.helpers.white_boxes import WhiteBox

pytest.importorskip("tensorflow")

# The second class, which the stand-in finds, is "white".
CELLS = {name: [("white", 5, 7, 20, 30), ("red", 41, 1, 50, 9)] for name in "abc"}
LISTS = {"train": ["a"], "val": ["b"], "test": ["c"]}


@pytest.fixture
def cells(tmp_path):
    """A folder of images on which what is white is marked."""
    folder = voc_folder(tmp_path / "cells", CELLS, LISTS)
    for number, name in enumerate(CELLS):
        pixels = photograph(40, 60, [(4, 6, 20, 30)])
        pixels[-1, -1] = number  # No two files are the same.
        write_image(folder / f"JPEGImages/{name}.png", pixels)
    return folder


@pytest.fixture
def run(tmp_path, cells, monkeypatch):
    """What `load` gives for a detector that was trained on the folder."""
    monkeypatch.setattr(image_sizes, "of_files", seen_by_pillow)
    splits = box_folders.load(cells)
    folder = tmp_path / "run"
    folder.mkdir()
    found = DetectorRun(
        model=WhiteBox(),
        classes=splits.class_names,
        batches=BoxBatches(batch_size=2, shorter_sides=(80,), longer_side=160),
        record={
            "dataset": {"name": splits.name, "sha256": splits.sha256},
            "overrides": {"data": str(cells), "val_fraction": None},
        },
        folder=folder,
    )
    write_json(folder / "record.json", {"network_values": {"neck": "fpn"}})
    for module in (detector_testing, ensemble, evaluate, predict):
        monkeypatch.setattr(module, "load", lambda folder: found)
    return found


def test_a_run_is_measured_on_its_own_test_images_and_the_result_is_kept(run, capsys):
    assert command_line.run(["evaluate", str(run.folder)]) == 0
    first, *_, red, white = capsys.readouterr().out.splitlines()
    assert first == "cells test: mean AP 50.00 % by voc, 1 image, 2 objects"
    assert white.split() == ["white", "100.00", "%", "1", "1", "1"]
    assert red.split() == ["red", "0.00", "%", "1", "0", "0"]
    assert command_line.run(["evaluate", str(run.folder), "--protocol", "voc07"]) == 0
    again = evaluate.evaluate(run, split="validation")
    results = evaluate.read_evaluations(run.folder / "evaluation.json")
    assert [(one["protocol"], one["split"]) for one in results] == [
        ("voc", "test"),
        ("voc07", "test"),
        ("voc", "validation"),
    ]
    assert results[2] == json.loads(json.dumps(again))
    assert again["shorter_side"] == 80 and again["trained_on"] is None
    files = sorted(path.name for path in (run.folder / "predictions").iterdir())
    sha = again["sha256"][:8]
    assert files == [f"cells_{sha}_test.json", f"cells_{sha}_validation.json"]
    (row,) = json.loads((run.folder / "predictions" / files[0]).read_text())
    assert (row["image_id"], row["category_id"]) == ("c", 2)
    assert row["bbox"] == pytest.approx([4, 6, 16, 24], abs=0.6)


def test_other_images_may_have_other_classes_in_another_order(run, tmp_path):
    objects = [("zebra", 31, 1, 50, 9), ("white", 5, 7, 20, 30), ("ant", 1, 1, 3, 3)]
    other = voc_folder(tmp_path / "other", {"x": objects, "y": objects})
    for name in "xy":
        write_image(
            other / f"JPEGImages/{name}.png", photograph(40, 60, [(4, 6, 20, 30)])
        )
    with pytest.warns(
        UserWarning, match="In other 4 objects are left out: .* ant, zebra"
    ):
        result = evaluate.evaluate(run, data=other)
    assert (result["split"], result["n"], result["objects"]) == ("all", 2, 2)
    assert result["by_class"][1]["average_precision"] == 100
    with pytest.raises(
        ValueError, match="`split` .* goes with the images that the run"
    ):
        evaluate.evaluate(run, data=other, split="test")
    strange = voc_folder(tmp_path / "strange", {"x": objects[::2]})
    with pytest.raises(ValueError, match="must have an object of the run's classes"):
        evaluate.evaluate(run, data=strange)


@pytest.mark.parametrize("trained", [True, False])
@pytest.mark.parametrize(
    "lists", [None, {"test": ["x"]}, {"train": ["y"], "test": ["x"]}]
)
def test_a_folder_to_measure_on_needs_nothing_to_train_on(
    lists, trained, run, tmp_path
):
    """Its training images lack a class; there is one image in all, or in the test."""
    images = {"x": [("white", 5, 7, 20, 30)]}
    if lists and "train" in lists:
        images["y"] = [("red", 41, 1, 50, 9)]
    other = voc_folder(tmp_path / "other", images, lists)
    for name in images:
        write_image(
            other / f"JPEGImages/{name}.png", photograph(40, 60, [(4, 6, 20, 30)])
        )
    run.record["overrides"] |= {"val_fraction": 0.1, "group": r"video\d"}
    if not trained:
        del run.record["dataset"], run.record["overrides"]  # As of converted ones.
    result = evaluate.evaluate(run, data=other)
    assert result["split"] == ("test" if lists else "all")
    assert (result["n"], result["objects"]) == (1, 1)
    assert result["by_class"][1]["average_precision"] == 100


def test_a_converted_detector_is_measured_on_data_that_is_given(run):
    del run.record["dataset"], run.record["overrides"]
    with pytest.raises(ValueError, match="`data` .* must be given: a converted"):
        evaluate.evaluate(run)


def test_boxes_that_begin_at_zero_do_so_when_they_are_measured(run, tmp_path):
    other = voc_folder(tmp_path / "other", {"x": [("white", 4, 6, 20, 30)]})
    write_image(other / "JPEGImages/x.png", photograph(40, 60, [(4, 6, 20, 30)]))
    run.record["overrides"]["zero_based"] = True
    *_, examples = detector_data.examples_of(run, other, None, None)
    assert examples.objects.boxes.tolist() == [[4, 6, 20, 30]]


def test_what_does_not_go_with_a_detector_is_refused(run, cells, capsys):
    (cells / "Annotations/a.xml").write_text(
        (cells / "Annotations/c.xml").read_text().replace("<xmin>5<", "<xmin>6<")
    )
    for options, said in (
        ("evaluate X", "it has changed since"),
        ("evaluate X --crops 10", "A detector is measured by one of voc07, voc, coco"),
        ("evaluate X --protocol torchvision_v2", "Unknown protocol of detection"),
        ("predict X photo.png --top 3", "detects objects: leave --top out"),
    ):
        words = [str(run.folder) if word == "X" else word for word in options.split()]
        assert command_line.run(words) == 2
        assert said in capsys.readouterr().err
    with pytest.raises(ValueError, match="Received: a detector"):
        predict.load_classifier(run.folder)


def test_a_damaged_evaluation_is_named(run):
    write_json(run.folder / "evaluation.json", {"results": [{"by_class": []}]})
    with pytest.raises(ValueError, match=r"evaluation.json must hold results"):
        evaluate.evaluate(run)


@pytest.mark.slow
def test_objects_on_files_are_printed_written_and_drawn(run, cells, tmp_path, capsys):
    (tmp_path / "bad.png").write_text("no image")
    photo = cells / "JPEGImages/a.png"
    words = ["predict", str(run.folder), str(photo), str(tmp_path / "bad.png")]
    assert command_line.run(words) == 1
    said = capsys.readouterr()
    assert said.out == f"{photo}: white 75.0 % at 4 6 20 30\n"
    assert "bad.png must be a JPEG" in said.err
    output, pictures = tmp_path / "found.csv", tmp_path / "pictures"
    more = ["--output", str(output), "--pictures", str(pictures), "--score", "0.8"]
    assert command_line.run([*words, *more]) == 1
    said = capsys.readouterr().out
    assert said == f"{output}: 1 image\n{pictures}: 1 picture\n"
    with open(output, newline="") as file:
        good, bad = csv.DictReader(file)
    assert good["class"] == "" and "Decoding it failed" in bad["error"]
    assert [path.name for path in pictures.iterdir()] == ["a.png"]
    output.unlink()
    assert command_line.run([*words, *more]) == 2
    assert "must be a new or an empty folder" in capsys.readouterr().err


def test_evaluation_keeps_the_numbers_of_the_data_also_zero(run, monkeypatch):
    whole = detector_data.examples_of

    def numbered(*options):
        splits, split, examples = whole(*options)
        return replace(splits, category_ids=(7, 0)), split, examples

    monkeypatch.setattr(detector_evaluate, "examples_of", numbered)
    _, [found] = detector_evaluate.measure(run)
    assert found["category_id"] == 0


def test_results_in_cocos_form_have_the_numbers_of_the_training_data(run, cells):
    run.record["dataset"]["category_ids"] = [3, 17]  # As a JSON file of COCO had them.
    output = run.folder / "found.json"
    words = ["predict", str(run.folder), str(cells / "JPEGImages/a.png")]
    assert command_line.run([*words, "--output", str(output)]) == 0
    [found] = json.loads(output.read_text())
    assert found["category_id"] == 17
    assert found["bbox"] == [4.0, 6.0, 16.0, 24.0]
