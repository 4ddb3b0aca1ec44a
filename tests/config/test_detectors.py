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
    ("changes", "message"),
    [
        ({"neck": "c5"}, "`neck` must be one of 'fpn', 'c4', 'dc5'"),
        ({"classes": 0}, "`classes` must be a positive integer"),
        ({"neck": "dc5"}, "must hold sizes for 1 feature map(s)"),
        ({"box_head": "fasterrcnn_resnet101_c4"}, "`box_head.layers` must be 'stage'"),
        ({"samples": 2001}, "`box_head.samples` must not exceed"),
    ],
)
def test_what_no_detector_can_have_is_refused(changes, message):
    row = DETECTORS["fasterrcnn_resnet50_fpn"]
    if "samples" in changes:
        changes = {"box_head": replace(row.box_head, **changes)}
    elif "box_head" in changes:
        changes = {"box_head": DETECTORS[changes["box_head"]].box_head}
    with pytest.raises(ValueError, match=re.escape(message)):
        replace(row, **changes)


def test_an_unknown_backbone_is_named():
    row = replace(DETECTORS["fasterrcnn_resnet50_fpn"], backbone="resnet5")
    with pytest.raises(ValueError, match="Unknown network 'resnet5'. Did you mean"):
        assert row.network
