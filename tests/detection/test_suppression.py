"""Non-maximum suppression, against a loop in NumPy and torchvision."""

import keras
import numpy as np
import pytest

from keras_resnet.detection import nms
from tests.helpers.backends import BACKENDS, of_backend


def cases():
    """Boxes in the order of their scores, with what is kept among them, by name."""
    rng = np.random.default_rng(0)
    made = {}
    for name, step in (("real", 1e-3), ("integers", 1.0)):
        corners = np.round(rng.uniform(0, 40, (2, 60, 2)) / step) * step
        sides = np.round(rng.uniform(0, 30, (2, 60, 2)) / step) * step
        made[name] = np.concatenate([corners, corners + sides], -1).astype("float32")
    # Two overlap by exactly a half, which is not more than a half.
    half = [[0, 0, 10, 10], [0, 0, 10, 5], [0, 0, 10, 6], [0, 0, 10, 10]]
    made["exactly the threshold"] = np.array([half], "float32")
    return made


def kept_one_by_one(boxes, valid, threshold, groups):
    """Which boxes are kept, each compared with those before it."""
    kept = []
    areas = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
    for i, (x1, y1, x2, y2) in enumerate(boxes):
        drop = not valid[i]
        for j in kept:
            width = min(x2, boxes[j, 2]) - max(x1, boxes[j, 0])
            height = min(y2, boxes[j, 3]) - max(y1, boxes[j, 1])
            common = max(width, 0) * max(height, 0)
            union = areas[i] + areas[j] - common
            drop |= groups[i] == groups[j] and union > 0 and common / union > threshold
        if not drop:
            kept.append(i)
    return np.isin(np.arange(len(boxes)), kept)


def write(path):
    """What this backend keeps, for each case and way."""
    results = {}
    for name, boxes in cases().items():
        valid = np.ones(boxes.shape[:2], bool)
        for xla in (False, True):
            kept = nms(*map(keras.ops.convert_to_tensor, (boxes, valid)), 0.5, xla=xla)
            results[f"{name}, {xla}"] = keras.ops.convert_to_numpy(kept)
    np.savez(path, **results)


@pytest.mark.parametrize("xla", [False, True])
@pytest.mark.parametrize("name", cases())
@pytest.mark.parametrize("threshold", [0.3, 0.5])
def test_each_box_drops_the_worse_ones_that_it_overlaps(name, threshold, xla):
    boxes = cases()[name]
    rng = np.random.default_rng(1)
    valid = rng.uniform(size=boxes.shape[:2]) < 0.9
    kept = nms(*map(keras.ops.convert_to_tensor, (boxes, valid)), threshold, xla=xla)
    alike = np.zeros(boxes.shape[1])
    for image, found in enumerate(keras.ops.convert_to_numpy(kept)):
        expected = kept_one_by_one(boxes[image], valid[image], threshold, alike)
        np.testing.assert_array_equal(found, expected)


def test_boxes_of_two_groups_do_not_overlap():
    boxes = cases()["integers"]
    groups = np.random.default_rng(1).integers(0, 3, boxes.shape[:2])
    valid = np.ones(boxes.shape[:2], bool)
    tensors = map(keras.ops.convert_to_tensor, (boxes, valid, groups))
    boxes_, valid_, groups_ = tensors
    kept = keras.ops.convert_to_numpy(nms(boxes_, valid_, 0.5, groups=groups_))
    for image, found in enumerate(kept):
        expected = kept_one_by_one(boxes[image], valid[image], 0.5, groups[image])
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parity
@pytest.mark.multiprocess
@pytest.mark.parametrize("backend", BACKENDS)
def test_it_is_torchvisions(backend, results, torch, torchvision_operators):
    found = of_backend(results, backend)
    for name, batch in cases().items():
        for image, boxes in enumerate(batch):
            scores = torch.linspace(1, 0.1, len(boxes))
            kept = torchvision_operators.ops.nms(torch.from_numpy(boxes), scores, 0.5)
            for xla in (False, True):
                mine = np.flatnonzero(found[f"{name}, {xla}"][image])
                assert set(mine) == set(kept.numpy()), (name, xla)
