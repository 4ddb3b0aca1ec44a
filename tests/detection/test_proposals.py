"""What the region proposal network proposes."""

import warnings

import keras
import numpy as np
import pytest

from keras_resnet.config.detector import Proposals
from keras_resnet.config.detectors import DETECTORS
from keras_resnet.detection.proposals import inside, propose


def test_boxes_outside_of_the_image_take_no_place():
    row = Proposals(before_suppression=(4, 4), after_suppression=(2, 2))
    anchors, objectness, offsets, shapes = map(
        keras.ops.convert_to_tensor,
        (
            np.array([[20, 0, 28, 8], [2, 0, 8, 8]], "float32"),
            np.array([[5, 0]], "float32"),  # The better one is in the padding.
            np.zeros((1, 2, 4), "float32"),
            np.array([[10, 10]], "float32"),
        ),
    )
    found, valid = map(
        keras.ops.convert_to_numpy,
        propose(row, [anchors], [objectness], [offsets], shapes),
    )
    assert valid.tolist() == [[True, False]]
    np.testing.assert_allclose(found[0, 0], [2, 0, 8, 8])


def test_a_warning_tells_where_no_anchor_lies_within_the_images():
    row = DETECTORS["fasterrcnn_resnet101_c4"].anchors
    assert row.inside_only
    anchors, shapes = np.zeros((1, 4), "float32"), np.ones((1, 2), "float32")
    with pytest.warns(UserWarning, match="learns nothing.* images of 80x107 pixels"):
        inside(row, anchors, shapes, np.zeros((1, 80, 107, 3)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        inside(row, anchors, shapes, np.zeros((1, 200, 300, 3)))
        inside(row, anchors, shapes, keras.Input((None, None, 3)))
