"""Average precision by COCO's rule: both libraries, on cases in our forms."""

import dataclasses
import json

import numpy as np
import pytest

from keras_resnet.data.boxes import of_images
from keras_resnet.detection import coco
from keras_resnet.detection.coco import LIBRARIES, coco_precision, coco_results
from tests.helpers.detected import drawn, found, objects

BOX, OTHER = (0, 0, 10, 10), (30, 30, 50, 50)


@pytest.fixture(params=LIBRARIES)
def measure(request):
    pytest.importorskip(request.param, reason="comes with the extra `test`")

    def measured(there, seen, classes):
        return coco_precision(there, seen, classes, library=request.param)

    return measured


def test_an_iou_of_0_72_is_right_at_five_of_ten_thresholds(measure):
    result = measure(
        objects([(0, 0, 100, 100, 0)]), found([(0, 0, 72, 100, 0, 0.9)]), 1
    )
    assert result.ap == pytest.approx(5 / 10)
    assert (result.ap50, result.ap75) == pytest.approx((1, 0))
    assert result.ar1 == pytest.approx(5 / 10)


def test_nothing_found_is_0_and_no_error(measure):
    result = measure(objects([(*BOX, 0)], []), found([], []), 1)
    assert (result.ap, result.ar100) == (0, 0)


def test_a_class_or_a_size_without_objects_has_no_number(measure):
    result = measure(objects([(*BOX, 0)]), found([(*BOX, 0, 0.9), (*BOX, 1, 0.8)]), 2)
    np.testing.assert_allclose(result.by_class, [1, np.nan])
    assert result.ap == pytest.approx(1)
    assert result.ap_small == pytest.approx(1)
    assert np.isnan(result.ap_large)


def test_a_second_detection_is_wrong(measure):
    seen = found([(*BOX, 0, 0.9), (*BOX, 0, 0.8), (*OTHER, 0, 0.7)])
    result = measure(objects([(*BOX, 0), (*OTHER, 0)]), seen, 1)
    # Precision 1 at the 51 recalls up to 0.50, and 2/3 at the 50 above it.
    assert result.ap == pytest.approx((51 + 50 * 2 / 3) / 101)


def test_detections_in_a_crowd_are_ignored_and_areas_are_cocos(measure):
    there = of_images(
        [
            {
                "boxes": np.array([BOX, (0, 0, 100, 100)], float),
                "labels": np.zeros(2, int),
                "crowd": np.array([False, True]),
                "areas": np.array([40.0**2, 100.0**2]),
            }
        ]
    )
    inside = [(20, 20, 30, 30, 0, 0.95), (50, 50, 70, 70, 0, 0.94)]
    result = measure(there, found([*inside, (*BOX, 0, 0.9)]), 1)
    assert result.ap == pytest.approx(1)
    assert result.ap_medium == pytest.approx(1)  # By its area, not by its box.
    assert np.isnan(result.ap_small)


@pytest.mark.parametrize("seed", range(3))
def test_both_libraries_give_the_same_numbers(seed):
    for library in LIBRARIES:
        pytest.importorskip(library, reason="comes with the extra `test`")
    there, seen = drawn(seed, images=20)
    first, second = (
        dataclasses.asdict(
            coco_precision(objects(*there), found(*seen), 3, library=library)
        )
        for library in LIBRARIES
    )
    assert 0 < first["ap"] < 1
    assert first.pop("library") != second.pop("library")
    for name, value in first.items():
        np.testing.assert_allclose(second[name], value, atol=1e-12, err_msg=name)


def test_without_a_library_the_error_names_the_extra(monkeypatch):
    def missing(name):
        raise ImportError(name)

    monkeypatch.setattr(coco.importlib, "import_module", missing)
    with pytest.raises(ImportError, match=r"pip install 'keras-residual\[detection\]'"):
        coco_precision(objects([(*BOX, 0)]), found([]), 1)
    with pytest.raises(ValueError, match="`library` must be one of"):
        coco_precision(objects([]), found([]), 1, library="cocoapi")


def test_results_are_in_cocos_form():
    seen = found([(1, 2, 4, 8, 1, 0.5)], [])
    rows = coco_results(seen, image_ids=[139, 285], category_ids=[1, 90])
    assert json.loads(json.dumps(rows)) == [
        {"image_id": 139, "category_id": 90, "bbox": [1, 2, 3, 6], "score": 0.5}
    ]
