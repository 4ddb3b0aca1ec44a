"""The detector as a Keras model: losses, detections, saving, and bad input."""

from dataclasses import replace

import keras
import numpy as np
import pytest

from keras_resnet.config.detectors import DETECTORS
from keras_resnet.detection import FasterRCNN, heads
from keras_resnet.detection.faster_rcnn import LOSSES
from tests.helpers.backends import BACKENDS, of_backend
from tests.helpers.small_detectors import (
    BACKBONE,
    CLASSES,
    as_tensors,
    small_batch,
    small_detector,
    small_row,
)


@pytest.fixture(scope="module")
def detector():
    """One that no test changes."""
    return small_detector()


def values(tensors):
    return keras.tree.map_structure(keras.ops.convert_to_numpy, tensors)


def test_detections_are_inside_of_their_images_the_best_first(detector):
    batch = small_batch()
    del batch["bounding_boxes"]
    found = values(detector(as_tensors(batch)))
    assert found["boxes"].shape == (2, 5, 4)
    assert found["valid"].any()
    boxes, classes = found["boxes"][found["valid"]], found["classes"][found["valid"]]
    assert boxes.min() >= 0 and (boxes.max(axis=0) <= [88, 64, 88, 64]).all()
    assert set(classes) <= set(range(CLASSES))
    assert (np.diff(found["scores"], axis=1) <= 0).all()
    assert (found["boxes"][~found["valid"]] == -1).all()


def test_what_fills_an_image_up_is_not_seen(detector):
    batch = small_batch()
    images = batch["images"].copy()
    images[:, :, 88:] = 77
    shapes = batch["image_shapes"]
    first, second = (
        values(detector(as_tensors({"images": one, "image_shapes": shapes})))
        for one in (batch["images"], images)
    )
    np.testing.assert_array_equal(first["boxes"], second["boxes"])


def test_sides_that_no_pyramid_divides_are_filled_up(detector):
    batch = small_batch()
    filled = {name: batch[name] for name in ("images", "image_shapes")}
    filled["image_shapes"] = np.array([[60, 90]] * 2, "float32")
    found, expected = (
        values(detector(as_tensors(one)))
        for one in (batch["images"][:, :60, :90], filled)
    )
    np.testing.assert_array_equal(found["boxes"], expected["boxes"])
    assert found["valid"].any()


@pytest.mark.parametrize("damage", ["a point, and far away", "no row"])
def test_losses_are_finite_whatever_the_boxes(damage, detector):
    batch = small_batch()
    boxes, classes = batch["bounding_boxes"].values()
    if damage == "no row":
        batch["bounding_boxes"] = {"boxes": boxes[:, :0], "classes": classes[:, :0]}
    else:
        boxes[0, 0, 2:] = boxes[0, 0, :2]
        boxes[0, 1] = [4000, 4000, 4010, 4010]  # No anchor overlaps it.
    losses = values(detector(as_tensors(batch), training=True))
    assert np.isfinite(list(losses.values())).all()
    if damage == "no row":
        assert losses["rpn_boxes"] == losses["boxes"] == 0


def test_a_detector_that_diverged_has_losses_of_nan_and_finds_nothing():
    diverged = small_detector()
    diverged.set_weights([np.full_like(one, np.nan) for one in diverged.get_weights()])
    batch = as_tensors(small_batch())
    assert np.isnan(list(values(diverged(batch)).values())).all()
    del batch["bounding_boxes"]
    assert not values(diverged(batch))["valid"].any()


def test_losses_are_kerass(detector):
    losses = values(detector(as_tensors(small_batch())))
    assert set(losses) == set(LOSSES)
    assert min(losses.values()) > 0
    np.testing.assert_allclose(
        sum(values(detector.losses)), sum(losses.values()), rtol=1e-6
    )


def test_measuring_leaves_the_draws_of_training_alone(detector):
    batch = as_tensors(small_batch())
    before = values(detector.draws.state)
    first, second = (values(detector(batch)) for _ in range(2))
    assert first == second
    np.testing.assert_array_equal(values(detector.draws.state), before)


def test_a_saved_detector_is_the_same(tmp_path, detector):
    detector.class_names = ("a", "b", "c")
    detector.save(tmp_path / "detector.keras")
    loaded = keras.saving.load_model(tmp_path / "detector.keras")
    assert loaded.spec == detector.spec
    assert loaded.class_names == ("a", "b", "c")
    images = keras.ops.convert_to_tensor(small_batch()["images"])
    for one, other in zip(
        values(detector(images)).values(), values(loaded(images)).values(), strict=True
    ):
        np.testing.assert_array_equal(one, other)


def test_frozen_stages_do_not_learn():
    detector = small_detector(frozen=True)
    names = {v.path.split("/")[-2] for v in detector.trainable_variables}
    assert not any(name.startswith(("stem", "stage1")) for name in names)
    assert not any(name.endswith("_bn") for name in names)
    assert any(name.startswith("stage2") for name in names)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "Either a detector's name must be given"),
        ({"neck": "fpm"}, "Unknown neck 'fpm'. Did you mean 'fpn'"),
        ({"detector": "fasterrcnn_resnet50"}, "Unknown detector"),
        ({"detector": "fasterrcnn_resnet50_fpn", "neck": "c4"}, "`neck` must be 'fpn'"),
        ({"neck": "fpn", "backbone": "resnet20"}, "must have 4 stages"),
        ({"detector": small_row(), "num_classes": -1}, "must be a positive integer"),
    ],
)
def test_what_can_not_be_built_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        FasterRCNN(**options)


def test_a_pyramid_needs_maps_that_are_halved():
    row = replace(DETECTORS["fasterrcnn_resnet50_fpn"], backbone="drn_a_18")
    with pytest.raises(ValueError, match=r"must halve .* \[4, 8, 8, 8\]"):
        heads.stages_of(row)


def test_batch_norms_of_a_new_head_are_not_frozen():
    head = heads.box_network(
        small_row("fasterrcnn_resnet50_fpn_v2"), 4, CLASSES, frozen=True
    )
    assert len(head.get_layer("box_1_bn").trainable_weights) == 2


def test_training_needs_boxes(detector):
    with pytest.raises(ValueError, match="must be dicts with 'images' and 'bounding_"):
        detector(small_batch()["images"], training=True)


# --- Training ---------------------------------------------------------------------

ROWS = ("fasterrcnn_resnet50_fpn_v2", "fasterrcnn_resnet101_c4")


def dataset(batches=4):
    """A `tf.data.Dataset` of one batch again and again, its size unknown."""
    import tensorflow as tf

    data = tf.data.Dataset.from_tensor_slices(small_batch()).repeat(batches)
    return data.batch(2)


def trained(row, jit):
    """Losses of training, the last ones by term, of evaluation, and boxes found."""
    detector = small_detector(row)
    optimizer = keras.optimizers.SGD(0.02, momentum=0.9, global_clipnorm=10.0)
    detector.compile(optimizer, jit_compile=jit)
    history = detector.fit(dataset(), epochs=4, verbose=0).history
    return {
        "loss": history["loss"],
        "terms": [history[f"{one}_loss"][-1] for one in LOSSES],
        "evaluated": detector.evaluate(dataset(1), return_dict=True, verbose=0)["loss"],
        "boxes": detector.predict(dataset(1), verbose=0)["boxes"],
    }


def check(results):
    assert np.isfinite(results["loss"]).all()
    assert results["loss"][-1] < results["loss"][0]
    np.testing.assert_allclose(np.sum(results["terms"]), results["loss"][-1], rtol=1e-4)
    assert np.isfinite(results["evaluated"])
    assert results["boxes"].shape == (2, 5, 4)


def write(path):
    """What each row's training gives on this backend."""
    on_tensorflow = keras.backend.backend() == "tensorflow"
    results = {}
    for row in ROWS:
        for jit in (False, True) if on_tensorflow else ("auto",):
            for name, value in trained(row, jit).items():
                results[f"{row}, {jit}, {name}"] = value
    np.savez(path, **results)


@pytest.mark.slow
def test_it_trains_through_fit():
    check(trained("fasterrcnn_resnet50_fpn", jit=False))


@pytest.mark.exhaustive  # JAX and XLA compile for minutes.
@pytest.mark.multiprocess
@pytest.mark.xdist_group("detectors")
@pytest.mark.parametrize("backend", BACKENDS)
def test_it_trains_on_every_backend(backend, results):
    results = of_backend(results, backend)
    cases = {name.rpartition(", ")[0] for name in results}
    assert len(cases) == len(ROWS) * (2 if backend == "tensorflow" else 1)
    for case in cases:
        names = [name for name in results if name.startswith(f"{case}, ")]
        check({name.rpartition(", ")[2]: results[name] for name in names})


def test_a_backbone_of_ones_own_takes_the_necks_row():
    detector = FasterRCNN(backbone=BACKBONE, neck="c4", num_classes=2)
    row = DETECTORS["fasterrcnn_resnet50_c4_detectron2"]
    assert detector.spec == replace(row, backbone=BACKBONE, name="custom")
    assert detector.num_classes == 2
