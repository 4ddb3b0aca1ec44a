"""What a detector misses and makes up, image by image."""

import pytest

from keras_resnet.detection.misses import in_words, misses_by_image, with_mistakes
from tests.helpers.detected import found, objects

BOX, OTHER, FAR = (0, 0, 10, 10), (30, 30, 50, 50), (60, 60, 70, 70)
THERE = objects(
    [(*BOX, 0)], [(*BOX, 0), (*OTHER, 1), (*FAR, 1)], [(*BOX, 0, True), (*OTHER, 1)]
)
SEEN = found(
    [(*BOX, 0, 0.9)],
    [
        *[(*BOX, 0, 0.9), (*BOX, 0, 0.8), (*OTHER, 0, 0.7), (61, 61, 75, 75, 1, 0.7)],
        *[(80, 80, 90, 90, 0, 0.6), (80, 80, 90, 90, 0, 0.4)],
    ],
    [(*OTHER, 1, 0.3)],
)


def test_images_are_in_the_order_of_their_mistakes():
    ordered = misses_by_image(THERE, SEEN)
    assert [one.image for one in ordered] == [1, 2, 0]
    assert [one.mistakes for one in ordered] == [6, 1, 0]
    worst, missing, right = ordered
    assert worst.missed.tolist() == [False, True, True]
    assert worst.reasons == ("", "second", "class", "place", "background", "")
    assert worst.shown.tolist() == [True] * 5 + [False]
    # What is difficult is never missed.
    assert missing.missed.tolist() == [False, True]
    assert right.wrong == 0


def test_each_image_needs_detections():
    with pytest.raises(ValueError, match="3 images, and detections for 2"):
        misses_by_image(THERE, SEEN[:2])


def test_they_are_said_in_words():
    worst, missing, right = misses_by_image(THERE, SEEN)
    names = ("cat", "dog")
    assert in_words(worst, "a.jpg", THERE, names) == (
        "a.jpg: 2 objects missed (dog 2); 4 detections wrong (second detection of an "
        "object 1, object of another class 1, badly placed 1, nothing there 1)"
    )
    assert in_words(missing, 17, THERE, names) == "17: 1 object missed (dog 1)"
    assert in_words(right, 18, THERE, names) == "18: no mistake"


def test_they_are_marked_for_a_picture():
    worst, missing, _ = misses_by_image(THERE, SEEN)
    objects, detections = with_mistakes(worst, THERE, SEEN)
    assert objects["missed"].tolist() == [False, True, True]
    assert detections["wrong"].tolist() == [False, True, True, True, True]
    assert detections["boxes"].shape == (5, 4)  # Without the one of a low score.
    assert len(with_mistakes(missing, THERE, SEEN)[1]["wrong"]) == 0
