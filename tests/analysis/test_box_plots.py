"""Pictures of objects and detections, side by side."""

import numpy as np
import pytest
from PIL import Image

from keras_resnet.analysis.box_plots import boxes_side_by_side

IMAGE = np.full((60, 80, 3), 200, np.uint8)
TRUTH = {
    "boxes": np.array([(5, 5, 30, 40), (40, 10, 70, 50)], float),
    "labels": np.array([0, 1]),
    "difficult": np.array([False, False]),
    "missed": np.array([False, True]),
}
FOUND = {
    "boxes": np.array([(6, 6, 30, 40)], float),
    "classes": np.array([0]),
    "scores": np.array([0.91]),
    "wrong": np.array([False]),
}
NAMES = ("cat", "a_$name$ of a class that has many letters")


def colors(path):
    """How many pixels are of each of the first two classes' colours."""
    pixels = np.asarray(Image.open(path).convert("RGB")).astype(int)
    blue, vermillion = (0x00, 0x72, 0xB2), (0xD5, 0x5E, 0x00)
    return [
        int((np.abs(pixels - c).max(axis=-1) < 12).sum()) for c in (blue, vermillion)
    ]


def test_objects_and_detections_are_drawn_in_the_colours_of_their_classes(tmp_path):
    path = boxes_side_by_side(
        [IMAGE, IMAGE[..., :1]],
        [TRUTH, TRUTH],
        [FOUND, {**FOUND, "classes": np.array([1])}],
        NAMES,
        tmp_path / "boxes.png",
        titles=["a.jpg", "b_1.jpg"],
    )
    both = colors(path)
    assert min(both) > 300
    none = {
        **FOUND,
        **{k: FOUND[k][:0] for k in ("boxes", "classes", "scores", "wrong")},
    }
    empty = {key: values[:0] for key, values in TRUTH.items()}
    bare = boxes_side_by_side([IMAGE], [empty], [none], NAMES, tmp_path / "none.png")
    assert colors(bare) == [0, 0]


def test_mistakes_are_counted_in_the_titles(tmp_path, drawn):
    path = tmp_path / "boxes.svg"
    boxes_side_by_side([IMAGE], [TRUTH], [FOUND], NAMES, path, titles=["a.jpg"])
    titles = [axis.get_title() for axis in drawn[0].axes]
    assert titles == ["a.jpg: 2 objects, 1 missed", "1 detection, 0 wrong"]
    said = [text.get_text() for axis in drawn[0].axes for text in axis.texts]
    assert said[0] == "cat" and said[2] == "cat 91"
    assert NAMES[1].startswith(said[1][:-1]) and said[1].endswith("…")


def test_lists_of_other_lengths_are_refused(tmp_path):
    with pytest.raises(ValueError, match="objects and detections for each"):
        boxes_side_by_side([IMAGE], [TRUTH], [], NAMES, tmp_path / "x.png")
    with pytest.raises(ValueError, match="There must be an image"):
        boxes_side_by_side([], [], [], NAMES, tmp_path / "x.png")
