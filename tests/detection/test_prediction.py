"""What is found on image files, as tables and pictures."""

import csv
import json

import numpy as np
import pytest
from PIL import Image

from keras_resnet.detection.prediction import draw_detections, write_detections
from tests.helpers.boxed_folders import photograph, write_image
from tests.helpers.detected import found

NAMES = ("red", "white")
(ONE, NONE) = found([(1, 2, 11, 22, 1, 0.75), (0, 0, 4, 4, 0, 0.5)], [])
ANSWERS = [("a.png", ONE), ("b.png", NONE), ("c.png", ValueError("c.png is no image"))]


def test_csv_has_a_row_for_each_detection_and_for_each_image_without(tmp_path):
    write_detections(tmp_path / "found.csv", ANSWERS, NAMES)
    with open(tmp_path / "found.csv", newline="") as file:
        first, second, empty, bad = csv.DictReader(file)
    assert first == {
        **{"image": "a.png", "class": "white", "score": "0.75", "error": ""},
        **{"x1": "1.0", "y1": "2.0", "x2": "11.0", "y2": "22.0"},
    }
    assert second["class"] == "red"
    assert (empty["image"], empty["class"], empty["error"]) == ("b.png", "", "")
    assert (bad["image"], bad["error"]) == ("c.png", "c.png is no image")


def test_json_is_cocos_form_of_results(tmp_path):
    write_detections(tmp_path / "found.json", ANSWERS, NAMES, (4, 7))
    rows = json.loads((tmp_path / "found.json").read_text())
    assert rows[0] == {
        "image_id": "a.png",
        "category_id": 7,
        "bbox": [1, 2, 10, 20],
        "score": 0.75,
        "category_name": "white",
    }
    assert [row["category_id"] for row in rows] == [7, 4]
    with pytest.raises(ValueError, match="that end in .csv or .json"):
        write_detections(tmp_path / "found.txt", ANSWERS, NAMES)


def test_each_image_is_drawn_with_its_boxes(tmp_path):
    paths = [tmp_path / "one/a.png", tmp_path / "two/a.png"]
    for path in paths:
        write_image(path, photograph(40, 60))
    answers = [*((path, ONE) for path in paths), ("c.png", ValueError("no image"))]
    drawn = draw_detections(answers, NAMES, tmp_path / "pictures")
    assert [path.name for path in drawn] == ["a.png", "a_2.png"]
    pixels = np.asarray(Image.open(drawn[0]).convert("RGB")).astype(int)
    for color in ((0x00, 0x72, 0xB2), (0xD5, 0x5E, 0x00)):  # Of the two classes.
        assert (np.abs(pixels - color).max(axis=-1) < 12).sum() > 100
