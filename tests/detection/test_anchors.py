"""Anchors, by hand."""

import keras
import numpy as np

from keras_resnet.config.detector import Anchors
from keras_resnet.config.detectors import DETECTORS
from keras_resnet.detection import anchors


def test_those_of_torchvision_are_whole_pixels_with_the_ratio_outermost():
    row = DETECTORS["fasterrcnn_resnet50_fpn"].anchors
    expected = [[-23, -11, 23, 11], [-16, -16, 16, 16], [-11, -23, 11, 23]]
    np.testing.assert_array_equal(anchors.cell_anchors(row, 0), expected)


def test_those_of_detectron2_have_the_size_outermost():
    row = DETECTORS["fasterrcnn_resnet50_c4_detectron2"].anchors
    found = anchors.cell_anchors(row, 0)
    assert found.shape == (15, 4)
    np.testing.assert_allclose(found[0], np.array([-2, -1, 2, 1]) * 8 * 2**0.5)
    np.testing.assert_allclose(found[4], [-32, -32, 32, 32])


def test_cells_go_row_by_row_from_the_offset():
    row = Anchors(sizes=((8,),), ratios=(1.0,), offset=0.5)
    found = keras.ops.convert_to_numpy(anchors.grid(row, 0, (2, 3), (16, 16)))
    centres = (found[:, :2] + found[:, 2:]) / 2
    expected = [[x, y] for y in (8, 24) for x in (8, 24, 40)]
    np.testing.assert_array_equal(centres, expected)


def test_a_measured_stride_is_the_images_side_by_the_maps():
    images = np.zeros((1, 800, 1088, 3), "float32")
    maps = [np.zeros((1, 13, 17, 1), "float32")]  # P6: 800 / 13 is 61, not 64.
    row = Anchors(sizes=((8,),), ratios=(1.0,), measured_strides=True)
    (found,) = anchors.of_maps(row, images, maps, [64])
    found = keras.ops.convert_to_numpy(found)
    np.testing.assert_array_equal(found[1] - found[0], [64, 0, 64, 0])
    np.testing.assert_array_equal(found[17] - found[0], [0, 61, 0, 61])
