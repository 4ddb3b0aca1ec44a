"""Detectors are run over images of all sizes, and answer in the images' own pixels."""

import numpy as np
import pytest

from keras_resnet.config.box_batches import BoxBatches
from keras_resnet.config.detectors import DETECTORS
from keras_resnet.detection import inference
from keras_resnet.detection.inference import (
    detect_files,
    detections_in,
    images_at_once,
    upright,
)
from keras_resnet.devices import limits
from tests.helpers.boxed_folders import photograph, write_image
from tests.helpers.small_detectors import CLASSES, small_detector
from tests.helpers.white_boxes import WhiteBox, white_boxes

pytest.importorskip("tensorflow")

# Sides are twice as long in the batch: every corner is exact.
SETTINGS = BoxBatches(
    batch_size=2, shorter_sides=(40, 64), longer_side=160, horizontal_flip=True
)
SIZES = [(32, 48), (60, 32), (32, 32), (32, 80), (32, 48)]
BOXES = [(4, 6, 20, 30), (10, 2, 30, 50), (0, 0, 32, 32), (60, 8, 80, 32), (1, 1, 9, 9)]


@pytest.mark.usefixtures("never_autotuned")
def test_boxes_are_in_pixels_of_the_images_as_they_were():
    detector, seen = WhiteBox(), []
    found = detections_in(
        detector, white_boxes(SIZES, BOXES), SETTINGS, seen=seen.append
    )
    for one, box in zip(found, BOXES, strict=True):
        # Resizing smears an edge over a pixel of the batch.
        np.testing.assert_allclose(one["boxes"], [box], atol=0.6)
        assert one["classes"].tolist() == [1] and one["scores"].tolist() == [0.75]
    assert seen == [2, 2, 1]
    # By the last of the shorter sides: wide images on one canvas, high ones on another.
    assert detector.seen == [(2, 64, 160, 3)] * 2 + [(1, 128, 64, 3)]


@pytest.mark.slow
def test_what_is_compiled_sees_whole_batches_alone():
    detector = WhiteBox()
    detector.jit_compile = True
    found = detections_in(detector, white_boxes(SIZES[:3:2], BOXES[:3:2]), SETTINGS)
    again = detections_in(
        detector, white_boxes(SIZES[:1], BOXES[:1]), SETTINGS, batch_size=4
    )
    assert [shape[0] for shape in detector.seen] == [2, 4]
    np.testing.assert_array_equal(found[0]["boxes"], again[0]["boxes"])


def test_a_model_with_other_outputs_is_refused():
    model = WhiteBox()
    model.predict_on_batch = lambda batch: {"boxes": 1}
    with pytest.raises(ValueError, match=r"must give a dict with .* \['boxes'\]"):
        detections_in(model, white_boxes(SIZES[:1], BOXES[:1]), SETTINGS)


def test_batches_are_as_large_as_the_memory_allows(monkeypatch):
    class Of:
        spec = DETECTORS["fasterrcnn_resnet50_fpn"]

    monkeypatch.setattr(limits, "memory", lambda: 16 * 2**30)
    assert images_at_once(Of, (320, 320), 4) == 4
    assert 4 <= images_at_once(Of, (800, 1344), 100) <= 16
    monkeypatch.setattr(limits, "memory", lambda: 2**30)
    assert images_at_once(Of, (800, 1344), 100) == 1
    assert images_at_once(WhiteBox(), (800, 1344), 100) == 100


def test_files_and_bytes_are_answered_in_order_and_bad_ones_named(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(inference, "FILES", 3)  # Two rounds.
    pixels = photograph(32, 48, [BOXES[0]])
    write_image(tmp_path / "a.png", pixels)
    # Lying on its side: to be turned a quarter to the right.
    write_image(tmp_path / "lying.png", pixels, orientation=6)
    (tmp_path / "text.png").write_text("no image")
    (tmp_path / "folder.png").mkdir()
    names = ["a.png", "text.png", "lying.png", "folder.png", "away.png"]
    images = [*(tmp_path / name for name in names), (tmp_path / "a.png").read_bytes()]
    answers = list(detect_files(WhiteBox(), images, SETTINGS))
    assert [image for image, _ in answers] == images
    first, text, lying, folder, away, contents = (answer for _, answer in answers)
    np.testing.assert_allclose(first["boxes"], [BOXES[0]], atol=0.6)
    np.testing.assert_array_equal(first["boxes"], contents["boxes"])
    x1, y1, x2, y2 = BOXES[0]
    np.testing.assert_allclose(lying["boxes"], [[32 - y2, x1, 32 - y1, x2]], atol=0.6)
    assert upright(images[2]).shape == (48, 32, 3)
    for answer, said in (
        (text, "text.png must be a JPEG.* Decoding it failed"),
        (folder, "folder.png; it is a folder"),
        (away, "away.png; there is no file"),
    ):
        assert isinstance(answer, ValueError)
        with pytest.raises(ValueError, match=said):
            raise answer


def test_only_detections_of_a_score_are_given(tmp_path):
    write_image(tmp_path / "a.png", photograph(32, 48, [BOXES[0]]))
    ((_, found),) = detect_files(WhiteBox(), [tmp_path / "a.png"], SETTINGS, score=0.8)
    assert found["boxes"].shape == (0, 4)
    with pytest.raises(ValueError, match="`score` must be from 0 to 1"):
        detect_files(WhiteBox(), [], SETTINGS, score=50)


@pytest.mark.slow
def test_a_detector_of_ours_answers_inside_of_the_images():
    found = detections_in(small_detector(), white_boxes(SIZES, BOXES), SETTINGS)
    assert sum(len(one["boxes"]) for one in found)
    for one, (height, width) in zip(found, SIZES, strict=True):
        assert (one["boxes"] >= 0).all()
        assert (one["boxes"] <= [width, height, width, height]).all()
        assert set(one["classes"]) <= set(range(CLASSES))
