"""What the region proposal network proposes."""

import keras
import numpy as np

from keras_resnet.config.detector import Proposals
from keras_resnet.detection.proposals import propose


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
