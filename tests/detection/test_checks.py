"""What can't be trained on is refused before, or left out; nothing makes losses NaN."""

import copy

import keras
import numpy as np
import pytest

from keras_resnet.detection import batches
from keras_resnet.detection.checks import check_shapes, checked
from tests.helpers.backends import BACKENDS, computed, of_backend
from tests.helpers.small_detectors import (
    CLASSES,
    as_tensors,
    small_batch,
    small_detector,
)

INFINITE = np.array([-np.inf, -np.inf, np.inf, np.inf])
# By name: the first boxes of the first image, or a change of its first class.
BOXES = {
    "of zero size": [[5, 5, 5, 5], [5, 5, 9, 5]],
    "swapped": [[20, 20, 5, 5], [9, 5, 5, 9]],
    "of one pixel": [[5, 5, 6, 6], [7, 7, 7 + 1e-6, 7 + 1e-6]],
    "outside": [[4000, 4000, 4010, 4010], [-50, -50, -10, -10]],
    "over the edge": [[-10, -10, 500, 500], [-1e30, -1e30, 3e38, 3e38]],
    "not numbers": [[np.nan] * 4, [np.nan, 1, 9, 9]],
    "infinite": [INFINITE, [1, 1, np.inf, 9]],
}
CLASS = {"below": -7, "above": CLASSES, "far above": 2**20}
IMAGES = {
    "of one colour": lambda images: np.zeros_like(images),
    "of one pixel": lambda images: images[:, :1, :1],
    "smaller than a stride": lambda images: images[:, :20, :17],
    "grey": lambda images: images[..., :1],
    "floats": lambda images: images.astype("float16"),
    "one": lambda images: images[:1],
}
OTHERS = ("no boxes", "no row", "more boxes than proposals", "whole numbers")
DAMAGES = (
    *(f"boxes {name}" for name in BOXES),
    *(f"a class {name}" for name in CLASS),
    *(f"images {name}" for name in IMAGES),
    *OTHERS,
)


def damaged(damage):
    """A batch with something wrong, or rare."""
    batch = copy.deepcopy(small_batch())
    truth = batch["bounding_boxes"]
    kind, _, name = damage.partition(" ")
    if kind == "boxes":
        truth["boxes"][0, :2] = BOXES[name]
    elif kind == "a":
        truth["classes"][0, 0] = CLASS[name.removeprefix("class ")]
    elif kind == "images":
        batch["images"] = IMAGES[name](batch["images"])
        count, height, width, _ = batch["images"].shape
        del batch["image_shapes"]
        for key in truth:
            truth[key] = truth[key][:count]
    elif damage == "no boxes":
        truth["boxes"][:], truth["classes"][:] = -1, -1
    elif damage == "no row":
        truth["boxes"], truth["classes"] = (
            truth["boxes"][:, :0],
            truth["classes"][:, :0],
        )
    elif damage == "more boxes than proposals":
        begin = np.random.default_rng(1).uniform(0, 40, (2, 100, 2))
        truth["boxes"] = np.concatenate([begin, begin + 9], -1).astype("float32")
        truth["classes"] = np.ones((2, 100), "float32")
    elif damage == "whole numbers":
        for key in truth:
            truth[key] = truth[key].astype("int32")
    return batch


def finite(tensors):
    """Whether all values are."""
    return all(
        np.isfinite(keras.ops.convert_to_numpy(keras.ops.cast(one, "float32"))).all()
        for one in keras.tree.flatten(tensors)
    )


# --- What is left out -------------------------------------------------------------


@pytest.mark.parametrize(
    ("damage", "kept"),
    [
        ("boxes of zero size", []),
        ("boxes swapped", []),
        ("boxes of one pixel", [[5, 5, 6, 6], [7, 7, 7 + 1e-6, 7 + 1e-6]]),
        ("boxes outside", []),
        ("boxes over the edge", [[0, 0, 88, 64]] * 2),
        ("boxes not numbers", []),
        ("boxes infinite", []),
        ("a class below", 1),
        ("a class above", 1),
        ("a class far above", 1),
        ("no boxes", []),
    ],
)
def test_only_real_boxes_are_trained_on(damage, kept):
    batch = as_tensors(damaged(damage))
    truth = batches.truth_of(batch, batch["image_shapes"], CLASSES)
    assert finite(truth)
    real = keras.ops.convert_to_numpy(truth["real"])
    found = keras.ops.convert_to_numpy(truth["boxes"])
    assert (found[~real] == -1).all()
    if kept == 1:
        assert real[0].sum() == 1 and real[0, 1]
    else:
        np.testing.assert_allclose(found[0][real[0]], np.reshape(kept, (-1, 4)))


@pytest.fixture(scope="module")
def detector():
    """One that is called, and not trained."""
    return small_detector()


QUICK = ("boxes not numbers",)


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(one, marks=() if one in QUICK else pytest.mark.slow)
        for one in DAMAGES
    ],
)
def test_losses_and_detections_are_finite(damage, detector):
    batch = as_tensors(damaged(damage))
    assert finite(detector(batch, training=True))
    del batch["bounding_boxes"]
    assert finite(detector(batch))


def write(path):
    """Whether what is learned of each damaged batch is finite, on this backend."""
    detector = small_detector()
    detector.compile(keras.optimizers.SGD(0.01))
    initial = detector.get_weights()
    results = {}
    for damage in DAMAGES:
        logs = detector.train_on_batch(damaged(damage), return_dict=True)
        results[damage] = finite(logs) and finite(detector.get_weights())
        detector.set_weights(initial)
    np.savez(path, **results)


@pytest.fixture(scope="module")
def on_backends(tmp_path_factory):
    return computed(
        "tests.detection.test_checks", "write", tmp_path_factory.mktemp("d")
    )


@pytest.mark.exhaustive  # JAX compiles for each shape.
@pytest.mark.multiprocess
@pytest.mark.xdist_group("detectors")
@pytest.mark.parametrize("backend", BACKENDS)
def test_gradients_are_finite_on_every_backend(backend, on_backends):
    results = of_backend(on_backends, backend)
    assert set(results) == set(DAMAGES)
    assert [damage for damage, is_finite in results.items() if not is_finite] == []


@pytest.mark.slow
@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_boxes_logits_and_offsets_are_float32_in_mixed_precision(policy):
    keras.config.set_dtype_policy(policy)
    try:
        detector = small_detector()
        batch = as_tensors(small_batch())
        images, shapes = batches.normalized(batch, detector.spec)
        outputs = detector.features(images)
        assert keras.backend.standardize_dtype(outputs["maps"][0].dtype) == policy[6:]
        pooled = keras.ops.zeros((1, *detector.box_head.input_shape[1:]))
        losses = detector(batch, training=True)
        del batch["bounding_boxes"]
        found = detector(batch)
        wide = [outputs["objectness"], outputs["offsets"], detector.box_head(pooled)]
        wide += [losses, found["boxes"], found["scores"]]
        for one in keras.tree.flatten(wide):
            assert keras.backend.standardize_dtype(one.dtype) == "float32"
        assert finite([losses, found])
    finally:
        keras.config.set_dtype_policy("float32")


# --- What is refused --------------------------------------------------------------

WRONG = {
    "a class above": "less than `num_classes`, 3",
    "boxes swapped": "must be finite, with `x1 <= x2`",
    "boxes not numbers": "must be finite, with `x1 <= x2`",
    "boxes infinite": "must be finite, with `x1 <= x2`",
    "pixels": "`images` must be finite",
    "a class not a number": "`classes` must be finite",
    "boxes as fractions": "`boxes` must be in pixels",
    "image_shapes swapped": "`image_shapes` must be heights and widths of at least 1",
    "image_shapes zero": "`image_shapes` must be heights and widths of at least 1",
}


def wrong(damage):
    """A batch that is refused."""
    batch = small_batch()
    truth = batch["bounding_boxes"]
    if damage == "pixels":
        batch["images"] = batch["images"].astype("float32")
        batch["images"][1, 2, 3] = np.nan
    elif damage == "a class not a number":
        truth["classes"][0, 0] = np.nan
    elif damage == "boxes as fractions":
        truth["boxes"] = np.where(truth["boxes"] > 0, truth["boxes"] / 96, -1)
    elif damage == "image_shapes swapped":
        batch["image_shapes"] = batch["image_shapes"][:, ::-1]
    elif damage == "image_shapes zero":
        batch["image_shapes"][1] = 0
    else:
        return damaged(damage)
    return batch


def from_data_set(batch):
    tf = pytest.importorskip("tensorflow")
    return checked(tf.data.Dataset.from_tensors(batch), CLASSES)


@pytest.mark.parametrize("damage", WRONG)
def test_arrays_are_checked_at_once(damage, detector):
    with pytest.raises(ValueError, match=WRONG[damage]):
        detector.fit(wrong(damage))


@pytest.mark.parametrize("damage", WRONG)
def test_a_data_set_is_checked_batch_by_batch(damage):
    tf = pytest.importorskip("tensorflow")
    with pytest.raises(tf.errors.InvalidArgumentError, match=WRONG[damage]):
        list(from_data_set(wrong(damage)))


@pytest.mark.parametrize("damage", ["boxes of zero size", "boxes outside", "no row"])
def test_what_is_only_rare_is_not_refused(damage):
    batch = damaged(damage)
    assert checked(batch, CLASSES) is batch
    (same,) = from_data_set(batch)
    np.testing.assert_array_equal(
        same["bounding_boxes"]["boxes"], batch["bounding_boxes"]["boxes"]
    )


def test_ragged_boxes_are_filled_up():
    tf = pytest.importorskip("tensorflow")
    batch = small_batch()
    for key, values in batch["bounding_boxes"].items():
        rows = tf.RaggedTensor.from_tensor(values.astype("int32"), lengths=[2, 0])
        batch["bounding_boxes"][key] = rows
    data = tf.data.Dataset.from_tensors(batch)
    (found,) = checked(data, CLASSES)
    boxes = found["bounding_boxes"]["boxes"].numpy()
    assert boxes.shape == (2, 2, 4) and (boxes[1] == -1).all()
    np.testing.assert_array_equal(
        boxes[0], small_batch()["bounding_boxes"]["boxes"][0, :2].astype("int32")
    )
    # Pairs are what `evaluation_batches` gives.
    ((found, about),) = checked(data.map(lambda batch: (batch, 7)), CLASSES)
    assert found["bounding_boxes"]["classes"].shape == (2, 2) and int(about) == 7
    batch["images"] = tf.RaggedTensor.from_tensor(batch["images"])
    with pytest.raises(ValueError, match="must be of one size in a batch"):
        checked(tf.data.Dataset.from_tensors(batch), CLASSES)


def test_losses_need_boxes(detector):
    images = {"images": small_batch()["images"]}
    with pytest.raises(ValueError, match=r"'bounding_boxes'. Received: .*'images'"):
        detector.compute_loss(images, y_pred=detector(as_tensors(images)))


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("images", (64, 96, 3)),
        ("images", (2, 64, 96, 4)),
        ("images", (2, 3, 64, 96)),
        ("image_shapes", (2, 3)),
        ("boxes", (3, 4)),
        ("boxes", (2, 3, 5)),
        ("classes", (2, 3, 3)),
    ],
)
def test_other_axes_are_refused(name, shape):
    batch = small_batch()
    part = batch if name in batch else batch["bounding_boxes"]
    part[name] = np.zeros(shape, "float32")
    with pytest.raises(ValueError, match=f"`{name}` must have the shape .* Received"):
        check_shapes(batch)


@pytest.mark.parametrize(("name", "axis"), [("classes", "n"), ("boxes", "batch")])
def test_parts_of_other_lengths_are_refused(name, axis):
    batch = small_batch()
    truth = batch["bounding_boxes"]
    truth[name] = truth[name][:, :2] if axis == "n" else truth[name][:1]
    with pytest.raises(ValueError, match=f"have the same `{axis}`.*of `{name}`"):
        check_shapes(batch)


def test_lists_are_refused(detector):
    batch = small_batch()
    batch["bounding_boxes"]["boxes"] = batch["bounding_boxes"]["boxes"].tolist()
    with pytest.raises(ValueError, match="`boxes` must be an array or a tensor.*list"):
        detector.fit(batch)


def test_a_batch_is_a_dict_of_dicts():
    batch = small_batch()
    with pytest.raises(ValueError, match=r"'images'. Received: keys \['image'\]"):
        check_shapes({"image": batch["images"]})
    with pytest.raises(ValueError, match=r"a dict of 'boxes' and 'classes'.*'labels'"):
        check_shapes({**batch, "bounding_boxes": {"boxes": 0, "labels": 0}})
    with pytest.raises(ValueError, match="a dict of 'boxes' and 'classes'"):
        check_shapes({**batch, "bounding_boxes": batch["bounding_boxes"]["boxes"]})
