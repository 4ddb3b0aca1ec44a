"""Batches: each example once an epoch, a function of seed and step, shared out."""

import io
import itertools
import pathlib
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from keras_resnet.config.augmentations import (
    CutMix,
    InceptionCrop,
    MixUp,
    PadCropFlip,
    RandAugment,
    ScaleCropFlip,
)
from keras_resnet.config.preprocessing import Preprocessing
from keras_resnet.config.recipe import Recipe
from keras_resnet.config.schedules import CosineDecay
from keras_resnet.data import cache, folders
from keras_resnet.data.examples import Examples, StreamedExamples
from keras_resnet.data.images import normalize, prepare, resize_and_crop
from keras_resnet.data.pipelines import (
    evaluation_batches,
    training_batches,
)
from keras_resnet.devices import limits

SIZE = 23  # Examples; no batch size below divides it.
P = Preprocessing(
    channels=3, resize=None, size=(12, 12), mean=(120.0, 110.0, 100.0), std=(60.0,) * 3
)
PAD = PadCropFlip(padding=2)
SCALE = ScaleCropFlip(shorter_side=(12, 20))
KINDS = ("pixels", "encoded", "files", "streamed", "indexed")
# Each augmentation and each kind once, but for `indexed`, which `test_shards.py` reads;
# the rest of the product is exhaustive.
ONCE = (
    ("pixels", PAD),
    ("encoded", PAD),
    ("files", SCALE),
    ("streamed", None),
)
SOME_KINDS = pytest.mark.parametrize(
    "kind",
    [
        kind
        if kind in ("pixels", "files")
        else pytest.param(kind, marks=pytest.mark.slow)
        for kind in KINDS
    ],
)
EACH = pytest.mark.parametrize(
    ("kind", "augmentation"),
    [
        pytest.param(*pair, marks=() if pair in ONCE else pytest.mark.exhaustive)
        for pair in itertools.product(KINDS, (None, PAD, SCALE))
    ],
)


def png(image):
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    return buffer.getvalue()


def fake_stream(images, labels):
    """`StreamedExamples` of encoded images, with a buffer smaller than the set."""
    return StreamedExamples(
        read=lambda: tf.data.Dataset.from_tensor_slices((images, labels)),
        size=len(labels),
        shuffle_buffer=8,
    )


def fake_shards(images, labels):
    """`StreamedExamples` with random access."""

    def at(positions):
        return tf.gather(images, positions), tf.gather(labels, positions)

    return replace(fake_stream(images, labels), at=at)


@pytest.fixture(scope="module")
def examples(tmp_path_factory):
    """The same images in every form. Labels number them."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (SIZE, 12, 12, 3), np.uint8)
    labels = np.arange(SIZE, dtype=np.int32)
    encoded = [png(image) for image in pixels]
    folder = tmp_path_factory.mktemp("images")
    paths = [folder / f"{i}.png" for i in labels]
    for path, contents in zip(paths, encoded, strict=True):
        path.write_bytes(contents)
    return {
        "pixels": Examples(pixels, labels),
        "encoded": Examples(np.array(encoded, dtype=object), labels),
        "files": Examples(np.array([str(p) for p in paths], dtype=object), labels),
        "streamed": fake_stream(encoded, labels.astype(np.int64)),
        "indexed": fake_shards(encoded, labels.astype(np.int64)),
    }


def training(
    examples,
    augmentation,
    *,
    preprocessing=P,
    seed=3,
    start_step=0,
    share=(0, 1),
    batch_size=4,
    steps=12,
    **parts,
):
    """`training_batches` by a recipe with these ``parts``."""
    recipe = Recipe(
        network="resnet20",
        dataset="cifar10",
        batch_size=batch_size,
        steps=steps,
        validate_every=1,
        schedule=CosineDecay(learning_rate=0.1),
        augmentation=augmentation,
        target=None,
        source="test",
        **parts,
    )
    return training_batches(
        examples,
        preprocessing,
        recipe,
        classes=SIZE,
        seed=seed,
        start_step=start_step,
        share=share,
    )


def batches_of(examples, augmentation, **parts):
    return list(training(examples, augmentation, **parts).as_numpy_iterator())


def all_labels(batches):
    return np.concatenate([labels for _, labels in batches])


def same(batches, others):
    return len(batches) == len(others) and all(
        np.array_equal(a, b) and np.array_equal(c, d)
        for (a, c), (b, d) in zip(batches, others, strict=True)
    )


@EACH
def test_shapes_types_and_number_of_batches(examples, kind, augmentation):
    batches = training(examples[kind], augmentation, start_step=2, steps=9)
    images, labels = batches.element_spec
    assert images == tf.TensorSpec((4, 12, 12, 3), tf.float32)
    assert labels == tf.TensorSpec((4,), tf.int32)
    assert batches.cardinality() == 7
    assert len(list(batches)) == 7


@pytest.mark.parametrize("kind", KINDS)
def test_an_epoch_shows_every_example_once(examples, kind):
    labels = all_labels(batches_of(examples[kind], None, batch_size=1, steps=2 * SIZE))
    first, second = labels[:SIZE], labels[SIZE:]
    assert sorted(first) == sorted(second) == list(range(SIZE))
    assert first.tolist() != second.tolist()
    assert first.tolist() != sorted(first)


@SOME_KINDS
def test_batches_run_across_the_ends_of_epochs(examples, kind):
    # 23 examples, 12 batches of 4: two epochs and two examples.
    labels = all_labels(batches_of(examples[kind], None))
    whole = all_labels(batches_of(examples[kind], None, batch_size=1, steps=48))
    assert labels.tolist() == whole.tolist()


@EACH
def test_going_on_is_the_tail_of_the_whole(examples, kind, augmentation):
    whole = batches_of(examples[kind], augmentation)
    for start in (1, 6, 12):  # In the first epoch, in the second, and at the end.
        tail = batches_of(examples[kind], augmentation, start_step=start)
        assert same(tail, whole[start:])


@pytest.mark.parametrize(
    "kind", ["pixels", pytest.param("streamed", marks=pytest.mark.slow)]
)
def test_a_batch_may_hold_more_than_an_epoch(examples, kind):
    whole = batches_of(examples[kind], PAD, batch_size=50, steps=3)
    assert np.bincount(all_labels(whole)).max() <= 7
    assert same(
        batches_of(examples[kind], PAD, batch_size=50, steps=3, start_step=1), whole[1:]
    )


SEEDS = [
    pytest.param(*pair, marks=() if pair in ONCE[::2] else pytest.mark.exhaustive)
    for pair in itertools.product(KINDS, (None, PAD, SCALE))
]


@pytest.mark.parametrize(("kind", "augmentation"), SEEDS)
def test_the_stream_depends_on_the_given_seed_alone(examples, kind, augmentation):
    first = batches_of(examples[kind], augmentation)
    tf.random.set_seed(99)
    assert same(batches_of(examples[kind], augmentation), first)
    others = batches_of(examples[kind], augmentation, seed=4)
    assert all_labels(others).tolist() != all_labels(first).tolist()


def test_epochs_are_augmented_differently(examples):
    for augmentation in (PAD, SCALE):
        batches = batches_of(examples["pixels"], augmentation, batch_size=1, steps=46)
        for label in range(SIZE):
            one, other = (image for image, labels in batches if labels[0] == label)
            assert not np.array_equal(one, other)


def test_forms_of_the_same_images_give_the_same_batches(examples):
    for augmentation in (None, PAD, SCALE):
        pixels = batches_of(examples["pixels"], augmentation)
        assert same(batches_of(examples["encoded"], augmentation), pixels)
        for kind in ("files", "indexed"):
            assert same(batches_of(examples[kind], augmentation), pixels)


def test_padding_is_zero_after_normalization(examples):
    images, labels = batches_of(examples["pixels"], PAD, batch_size=SIZE, steps=1)[0]
    originals = normalize(examples["pixels"].images[labels], P).numpy()
    padded = np.pad(originals, ((0, 0), (2, 2), (2, 2), (0, 0)))
    for image, whole in zip(images, padded, strict=True):
        windows = [whole[r : r + 12, c : c + 12] for r in range(5) for c in range(5)]
        assert any(
            np.array_equal(image, view)
            for window in windows
            for view in (window, window[:, ::-1])
        )


def test_pixels_of_another_size_are_resized(examples):
    p = Preprocessing(channels=3, resize=18, size=(16, 16), mean=P.mean, std=P.std)
    images, labels = next(iter(training(examples["pixels"], None, preprocessing=p)))
    original = examples["pixels"].images[labels[2]]
    expected = normalize(resize_and_crop(original, p), p)
    np.testing.assert_array_equal(images[2], expected)


@pytest.mark.parametrize(
    ("kind", "batch_size"),
    [*((kind, 4) for kind in KINDS), ("pixels", 23), ("pixels", 50), ("files", 50)],
)
def test_evaluation_shows_everything_once_in_order(examples, kind, batch_size):
    batches = evaluation_batches(examples[kind], P, batch_size=batch_size)
    assert batches.cardinality() == -(-SIZE // batch_size)
    batches = list(batches.as_numpy_iterator())
    assert all_labels(batches).tolist() == list(range(SIZE))
    assert batches[0][1].dtype == np.int32
    images = np.concatenate([images for images, _ in batches])
    np.testing.assert_array_equal(images, normalize(examples["pixels"].images, P))


def test_greyscale_and_mixed_sizes_of_files():
    rng = np.random.default_rng(0)
    sizes = ((20, 30), (31, 17), (40, 40), (16, 90))
    contents = [png(rng.integers(0, 256, size, np.uint8)) for size in sizes]
    mixed = Examples(np.array(contents, dtype=object), np.zeros(4, np.int32))
    p = Preprocessing(channels=1, resize=14, size=(12, 12), mean=(9.0,), std=(3.0,))
    for augmentation in (None, PAD, ScaleCropFlip(shorter_side=(12, 20), color=0)):
        batches = training(mixed, augmentation, preprocessing=p, batch_size=2)
        assert all(images.shape == (2, 12, 12, 1) for images, _ in batches)
    images, _ = next(iter(evaluation_batches(mixed, p, batch_size=4)))
    np.testing.assert_array_equal(images[1], normalize(prepare(contents[1], p), p))


def test_a_stream_of_the_wrong_length_is_an_error(examples):
    stream = examples["streamed"]
    wrong = StreamedExamples(read=stream.read, size=SIZE + 1)
    with pytest.raises(tf.errors.FailedPreconditionError):
        batches_of(wrong, None)


def test_mirrored_strategy_takes_the_batches_as_they_are(examples):
    strategy = tf.distribute.MirroredStrategy(["CPU:0"])
    batches = training(examples["pixels"], PAD, steps=3)
    distributed = list(strategy.experimental_distribute_dataset(batches))
    whole = batches_of(examples["pixels"], PAD, steps=3)
    assert same([(x.numpy(), y.numpy()) for x, y in distributed], whole)


@pytest.mark.parametrize("start_step", [13, -1])
def test_a_step_that_the_recipe_has_not_is_named(examples, start_step):
    with pytest.raises(
        ValueError, match=f"Received: start_step={start_step}, steps=12"
    ):
        training(examples["pixels"], None, start_step=start_step)


def test_an_impossible_batch_size_is_named(examples):
    with pytest.raises(ValueError, match="Received: batch_size=0"):
        evaluation_batches(examples["pixels"], P, batch_size=0)


INCEPTION = InceptionCrop(area=(0.3, 1.0))
SOFT = dict(
    label_smoothing=0.1,
    erasing=0.3,
    mixing=(MixUp(alpha=0.2), CutMix(alpha=1.0)),
)
SIZES = ((0, 8), (0.3, 12))
OPERATIONS = RandAugment(operations=1, strength=0.3)


@pytest.mark.parametrize(
    ("kind", "augmentation", "parts"),
    [
        pytest.param(
            "encoded",
            INCEPTION,
            dict(image_sizes=SIZES, rand_augment=OPERATIONS, **SOFT),
            marks=pytest.mark.slow,
        ),
        pytest.param("streamed", INCEPTION, SOFT, marks=pytest.mark.slow),
        ("pixels", PAD, SOFT),
    ],
)
def test_with_all_there_is_going_on_is_the_tail(examples, kind, augmentation, parts):
    whole = batches_of(examples[kind], augmentation, steps=10, **parts)
    tail = training(examples[kind], augmentation, steps=10, start_step=5, **parts)
    assert tail.cardinality() == 5
    assert same(list(tail.as_numpy_iterator()), whole[5:])
    sides = [images.shape[1] for images, _ in whole]
    assert sides == ([8] * 3 + [12] * 7 if "image_sizes" in parts else [12] * 10)
    assert len({images.tobytes() for images, _ in whole}) == 10


def test_changing_sizes_are_unknown_and_one_size_is_known(examples):
    batches = training(examples["encoded"], INCEPTION, image_sizes=SIZES)
    assert batches.element_spec[0] == tf.TensorSpec((4, None, None, 3), tf.float32)
    one_size = training(examples["encoded"], INCEPTION, image_sizes=((0, 9),))
    images, _ = one_size.element_spec
    assert images == tf.TensorSpec((4, 9, 9, 3), tf.float32)


def test_padded_crops_and_whole_images_change_their_size_too(examples):
    for augmentation in (PAD, SCALE, None):
        batches = training(examples["pixels"], augmentation, steps=4, image_sizes=SIZES)
        assert [images.shape[1] for images, _ in batches] == [8, 8, 12, 12]


def test_labels_are_smoothed_as_pytorch_smooths_them(examples):
    soft = training(examples["pixels"], None, steps=2, label_smoothing=0.1)
    hard = batches_of(examples["pixels"], None, steps=2)
    for (images, labels), (same_images, integers) in zip(soft, hard, strict=True):
        np.testing.assert_array_equal(images, same_images)
        expected = 0.9 * np.eye(SIZE)[integers] + 0.1 / SIZE
        np.testing.assert_allclose(labels, expected, atol=1e-7)


def test_evaluation_gives_vectors_on_request(examples):
    batches = evaluation_batches(examples["pixels"], P, batch_size=9, one_hot=SIZE)
    assert batches.element_spec[1] == tf.TensorSpec((None, SIZE), tf.float32)
    labels = np.concatenate([labels for _, labels in batches.as_numpy_iterator()])
    np.testing.assert_array_equal(labels, np.eye(SIZE))


def test_inception_crops_of_pixels_and_of_files_are_equal(examples):
    pixels = batches_of(examples["pixels"], INCEPTION)
    assert same(batches_of(examples["files"], INCEPTION), pixels)
    assert pixels[0][0].shape == (4, 12, 12, 3)


@pytest.mark.parametrize(
    ("kind", "augmentation", "parts"),
    [
        ("pixels", PAD, SOFT),
        ("files", PAD, {}),
        pytest.param("pixels", PAD, {}, marks=pytest.mark.slow),
        pytest.param("streamed", SCALE, {}, marks=pytest.mark.slow),
        pytest.param(
            "encoded",
            INCEPTION,
            dict(image_sizes=SIZES, rand_augment=OPERATIONS, **SOFT),
            marks=pytest.mark.slow,
        ),
    ],
)
def test_the_shares_of_workers_are_the_whole_batches(
    examples, kind, augmentation, parts
):
    parts = parts | dict(steps=10)
    whole = batches_of(examples[kind], augmentation, **parts)
    shares = [
        batches_of(examples[kind], augmentation, share=(worker, 2), **parts)
        for worker in (0, 1)
    ]
    joined = [
        tuple(np.concatenate(halves) for halves in zip(a, b, strict=True))
        for a, b in zip(*shares, strict=True)
    ]
    assert [len(labels) for _, labels in shares[1]] == [2] * 10
    assert same(joined, whole)


@SOME_KINDS
def test_workers_evaluate_different_images(examples, kind):
    seen = [
        all_labels(
            evaluation_batches(examples[kind], P, batch_size=4, share=(worker, 2)).take(
                3
            )
        )
        for worker in (0, 1)
    ]
    assert sorted(np.concatenate(seen)) == list(range(12))
    assert list(seen[0]) == [0, 1, 4, 5, 8, 9]


def test_a_worker_decodes_its_share_alone(examples):
    images = examples["encoded"].images.copy()
    batches = evaluation_batches(examples["encoded"], P, batch_size=4, share=(0, 2))
    kept = [labels for _, labels in batches.take(5)]
    images[[i for i in range(20) if i % 4 >= 2]] = b"no image"
    broken = Examples(images, examples["encoded"].labels)
    batches = evaluation_batches(broken, P, batch_size=4, share=(0, 2)).take(5)
    assert np.array_equal([labels for _, labels in batches], kept)


@pytest.fixture
def photos(tmp_path):
    """A folder of images of many sizes, of two classes; one of 120 is no image."""
    rng = np.random.default_rng(0)
    for i in range(120):
        folder = tmp_path / "train" / "ab"[i % 2]
        folder.mkdir(parents=True, exist_ok=True)
        image = rng.integers(0, 256, (*rng.integers(16, 40, 2), 3), np.uint8)
        (folder / f"{i:03}.png").write_bytes(png(image) if i != 50 else b"nothing")
    return folders.load(tmp_path)


@pytest.mark.parametrize(
    ("augmentation", "share", "parts"),
    [
        pytest.param(None, (0, 1), {}, marks=pytest.mark.slow),
        (PAD, (1, 2), {"mixing": (MixUp(alpha=0.2),)}),
    ],
)
def test_kept_pixels_are_what_decoding_each_time_gives(
    photos, monkeypatch, augmentation, share, parts
):
    assert len(photos.skipped) == 1 and "050.png" in photos.skipped[0]
    p = replace(P, resize=14)
    options = parts | dict(preprocessing=p, batch_size=16, steps=15, share=share)

    def trained(start=0):
        return batches_of(photos.train, augmentation, start_step=start, **options)

    def validated():
        batches = evaluation_batches(
            photos.validation, p, batch_size=4, share=share, keep=True
        )
        return list(batches.as_numpy_iterator())

    kept, validation = trained(), validated()
    assert {photos.train, photos.validation} <= set(cache._kept)
    assert same(trained(start=5), kept[5:])
    monkeypatch.setattr(cache, "MOST", 0)
    assert same(trained(), kept)
    assert same(validated(), validation)


@pytest.mark.exhaustive
def test_decoding_ahead_takes_little_more_than_twice_what_it_keeps(tmp_path):
    image = np.zeros((512, 512, 3), np.uint8)
    (tmp_path / "image.png").write_bytes(png(image))
    code = (
        "import resource, sys; import numpy as np\n"
        "from keras_resnet.config.preprocessing import Preprocessing\n"
        "from keras_resnet.data import cache, examples\n"
        "p = Preprocessing(channels=3, resize=None, size=(512, 512), mean=(0.0,) * 3, "
        "std=(1.0,) * 3)\n"
        "def peak():\n"
        "    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "def take(n):\n"
        "    paths = np.array(n * [sys.argv[1]], dtype=object)\n"
        "    return cache.tensors(examples.Examples(paths, np.zeros(n, 'int32')), p)\n"
        "take(8)\n"
        "before, kept = peak(), take(800)[0]\n"
        "print((peak() - before) / kept.numpy().nbytes)\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "image.png")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert float(done.stdout.split()[-1]) < 2.2


def test_what_fits_is_decoded_once(photos, monkeypatch):
    options = dict(batch_size=16, steps=20)
    # None of these would see images more than once, or prepare them alike.
    training(photos.train, PAD, batch_size=16, steps=2)
    training(photos.train, SCALE, **options)
    training(photos.train, PAD, rand_augment=OPERATIONS, **options)
    assert photos.train not in cache._kept
    first = training(photos.train, PAD, **options)
    for path in photos.train.images:
        pathlib.Path(path).unlink()
    assert len(list(first)) == 20
    assert len(batches_of(photos.train, PAD, **options)) == 20
    monkeypatch.setattr(cache, "MOST", photos.train.size * 12 * 12 * 3 - 1)
    assert not cache.fits(photos.train, P)
    monkeypatch.undo()
    assert cache.fits(photos.train, P)
    # In a small container on a large machine.
    monkeypatch.setattr(
        limits, "memory", lambda: 8 * photos.train.size * 12 * 12 * 3 - 1
    )
    assert not cache.fits(photos.train, P)
    with pytest.raises(tf.errors.NotFoundError):
        batches_of(photos.train, PAD, **options)


@pytest.mark.parametrize(
    "augmentation",
    [PadCropFlip(padding=0), ScaleCropFlip(shorter_side=(12, 12), color=0.0)]
    + [InceptionCrop(area=(0.6, 1.0), jitter=0.0, color=0.0)],
    ids=lambda augmentation: type(augmentation).__name__,
)
def test_images_without_flips_keep_their_left_side(augmentation):
    ramp = np.linspace(0, 255, 12).astype("uint8")
    images = np.broadcast_to(ramp[None, None, :, None], (16, 12, 12, 3)).copy()
    examples = Examples(images, np.zeros(16, "int32"))

    def rising(flip):
        recipe = Recipe(
            network="resnet20",
            dataset="cifar10",
            batch_size=16,
            steps=1,
            validate_every=1,
            schedule=CosineDecay(learning_rate=0.1),
            augmentation=replace(augmentation, flip=flip),
        )
        batches = training_batches(examples, P, recipe, classes=1, seed=0)
        batch, _ = next(iter(batches))
        return np.asarray(batch[:, 6, -1, 0] > batch[:, 6, 0, 0])

    assert 0 < rising(True).sum() < 16
    assert rising(False).all()
