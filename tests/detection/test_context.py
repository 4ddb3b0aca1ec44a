"""Global context: the whole image beside each region, in a detector that learns it."""

import keras
import numpy as np
import pytest

from keras_resnet.config.detectors import DETECTORS
from keras_resnet.detection import FasterRCNN
from keras_resnet.detection.weights import load_state_dict, to_state_dict
from tests.helpers.small_detectors import (
    as_tensors,
    small_batch,
    small_detector,
    small_row,
)

ROW = "fasterrcnn_resnet101_c4_context"


def numpy(tensors):
    return keras.tree.map_structure(keras.ops.convert_to_numpy, tensors)


@pytest.fixture(scope="module")
def detector():
    """One that no test changes."""
    return small_detector(ROW)


def test_the_row_differs_from_appendix_as_in_the_context_alone():
    row, plain = DETECTORS[ROW], DETECTORS["fasterrcnn_resnet101_c4"]
    assert row.box_head.context and not plain.box_head.context
    assert row.anchors == plain.anchors and row.proposals == plain.proposals


def test_features_of_the_image_are_joined_to_each_regions(detector):
    shapes = np.array([[60, 90], [64, 96]], "float32")
    boxes = np.zeros((2, 3, 4), "float32")
    with_image = detector.regions.with_image(*as_tensors([boxes, shapes]))
    assert numpy(with_image)[:, -1].tolist() == [[0, 0, 90, 60], [0, 0, 96, 64]]
    units = detector.regions.until_features.output.shape[-1]
    features = np.random.default_rng(0).normal(size=(2, 4, units)).astype("float32")
    logits, offsets = numpy(detector.regions.outputs(as_tensors(features)))
    assert logits.shape == (2, 3, 4) and offsets.shape == (2, 3, 3, 4)
    layer = detector.box_head.get_layer("box_logits")
    joined = np.concatenate([features[1, 2], features[1, 3]])
    expected = joined @ numpy(layer.kernel) + numpy(layer.bias)
    np.testing.assert_allclose(logits[1, 2], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_it_learns_and_is_saved(tmp_path):
    detector = small_detector(ROW)
    before = numpy(detector.box_head.get_layer("box_logits").kernel)
    detector.compile(keras.optimizers.SGD(0.001), run_eagerly=True)
    detector.train_on_batch(as_tensors(small_batch()))
    after = numpy(detector.box_head.get_layer("box_logits").kernel)
    moved = np.abs(after - before).max(axis=1)
    # Both halves of what the layer takes.
    assert moved[: len(moved) // 2].max() > 0 and moved[len(moved) // 2 :].max() > 0
    detector.save(tmp_path / "detector.keras")
    loaded = keras.saving.load_model(tmp_path / "detector.keras")
    images = as_tensors(small_batch()["images"])
    found, expected = numpy(loaded(images)), numpy(detector(images))
    assert expected["valid"].any()
    np.testing.assert_array_equal(found["boxes"], expected["boxes"])


def test_weights_that_know_no_context_leave_the_last_layers_new(detector):
    plain = small_detector("fasterrcnn_resnet101_c4", seed=1)
    state = to_state_dict(plain)
    with pytest.raises(ValueError, match="'roi_heads.box_predictor.* must have the"):
        load_state_dict(detector, state)
    loaded = FasterRCNN(small_row(ROW), weights=state, frozen=False)
    found = to_state_dict(loaded)
    for key, value in state.items():
        # Batch norms that are frozen, as with weights, count no batches.
        if "box_predictor" not in key and not key.endswith("num_batches_tracked"):
            np.testing.assert_array_equal(found[key], value)
    load_state_dict(loaded, found)  # All of it.
