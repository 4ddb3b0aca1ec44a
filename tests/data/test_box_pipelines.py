"""Batches of images with boxes: a function of seed and step, and boxes where pixels are."""

import math
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from keras_resnet.config.box_batches import BoxBatches
from keras_resnet.data import canvases
from keras_resnet.data.box_pipelines import evaluation_batches, training_batches
from keras_resnet.data.box_transforms import to_train_on
from keras_resnet.data.boxes import BoxedExamples, boxed, of_images
from keras_resnet.data.examples import StreamedExamples
from keras_resnet.data.image_sizes import Seen, of_files
from tests.helpers.boxed_folders import photograph, write_image
from tests.helpers.photos import encoded, turned

tf = pytest.importorskip("tensorflow")
pytestmark = pytest.mark.usefixtures("never_autotuned")
# 13 images, of which every third is higher than wide; each has one box.
SIZES = [(60, 40) if number % 3 == 2 else (40, 60 + number) for number in range(13)]
BOXES = [(4 + number, 6, 24 + number, 30) for number in range(13)]
SETTINGS = BoxBatches(
    batch_size=4, shorter_sides=(30, 40), longer_side=64, vertical_flip=True
)


@pytest.fixture(scope="module")
def examples():
    files = [
        encoded(photograph(*size, [box]), "PNG")
        for size, box in zip(SIZES, BOXES, strict=True)
    ]
    rows = [{"boxes": np.array([box]), "labels": np.array([1])} for box in BOXES]
    return boxed(files, SIZES, of_images(rows), range(13))


@pytest.fixture(scope="module")
def whole(examples):
    """The batches of 14 steps, which are over four epochs."""
    return list(
        training_batches(examples, SETTINGS, steps=14, seed=3).as_numpy_iterator()
    )


def assert_same(batches, others):
    assert len(batches) == len(others)
    for one, other in zip(batches, others, strict=True):
        np.testing.assert_array_equal(one["images"], other["images"])
        np.testing.assert_array_equal(one["image_shapes"], other["image_shapes"])
        for key in ("boxes", "classes"):
            np.testing.assert_array_equal(
                one["bounding_boxes"][key], other["bounding_boxes"][key]
            )


def test_boxes_are_where_the_pixels_are(whole):
    flips = set()
    for batch in whole:
        boxes = batch["bounding_boxes"]["boxes"]
        for image, size, box in zip(
            batch["images"], batch["image_shapes"], boxes[:, 0], strict=True
        ):
            rows, columns = np.nonzero(image[..., 0] > 127)
            seen = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
            assert np.abs(box - seen).max() <= 1
            assert not image[size[0] :].any() and not image[:, size[1] :].any()
            # Boxes begin nearer to the top, and half of the images are turned over.
            flips.add(box[1] > size[0] - box[3])
    assert flips == {True, False}


def test_a_batch_has_one_orientation_and_the_smallest_canvas(whole):
    # 60 x 40 at a shorter side of 40, and 40 x 72 at one of 35.6, as 64 is the longest.
    shapes = [batch["images"].shape for batch in whole]
    assert set(shapes) == {(4, 64, 64, 3)}
    higher = [(s[:, 0] > s[:, 1]).mean() for s in (b["image_shapes"] for b in whole)]
    assert set(higher) == {0.0, 1.0}
    # Of 13 images 4 are higher than wide, so of 14 batches 4 or 5.
    assert sum(higher) == round(14 * 4 / 13)


def test_each_kind_is_seen_once_in_each_of_its_epochs(examples):
    settings = BoxBatches(
        batch_size=3, shorter_sides=(30,), longer_side=64, horizontal_flip=False
    )
    batches = training_batches(examples, settings, steps=13, seed=0)
    # A box's place and its image's size tell the images apart.
    seen = {0: [], 1: []}
    for batch in batches.as_numpy_iterator():
        for box, size in zip(
            batch["bounding_boxes"]["boxes"][:, 0], batch["image_shapes"], strict=True
        ):
            seen[int(size[0] > size[1])].append((*np.round(box, 3), *size))
    for kind, count in ((0, 9), (1, 4)):
        epochs = [seen[kind][i : i + count] for i in range(0, len(seen[kind]), count)]
        assert len(set(epochs[0])) == count
        assert all(set(epoch) <= set(epochs[0]) for epoch in epochs)
        assert all(len(set(epoch)) == len(epoch) for epoch in epochs)
        assert epochs[0] != epochs[1]


@pytest.mark.parametrize("start", [pytest.param(1, marks=pytest.mark.slow), 6])
def test_a_run_that_goes_on_sees_what_it_would_have_seen(examples, whole, start):
    rest = training_batches(examples, SETTINGS, steps=14, seed=3, start_step=start)
    assert_same(list(rest.as_numpy_iterator()), whole[start:])


@pytest.mark.slow
def test_two_workers_share_each_batch(examples, whole):
    halves = [
        training_batches(examples, SETTINGS, steps=5, seed=3, share=(worker, 2))
        for worker in (0, 1)
    ]
    for first, second, both in zip(
        *(half.as_numpy_iterator() for half in halves), whole[:5], strict=True
    ):
        joined = np.concatenate([first["images"], second["images"]])
        np.testing.assert_array_equal(joined, both["images"])


@pytest.mark.slow
def test_streamed_images_are_seen_as_those_in_memory_but_in_another_order(examples):
    from keras_resnet.data import threads

    def read():
        pairs = (list(examples.images), np.arange(13, dtype=np.int32))
        return threads.without_autotuning(tf.data.Dataset.from_tensor_slices(pairs))

    streamed = BoxedExamples(
        StreamedExamples(read, 13, shuffle_buffer=5),
        examples.sizes,
        examples.objects,
        examples.ids,
    )
    batches = list(training_batches(streamed, SETTINGS, steps=5, seed=3))
    rest = training_batches(streamed, SETTINGS, steps=5, seed=3, start_step=2)
    assert_same([*rest.as_numpy_iterator()], [*batches[2:]])
    ones = evaluation_batches(streamed, SETTINGS).as_numpy_iterator()
    others = evaluation_batches(examples, SETTINGS).as_numpy_iterator()
    for (one, _), (other, _) in zip(ones, others, strict=True):
        assert_same([one], [other])


def test_evaluation_sees_each_image_once_and_maps_boxes_back(examples):
    found, seen = np.zeros((13, 4)), []
    for batch, about in evaluation_batches(examples, SETTINGS).as_numpy_iterator():
        boxes = canvases.to_original(
            batch["bounding_boxes"]["boxes"],
            batch["image_shapes"],
            about["original_shapes"],
        )
        found[about["indices"]] = boxes[:, 0]
        seen += about["indices"].tolist()
        # At the last of the sizes: 40 pixels, or less where 64 don't suffice.
        assert (batch["image_shapes"].max(axis=1) <= 64).all()
    assert sorted(seen) == list(range(13))
    np.testing.assert_allclose(found, BOXES, atol=1e-4)


def test_crowds_difficult_objects_and_the_smallest_can_be_left_out():
    row = {
        "boxes": np.array([(0, 0, 9, 9), (0, 0, 5, 5), (0, 0, 7, 7), (0, 0, 8, 8)]),
        "labels": np.arange(4),
        "crowd": np.array([True, False, False, False]),
        "difficult": np.array([False, False, False, True]),
    }
    one = boxed([b""], [(10, 10)], of_images([row]), ["a.jpg"])

    def labels(**changes):
        settings = BoxBatches(batch_size=1, **changes)
        return to_train_on(one, settings).labels.tolist()

    assert labels() == [1, 2, 3]
    assert labels(difficult=False) == [1, 2]
    with pytest.warns(
        UserWarning, match=r"1 image has more .* 'a.jpg' with 3: .* 1 small"
    ):
        assert labels(max_boxes=2) == [2, 3]


@pytest.mark.parametrize(
    ("keep", "counts"),
    [(True, [0, 0, 1]), pytest.param(False, [1, 1, 1], marks=pytest.mark.slow)],
)
def test_images_without_objects_are_background_or_left_out(keep, counts):
    files = [encoded(photograph(20, 20), "PNG")] * 3
    rows = [{"boxes": np.zeros((0, 4)), "labels": np.zeros(0, int)}] * 3
    rows[1] = {"boxes": np.array([(1, 2, 9, 9)]), "labels": np.array([0])}
    three = boxed(files, [(20, 20)] * 3, of_images(rows), "abc")
    options = {"batch_size": 3, "shorter_sides": (20,), "horizontal_flip": False}
    settings = BoxBatches(**options, without_objects=keep, max_boxes=2)
    (batch,) = training_batches(three, settings, steps=1, seed=0).as_numpy_iterator()
    classes = batch["bounding_boxes"]["classes"]
    assert sorted((classes >= 0).sum(axis=1).tolist()) == counts
    padding = batch["bounding_boxes"]["boxes"][classes < 0]
    assert classes.shape == (3, 2) and (padding == -1).all()
    assert batch["images"].shape == (3, 32, 32, 3)
    nothing = boxed(files[:1], [(20, 20)], of_images(rows[:1]), "a")
    with pytest.raises(ValueError, match="an image with an object"):
        without = replace(settings, without_objects=False)
        training_batches(nothing, without, steps=1, seed=0)


@pytest.mark.slow
def test_another_layer_changes_whole_batches(examples):
    def shrink(batch):
        boxes = batch["bounding_boxes"]
        return {
            "images": batch["images"][:, ::2, ::2],
            # Ragged, as keras-cv's layers give them.
            "bounding_boxes": {
                key: tf.RaggedTensor.from_tensor(tf.concat([values] * 5, axis=1))
                for key, values in boxes.items()
            },
        }

    options = {"steps": 2, "seed": 3}
    settings = replace(SETTINGS, max_boxes=3)
    changed = training_batches(examples, settings, augment=shrink, **options)
    shapes = changed.element_spec["bounding_boxes"]
    assert shapes["boxes"].shape[1:] == (3, 4) and shapes["classes"].shape[1:] == (3,)
    for one, other in zip(
        changed.as_numpy_iterator(),
        training_batches(examples, SETTINGS, **options).as_numpy_iterator(),
        strict=True,
    ):
        np.testing.assert_array_equal(one["images"], other["images"][:, ::2, ::2])
        assert one["image_shapes"].tolist() == [[32, 32]] * 4
        boxes = other["bounding_boxes"]["boxes"]
        np.testing.assert_array_equal(
            one["bounding_boxes"]["boxes"], np.repeat(boxes, 3, axis=1)
        )


@pytest.mark.slow
@pytest.mark.parametrize("name", ["JitteredResize", "Mosaic"])
def test_keras_cvs_layers_move_boxes_with_their_images(examples, name):
    reason = "needs keras-cv: pip install '.[detection]'"
    keras_cv = pytest.importorskip("keras_cv", reason=reason)
    layer = {
        "JitteredResize": lambda: keras_cv.layers.JitteredResize(
            target_size=(64, 64), scale_factor=(0.8, 1.25), bounding_box_format="xyxy"
        ),
        "Mosaic": lambda: keras_cv.layers.Mosaic(bounding_box_format="xyxy"),
    }[name]()
    # Canvases of two sizes; Mosaic must know each one's.
    settings = replace(SETTINGS, max_boxes=4, longer_side=96)
    batches = training_batches(examples, settings, steps=6, seed=3, augment=layer)
    whole = 0
    for batch in batches.as_numpy_iterator():
        truth = batch["bounding_boxes"]
        assert truth["boxes"].shape == (4, 4, 4) and truth["classes"].shape == (4, 4)
        assert np.isfinite(batch["images"]).all() and np.isfinite(truth["boxes"]).all()
        for image, boxes, classes in zip(
            batch["images"], truth["boxes"], truth["classes"], strict=True
        ):
            covered = np.zeros(image.shape[:2], bool)
            for x1, y1, x2, y2 in np.round(boxes[classes >= 0]).astype(int):
                covered[y1:y2, x1:x2] = True
            # White is what boxes hold, but for a pixel of interpolation at their edges.
            white = image[..., 0] > 127
            inner = white[1:-1, 1:-1] & white[2:, 1:-1] & white[:-2, 1:-1]
            inner &= white[1:-1, 2:] & white[1:-1, :-2]
            assert not (inner & ~covered[1:-1, 1:-1]).any()
            whole += covered.any() and white[covered].mean() > 0.7
    assert whole > 12  # Of 24 images.


# --- Sizes ------------------------------------------------------------------------


def test_sizes_are_torchvisions_and_detectron2s():
    draw = np.random.default_rng(0)
    sizes = draw.integers(20, 3000, (500, 2))
    floor, half = (
        BoxBatches(batch_size=1, rounding=rounding) for rounding in ("floor", "half_up")
    )
    down = canvases.resized(sizes, 800, floor)
    nearest = canvases.resized(sizes, 800, half)
    for (h, w), one, other in zip(sizes.tolist(), down, nearest, strict=True):
        scale = min(800 / min(h, w), 1333 / max(h, w))
        assert one.tolist() == [math.floor(h * scale), math.floor(w * scale)]
        assert other.tolist() == [int(h * scale + 0.5), int(w * scale + 0.5)]


def test_canvases_are_no_larger_than_their_images():
    settings = BoxBatches(batch_size=1)
    sizes = np.array([(480, 640), (375, 500), (640, 480), (500, 500)])
    groups = canvases.by_orientation(sizes, np.full(4, True))
    assert [group.tolist() for group in groups] == [[0, 1, 3], [2]]
    assert canvases.canvas(sizes[:2], settings) == (800, 1088)
    assert canvases.canvas(np.array([(300, 900)]), settings) == (448, 1344)


@pytest.mark.parametrize(
    "bad",
    [
        {"batch_size": 0},
        {"shorter_sides": ()},
        {"shorter_sides": 800},
        {"shorter_sides": (800, 1400)},
        {"max_boxes": 0},
        {"rounding": "up"},
    ],
)
def test_impossible_settings_cant_be_made(bad):
    with pytest.raises(ValueError, match="Received"):
        BoxBatches(**{"batch_size": 1} | bad)


def test_steps_that_there_are_not_are_refused(examples):
    with pytest.raises(ValueError, match="`start_step` must be between 0 and `steps`"):
        training_batches(examples, SETTINGS, steps=3, seed=0, start_step=4)


def test_files_are_seen_as_they_are_stored(tmp_path):
    stored = photograph(20, 30)
    write_image(tmp_path / "plain.png", stored)
    write_image(tmp_path / "lying.png", stored, orientation=6)
    Image.fromarray(stored).save(tmp_path / "photo.jpg")
    (tmp_path / "damaged.jpg").write_bytes(b"\xff\xd8\xff\xe0")
    names = ("plain.png", "lying.png", "photo.jpg", "damaged.jpg", "missing.jpg")
    found = of_files([str(tmp_path / name) for name in names], "some")
    assert found[0] == found[2] == Seen((20, 30), 1)
    assert found[1] == Seen((20, 30), 6)
    assert found[1].upright == turned(stored, 6).shape[:2] == (30, 20)
    assert isinstance(found[3], str) and found[4].startswith("can't be read")


@pytest.mark.parity
def test_images_are_resized_as_torchvision_does(torchvision, torch):
    from torchvision.models.detection.transform import GeneralizedRCNNTransform

    pixels = np.random.default_rng(0).integers(0, 256, (37, 53, 3), np.uint8)
    boxes = np.array([(3, 5, 20, 30)])
    rows = [{"boxes": boxes, "labels": np.array([0])}]
    one = boxed([encoded(pixels, "PNG")], [(37, 53)], of_images(rows), ["a"])
    settings = BoxBatches(batch_size=1, shorter_sides=(24,), longer_side=64)
    ((batch, _),) = evaluation_batches(one, settings).as_numpy_iterator()
    transform = GeneralizedRCNNTransform(24, 64, [0.0] * 3, [1.0] * 3).eval()
    image = torch.tensor(pixels).permute(2, 0, 1).float()
    target = {"boxes": torch.tensor(boxes).float(), "labels": torch.tensor([0])}
    images, targets = transform([image], [target])
    theirs = images.tensors.permute(0, 2, 3, 1).numpy()
    assert batch["images"].shape == theirs.shape
    assert batch["image_shapes"].tolist() == [list(size) for size in images.image_sizes]
    np.testing.assert_allclose(batch["images"], theirs, atol=1e-3)  # Of 255.
    np.testing.assert_allclose(
        batch["bounding_boxes"]["boxes"][0], targets[0]["boxes"].numpy(), atol=1e-5
    )
