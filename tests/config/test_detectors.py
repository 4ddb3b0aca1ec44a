"""The rows of detectors."""

import json
import re
from dataclasses import replace

import pytest

from keras_resnet.config.detector import DetectorSpec
from keras_resnet.config.detectors import DETECTORS, NECKS
from keras_resnet.config.values import from_values, to_values


@pytest.mark.parametrize("name", DETECTORS)
def test_rows_survive_json(name):
    row = DETECTORS[name]
    values = json.loads(json.dumps(to_values(row)))
    assert from_values(DetectorSpec, values) == row
    assert row.name == name


@pytest.mark.parametrize("neck", NECKS)
def test_a_neck_means_a_row_that_has_it(neck):
    assert DETECTORS[NECKS[neck]].neck == neck


@pytest.mark.parametrize(
    ("part", "changes", "message"),
    [
        (None, {"neck": "c5"}, "`neck` must be one of 'fpn', 'c4', 'dc5'"),
        (None, {"classes": 0}, "`classes` must be a positive integer"),
        (None, {"neck": "dc5"}, "must hold sizes for 1 feature map(s)"),
        (None, {"name": "a/b"}, "`name` must be letters"),
        (None, {"channel_order": "gbr"}, "`channel_order` must be one of"),
        (None, {"std": (1.0, 0.0, 1.0)}, "`std` must be 3 numbers, each positive"),
        (None, {"mean": (1.0, 2.0)}, "`mean` must be 3 numbers"),
        (None, {"sides": (800, 600)}, "`sides` must be two numbers that rise"),
        (None, {"frozen_stages": -1}, "`frozen_stages` must be an integer of at least"),
        ("box_head", {"layers": "stage"}, "`box_head.layers` must be 'stage' with"),
        ("box_head", {"layers": "stages"}, "`layers` must be one of"),
        ("box_head", {"samples": 2001}, "`box_head.samples` must not exceed"),
        ("box_head", {"samples": 3}, "`samples` times `foreground_share` must be at"),
        ("box_head", {"sampling_ratio": 0}, "must be positive with neck='fpn'"),
        ("box_head", {"sampling_ratio": -1}, "`sampling_ratio` must be an integer of"),
        ("box_head", {"weights": (1.0, 1.0, 1.0)}, "`weights` must be 4 numbers"),
        ("box_head", {"background": (0.6, 0.5)}, "`background` must be two numbers"),
        ("box_head", {"background": (0.0, 0.6)}, "`background` must end above 0 and"),
        ("box_head", {"pooled": 0}, "`pooled` must be a positive integer"),
        ("box_head", {"score": 1.5}, "`score` must be at least 0 and at most 1"),
        ("proposals", {"samples": 0}, "`samples` must be a positive integer"),
        ("proposals", {"background": 0.8}, "`background` must end above 0 and not"),
        (
            "proposals",
            {"after_suppression": (9,)},
            "must be 2 numbers, each a positive",
        ),
        ("proposals", {"suppression": 7}, "`suppression` must be at least 0"),
        ("anchors", {"sizes": ()}, "`sizes` must hold the sizes for each feature map"),
        ("anchors", {"sizes": ((8,), (8, 9))}, "as many for each"),
        ("anchors", {"ratios": ()}, "`ratios` must be one or more numbers"),
        ("anchors", {"ratios": (-1.0,)}, "`ratios` must be one or more numbers, each"),
    ],
)
def test_what_no_detector_can_have_is_refused(part, changes, message):
    row = DETECTORS["fasterrcnn_resnet50_fpn"]
    with pytest.raises(ValueError, match=re.escape(message)):
        replace(
            row, **({part: replace(getattr(row, part), **changes)} if part else changes)
        )


def test_lists_become_tuples():
    anchors = replace(DETECTORS["fasterrcnn_resnet50_fpn"].anchors, ratios=[1.0, 2.0])
    assert hash(anchors) and anchors.ratios == (1.0, 2.0)


def test_an_unknown_backbone_is_named():
    row = replace(DETECTORS["fasterrcnn_resnet50_fpn"], backbone="resnet5")
    with pytest.raises(ValueError, match="Unknown network 'resnet5'. Did you mean"):
        assert row.network
