"""A detector's result for JSON, and the table of it."""

import json

import pytest

from keras_resnet.config.box_batches import BoxBatches
from keras_resnet.detection.evaluation import (
    TWELVE,
    as_table,
    evaluate_detector,
    measure_detections,
)
from tests.helpers.detected import found, objects
from tests.helpers.white_boxes import WhiteBox, white_boxes

BOX, OTHER = (0, 0, 10, 10), (30, 30, 50, 50)
# Two cats, of which one is found, a difficult one and a dog that isn't; no bird.
TRUTH = objects([(*BOX, 0), (*OTHER, 0)], [(*BOX, 0, True), (*OTHER, 1)])
SEEN = found([(*BOX, 0, 0.9)], [(*BOX, 0, 0.8)])
NAMES = ("cat", "dog", "bird")


@pytest.mark.parametrize(("protocol", "cats"), [("voc", 50.0), ("voc07", 600 / 11)])
def test_voc_counts_what_its_rules_count(protocol, cats):
    result = measure_detections(TRUTH, SEEN, NAMES, protocol)
    assert json.loads(json.dumps(result, allow_nan=False)) == result
    first, second, third = result["by_class"]
    assert first.pop("average_precision") == pytest.approx(cats)
    assert first == {"name": "cat", "found": 1, "objects": 2, "detections": 2}
    assert second["average_precision"] == 0.0
    assert third["average_precision"] is None and third["objects"] == 0
    assert result["average_precision"] == pytest.approx(cats / 2)
    counts = [result[name] for name in ("n", "objects", "ignored", "detections")]
    assert counts == [2, 3, 1, 2]


def test_coco_gives_its_twelve_numbers_and_knows_no_difficult_objects():
    pytest.importorskip("pycocotools", reason="needs the extra `detection`")
    result = measure_detections(TRUTH, SEEN, NAMES, "coco")
    assert json.loads(json.dumps(result, allow_nan=False)) == result
    assert (result["objects"], result["ignored"]) == (4, 0)
    assert (
        result["average_precision"]
        == result["ap"]
        == pytest.approx(
            sum(row["average_precision"] for row in result["by_class"][:2]) / 2
        )
    )
    assert result["ap_large"] is None  # There is no large object.
    assert all(name in result for name in TWELVE)
    said = as_table(result)
    assert f"AP50 {result['ap50']:.2f} %" in said and "AP large –" in said


def test_the_table_has_a_line_for_each_class():
    lines = as_table(measure_detections(TRUTH, SEEN, NAMES)).splitlines()
    assert lines[0] == (
        "mean AP 25.00 % by voc, 2 images, 3 objects and 1 difficult object or crowd left "
        "out"
    )
    assert lines[2].split() == ["cat", "50.00", "%", "2", "1", "2"]
    assert lines[4].split() == ["bird", "–", "0", "0", "0"]


def test_a_detector_is_measured_on_a_split():
    settings = BoxBatches(batch_size=2, shorter_sides=(64,), longer_side=96)
    examples = white_boxes([(32, 48)] * 3, [(4, 6, 20, 30)] * 3)
    result = evaluate_detector(WhiteBox(), examples, settings, class_names=NAMES)
    assert result["by_class"][1]["average_precision"] == 100
    assert (result["protocol"], result["n"]) == ("voc", 3)
    for options, said in (
        ({"protocol": "voc12"}, "Unknown protocol of detection 'voc12'"),
        ({"class_names": ("cat",)}, "1 names, 3 classes, and labels from 0 to 1"),
    ):
        with pytest.raises(ValueError, match=said):
            evaluate_detector(WhiteBox(), examples, settings, **options)
    stranger = white_boxes([(32, 48)], [(4, 6, 20, 30)], label=3)
    with pytest.raises(ValueError, match="labels from 0 to 3"):
        evaluate_detector(WhiteBox(), stranger, settings)
