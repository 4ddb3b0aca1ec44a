"""Refined boxes, several scales and ensembles: by hand, and where nothing may change."""

from dataclasses import replace

import keras
import numpy as np
import pytest

from keras_resnet.detection import Ensemble, MultiScale, Refined
from keras_resnet.detection.multi_scale import lower_scales, scaled
from keras_resnet.detection.refinement import voted
from tests.helpers.backends import BACKENDS, of_backend
from tests.helpers.small_detectors import (
    as_tensors,
    small_batch,
    small_detector,
    small_row,
)

NECKS = {
    "fpn": "fasterrcnn_resnet50_fpn",
    "c4": "fasterrcnn_resnet101_c4_context",
    "dc5": "fasterrcnn_resnet50_dc5_detectron2",
}


def sure(neck="fpn", seed=0):
    """A detector whose scores differ, and whose offsets are a part of a box."""
    detector = small_detector(NECKS[neck], seed)
    seen = detector.look(images())
    boxes, _ = detector.propose(seen)
    said = detector.regions(seen["maps"], boxes, seen["shapes"])
    for layer, values in zip(("box_logits", "box_offsets"), said, strict=True):
        kernel = detector.box_head.get_layer(layer).kernel
        kernel.assign(kernel * 1.5 / keras.ops.std(values))
    return detector


@pytest.fixture(scope="module")
def detector():
    """One that no test changes."""
    return sure()


def images(height=64, width=96):
    batch = small_batch(height=height, width=width)
    return as_tensors({name: batch[name] for name in ("images", "image_shapes")})


def found_by(detector, batch=None):
    found = detector(images() if batch is None else batch)
    return {name: keras.ops.convert_to_numpy(value) for name, value in found.items()}


def check_equal(found, expected):
    assert expected["valid"].any()
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-5, atol=1e-4)


def tensor(values, dtype="float32"):
    return keras.ops.convert_to_tensor(np.array(values, dtype))


# --- By hand ----------------------------------------------------------------------


def test_boxes_of_a_class_vote_by_their_scores():
    boxes = np.zeros((1, 4, 2, 4))
    boxes[0, :, 1] = [[0, 0, 10, 10], [0, 0, 10, 6], [0, 0, 10, 4], [0, 0, 10, 8]]
    boxes[0, :, 0] = [0, 0, 10, 2]
    scores = np.zeros((1, 4, 2))
    scores[0, :, 1] = [0.8, 0.4, 0.9, 0.0]  # The last one is no candidate.
    scores[0, :, 0] = 0.7  # Of another class.
    kept = {
        "boxes": tensor([[[0, 0, 10, 10], [-1, -1, -1, -1]]]),
        "classes": tensor([[1, -1]], "int32"),
        "valid": tensor([[True, False]], "bool"),
    }
    mean = voted(kept, tensor(scores), tensor(boxes), 0.5)
    # The second overlaps by .6, the third by .4: (.8 x 10 + .4 x 6) / 1.2.
    expected = [[[0, 0, 10, 10.4 / 1.2], [-1, -1, -1, -1]]]
    np.testing.assert_allclose(keras.ops.convert_to_numpy(mean), expected, rtol=1e-5)


@pytest.fixture
def sliding(detector, monkeypatch):
    """It moves boxes to the right by 2 pixels, and is surer the farther right they are.

    Boxes of the second, less probable class move far away.
    """

    def propose(seen, **options):
        boxes = tensor([[[0, 0, 10, 10], [50, 50, 60, 60], [9, 9, 19, 19]]])
        return boxes, tensor([[True, True, False]], "bool")

    def classify(seen, boxes, **options):
        x = boxes[..., :1]
        scores = keras.ops.concatenate([0.5 + x / 100, 0.005 + 0 * x], axis=-1)
        far = keras.ops.zeros_like(boxes) + tensor([30, 30, 40, 40])
        return scores, keras.ops.stack([boxes + tensor([2, 0, 2, 0]), far], axis=2)

    monkeypatch.setattr(detector, "look", lambda *args: None)
    monkeypatch.setattr(detector, "propose", propose)
    monkeypatch.setattr(detector, "classify", classify)
    return detector


def test_boxes_are_pooled_again_where_they_were_moved_and_suppressed_together(sliding):
    found = found_by(Refined(sliding, voting=None))
    assert found["valid"].tolist() == [[True, True, False, False, False]]
    # Both predictions overlap by 2/3: only the second, surer one is left.
    expected = [[54, 50, 64, 60], [4, 0, 14, 10]]
    np.testing.assert_allclose(found["boxes"][0, :2], expected)
    np.testing.assert_allclose(found["scores"][0, :2], [1.02, 0.52])
    together = found_by(Refined(sliding, suppression=0.7, voting=None))
    assert together["valid"].sum() == 4
    means = found_by(Refined(sliding))["boxes"][0, :2, 0]
    expected = [(1.02 * 54 + 1.0 * 52) / 2.02, (0.52 * 4 + 0.5 * 2) / 1.02]
    np.testing.assert_allclose(means, expected, rtol=1e-5)


def test_two_scales_are_those_around_the_side():
    sides = np.array([10, 200, 268, 1000])
    boxes = np.stack([0 * sides, 0 * sides, sides, sides], axis=-1)[None]
    lower = lower_scales(tensor(boxes), (0.5, 1.0, 2.0), 224.0)
    assert keras.ops.convert_to_numpy(lower).tolist() == [[1, 1, 0, 0]]
    assert not keras.ops.convert_to_numpy(
        lower_scales(tensor(boxes), (1.0,), 224.0)
    ).any()


class Marked:
    """Regions whose features are their scale and its negative."""

    def with_image(self, boxes, shapes):
        return boxes

    def pooled(self, maps, boxes, *, xla=False):
        shape = (*boxes.shape[:2], 1, 1, 2)
        return keras.ops.zeros(shape) + tensor([maps, -maps])

    def features(self, pooled):
        return pooled[:, :, 0, 0]

    def outputs(self, features):
        self.seen = keras.ops.convert_to_numpy(features)
        shape = (*features.shape[:2], 4)
        return keras.ops.zeros(shape), keras.ops.zeros((*shape, 4))


def test_the_larger_value_of_two_adjacent_scales_counts(detector, monkeypatch):
    scales = (0.5, 1.0, 2.0)
    model = MultiScale(detector, scales)
    marked = Marked()
    monkeypatch.setattr(detector, "regions", marked)
    seen = {
        "scales": {scale: ({"maps": scale}, tensor([scale] * 4)) for scale in scales},
        "shapes": tensor([[900, 900]]),
    }
    boxes = tensor([[[0, 0, 100, 100], [0, 0, 400, 400]]])
    model.classify(seen, boxes)
    # The smaller box is pooled at 1 and 2, the larger one at .5 and 1.
    np.testing.assert_allclose(marked.seen, [[[2.0, -1.0], [1.0, -0.5]]])


def test_what_fills_an_image_up_does_not_reach_into_its_other_sizes():
    batch = {
        "images": np.full((1, 8, 10, 3), 7.0, "float32"),
        "image_shapes": np.array([[8, 6]], "float32"),
    }
    batch["images"][:, :, 6:] = 1000
    row = replace(small_row(), mean=(7.0, 8.0, 9.0))
    larger, ratios = scaled(as_tensors(batch), 1.5, row)
    found = keras.ops.convert_to_numpy(larger["images"])
    assert found.shape == (1, 12, 15, 3)
    np.testing.assert_allclose(found[..., 0], 7.0)
    assert found[:, :, :8].max() == 7.0 and found[0, 0, -1].tolist() == [7, 8, 9]
    assert keras.ops.convert_to_numpy(larger["image_shapes"]).tolist() == [[12, 9]]
    assert keras.ops.convert_to_numpy(ratios).tolist() == [1.5] * 4


def test_an_ensemble_averages_over_the_union_of_proposals(detector, monkeypatch):
    # Twice the same detector, which sees another number in each place.
    def propose(seen, **options):
        return tensor([[[0, 0, seen, seen]]]), tensor([[True]], "bool")

    def classify(seen, boxes, **options):
        return seen + boxes[..., :3], boxes[:, :, None] + seen

    monkeypatch.setattr(detector, "propose", propose)
    monkeypatch.setattr(detector, "classify", classify)
    model = Ensemble([detector, detector])
    union, valid = model.propose([10.0, 20.0])
    assert keras.ops.convert_to_numpy(union)[0, :, 2].tolist() == [10, 20]
    assert keras.ops.convert_to_numpy(valid).tolist() == [[True, True]]
    scores, moved = map(keras.ops.convert_to_numpy, model.classify([10.0, 20.0], union))
    assert scores[0, :, 0].tolist() == [15, 15]
    assert moved[0, :, 0, 2].tolist() == [25, 35]


# --- Where nothing may change -----------------------------------------------------


def identities(detector):
    """What is found by each, which must be what the detector finds."""
    return {
        "one scale": found_by(MultiScale(detector, (1.0,))),
        "one scale twice": found_by(MultiScale(detector, (1.0, 1.0))),
        "with itself": found_by(Ensemble([detector, detector])),
    }


def unmoved(detector):
    """What is found without offsets: with refinement, and without."""
    weights = detector.box_head.get_layer("box_offsets").weights
    before = [keras.ops.convert_to_numpy(one) for one in weights]
    for one in weights:
        one.assign(0 * one)
    suppression = detector.spec.box_head.suppression
    refined = Refined(detector, suppression=suppression, voting=None)
    found = found_by(refined), found_by(detector)
    for one, value in zip(weights, before, strict=True):
        one.assign(value)
    return found


@pytest.mark.parametrize(
    "neck",
    ["fpn", *(pytest.param(neck, marks=pytest.mark.slow) for neck in ("c4", "dc5"))],
)
def test_equal_scales_and_models_change_nothing(neck, detector):
    detector = detector if neck == "fpn" else sure(neck)
    expected = found_by(detector)
    for found in identities(detector).values():
        check_equal(found, expected)
    check_equal(*unmoved(detector))


def write(path):
    """What changes nothing, on this backend, and one that does all."""
    results = {}
    for neck in ("fpn", "c4"):
        detector = sure(neck)
        cases = {"plain": found_by(detector), **identities(detector)}
        cases["refined"], cases["unmoved"] = unmoved(detector)
        others = [MultiScale(detector, (0.5, 1.0)), sure(neck, 1)]
        everything = Refined(Ensemble(others))
        cases["all"] = everything.predict(small_batch(), verbose=0)
        for case, found in cases.items():
            results |= {f"{neck}, {case}, {k}": value for k, value in found.items()}
    np.savez(path, **results)


@pytest.mark.exhaustive
@pytest.mark.multiprocess
@pytest.mark.parametrize("backend", BACKENDS)
def test_on_every_backend(backend, results):
    found = of_backend(results, backend)
    cases = {}
    for name, value in found.items():
        neck, case, key = name.split(", ")
        cases.setdefault((neck, case), {})[key] = value
    for neck in ("fpn", "c4"):
        for case in ("one scale", "one scale twice", "with itself"):
            check_equal(cases[neck, case], cases[neck, "plain"])
        check_equal(cases[neck, "refined"], cases[neck, "unmoved"])
        everything = cases[neck, "all"]
        assert everything["boxes"].shape == (2, 5, 4) and everything["valid"].any()
        assert np.isfinite(everything["boxes"]).all()
        assert not np.allclose(everything["boxes"], cases[neck, "plain"]["boxes"])


@pytest.mark.exhaustive
def test_it_is_saved_and_detects_in_images_of_any_size(detector, tmp_path):
    import tensorflow as tf

    model = Refined(
        Ensemble([MultiScale(detector, (0.5, 1.0), proposals=0.75), sure(seed=1)])
    )
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    detect = tf.function(lambda images: loaded({"images": images}), autograph=False)
    detect = detect.get_concrete_function(tf.TensorSpec((None, None, None, 3)))
    for height, width in ((64, 96), (50, 70)):
        pixels = small_batch(height=height, width=width)["images"].astype("float32")
        check_equal(
            {name: value.numpy() for name, value in detect(pixels).items()},
            found_by(model, {"images": pixels}),
        )


# --- What can't be combined -------------------------------------------------------


def test_what_does_not_fit_is_refused(detector):
    with pytest.raises(TypeError, match="Refined must be made of .* refined once"):
        Refined(Refined(detector))
    with pytest.raises(TypeError, match=r"MultiScale must be .* `Ensemble\(\[MultiSc"):
        MultiScale(Ensemble([detector]))
    with pytest.raises(TypeError, match=r"Ensemble must be .* `Refined\(Ensemble"):
        Ensemble([detector, Refined(detector)])
    with pytest.raises(ValueError, match="must hold one detector or more"):
        Ensemble([])
    other = MultiScale(detector)
    other.num_classes = 7
    with pytest.raises(ValueError, match=r"same classes .*num_classes=\[3, 7\]"):
        Ensemble([detector, other])
    with pytest.raises(ValueError, match="`scales` must begin with the smallest"):
        MultiScale(detector, (2.0, 1.0))
    with pytest.raises(ValueError, match="`scales` must be one or more numbers"):
        MultiScale(detector, ())
    with pytest.raises(ValueError, match="`suppression` must be at least 0"):
        Refined(detector, suppression=3)


def test_it_only_predicts(detector):
    model = Refined(detector)
    model.compile("sgd", run_eagerly=True)
    with pytest.raises(NotImplementedError, match="Refined only predicts"):
        model.fit(as_tensors(small_batch()), verbose=0)
