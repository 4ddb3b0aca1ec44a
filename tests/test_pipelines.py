import io
import pathlib
from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from keras_resnet.config.preprocessing import Preprocessing
from keras_resnet.config.recipe import (
    CosineDecay,
    CutMix,
    InceptionCrop,
    MixUp,
    PadCropFlip,
    RandAugment,
    ScaleCropFlip,
)
from keras_resnet.config.recipes import RECIPES
from keras_resnet.data import decoded, folders
from keras_resnet.data.pipelines import (
    evaluation_batches,
    leave_gpus_to_keras,
    recipe_batches,
    training_batches,
)
from keras_resnet.data.preprocessing import normalize, prepare, resize_and_crop
from keras_resnet.data.sources import Examples, StreamedExamples

SIZE = 23  # Examples; no batch size below divides it.
P = Preprocessing(
    channels=3, resize=None, size=(12, 12), mean=(120.0, 110.0, 100.0), std=(60.0,) * 3
)
PAD = PadCropFlip(padding=2)
SCALE = ScaleCropFlip(shorter_side=(12, 20))
KINDS = ("pixels", "encoded", "files", "streamed")


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
    }


def batches_of(
    examples, augmentation, *, seed=3, batch_size=4, steps=12, start_step=0, **parts
):
    batches = training_batches(
        examples,
        P,
        augmentation,
        batch_size=batch_size,
        seed=seed,
        start_step=start_step,
        steps=steps,
        **parts,
    )
    return list(batches.as_numpy_iterator())


def all_labels(batches):
    return np.concatenate([labels for _, labels in batches])


def same(batches, others):
    return len(batches) == len(others) and all(
        np.array_equal(a, b) and np.array_equal(c, d)
        for (a, c), (b, d) in zip(batches, others, strict=True)
    )


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("augmentation", [None, PAD, SCALE])
def test_shapes_types_and_number_of_batches(examples, kind, augmentation):
    batches = training_batches(
        examples[kind], P, augmentation, batch_size=4, seed=3, start_step=2, steps=9
    )
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


@pytest.mark.parametrize("kind", KINDS)
def test_batches_run_across_the_ends_of_epochs(examples, kind):
    # 23 examples, 12 batches of 4: two epochs and two examples.
    labels = all_labels(batches_of(examples[kind], None))
    whole = all_labels(batches_of(examples[kind], None, batch_size=1, steps=48))
    assert labels.tolist() == whole.tolist()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("augmentation", [None, PAD, SCALE])
def test_going_on_is_the_tail_of_the_whole(examples, kind, augmentation):
    whole = batches_of(examples[kind], augmentation)
    for start in (1, 6, 12):  # In the first epoch, in the second, and at the end.
        tail = batches_of(examples[kind], augmentation, start_step=start)
        assert same(tail, whole[start:])


@pytest.mark.parametrize("kind", ["pixels", "streamed"])
def test_a_batch_may_hold_more_than_an_epoch(examples, kind):
    whole = batches_of(examples[kind], PAD, batch_size=50, steps=3)
    assert np.bincount(all_labels(whole)).max() <= 7
    assert same(
        batches_of(examples[kind], PAD, batch_size=50, steps=3, start_step=1), whole[1:]
    )


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("augmentation", [PAD, SCALE])
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
        assert same(batches_of(examples["files"], augmentation), pixels)


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
    batches = training_batches(
        examples["pixels"], p, None, batch_size=4, seed=0, steps=1
    )
    images, labels = next(iter(batches))
    original = examples["pixels"].images[labels[2]]
    expected = normalize(resize_and_crop(original, p), p)
    np.testing.assert_array_equal(images[2], expected)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("batch_size", [4, 23, 50])
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
        batches = training_batches(
            mixed, p, augmentation, batch_size=2, seed=0, steps=3
        )
        assert all(images.shape == (2, 12, 12, 1) for images, _ in batches)
    images, _ = next(iter(evaluation_batches(mixed, p, batch_size=4)))
    np.testing.assert_array_equal(images[1], normalize(prepare(contents[1], p), p))


def test_a_stream_of_the_wrong_length_is_an_error(examples):
    stream = examples["streamed"]
    wrong = StreamedExamples(read=stream.read, size=SIZE + 1)
    with pytest.raises(tf.errors.FailedPreconditionError):
        batches_of(wrong, None)


@pytest.mark.parametrize("backend", ["tensorflow", "jax", "torch"])
def test_tensorflow_takes_no_gpu_from_another_backend(monkeypatch, backend):
    hidden = []
    monkeypatch.setattr("keras.backend.backend", lambda: backend)
    monkeypatch.setattr(
        tf.config, "set_visible_devices", lambda *args: hidden.append(args)
    )
    leave_gpus_to_keras()
    assert hidden == ([] if backend == "tensorflow" else [([], "GPU")])


def test_hiding_gpus_too_late_is_no_error(monkeypatch):
    monkeypatch.setattr("keras.backend.backend", lambda: "jax")

    def too_late(*args):
        raise RuntimeError("must be set at program startup")

    monkeypatch.setattr(tf.config, "set_visible_devices", too_late)
    leave_gpus_to_keras()


def test_mirrored_strategy_takes_the_batches_apart(examples):
    strategy = tf.distribute.MirroredStrategy(["CPU:0"])
    batches = training_batches(
        examples["pixels"], P, PAD, batch_size=4, seed=3, steps=3
    )
    distributed = list(strategy.experimental_distribute_dataset(batches))
    whole = batches_of(examples["pixels"], PAD, steps=3)
    assert same([(x.numpy(), y.numpy()) for x, y in distributed], whole)


@pytest.mark.parametrize(
    "wrong",
    [
        dict(batch_size=0),
        dict(start_step=13),
        dict(start_step=-1),
        dict(augmentation="flip"),
    ],
)
def test_impossible_arguments_are_named(examples, wrong):
    arguments = dict(augmentation=None) | wrong
    with pytest.raises(ValueError, match=f"Received: .*{[*wrong][0]}="):
        batches_of(examples["pixels"], **arguments)


INCEPTION = InceptionCrop(area=(0.3, 1.0))
SOFT = dict(
    classes=SIZE,
    label_smoothing=0.1,
    erasing=0.3,
    mixing=(MixUp(alpha=0.2), CutMix(alpha=1.0)),
)
SIZES = ((0, 8), (0.3, 12))
OPERATIONS = RandAugment(operations=1, strength=0.3)


def rich(examples, augmentation=INCEPTION, *, start_step=0, steps=10, **parts):
    return training_batches(
        examples,
        P,
        augmentation,
        batch_size=4,
        seed=3,
        start_step=start_step,
        steps=steps,
        **parts,
    )


@pytest.mark.parametrize(
    ("kind", "augmentation", "parts"),
    [
        (
            "encoded",
            INCEPTION,
            dict(image_sizes=SIZES, rand_augment=OPERATIONS, **SOFT),
        ),
        ("streamed", INCEPTION, SOFT),
        ("pixels", PAD, SOFT),
    ],
)
def test_with_all_there_is_going_on_is_the_tail(examples, kind, augmentation, parts):
    whole = list(rich(examples[kind], augmentation, **parts).as_numpy_iterator())
    again = rich(examples[kind], augmentation, **parts)
    assert same(list(again.as_numpy_iterator()), whole)
    tail = rich(examples[kind], augmentation, start_step=5, **parts)
    assert tail.cardinality() == 5
    assert same(list(tail.as_numpy_iterator()), whole[5:])
    sides = [images.shape[1] for images, _ in whole]
    assert sides == ([8] * 3 + [12] * 7 if "image_sizes" in parts else [12] * 10)
    assert len({images.tobytes() for images, _ in whole}) == 10


def test_changing_sizes_are_unknown_and_one_size_is_known(examples):
    batches = rich(examples["encoded"], start_step=9, image_sizes=SIZES)
    assert batches.element_spec[0] == tf.TensorSpec((4, None, None, 3), tf.float32)
    images, _ = rich(examples["encoded"], image_sizes=((0, 9),)).element_spec
    assert images == tf.TensorSpec((4, 9, 9, 3), tf.float32)


def test_padded_crops_and_whole_images_change_their_size_too(examples):
    for augmentation in (PAD, SCALE, None):
        batches = rich(examples["pixels"], augmentation, steps=4, image_sizes=SIZES)
        assert [images.shape[1] for images, _ in batches] == [8, 8, 12, 12]


def test_labels_are_smoothed_as_pytorch_smooths_them(examples):
    soft = training_batches(
        examples["pixels"],
        P,
        None,
        batch_size=4,
        seed=3,
        steps=2,
        classes=SIZE,
        label_smoothing=0.1,
    )
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


def test_mixing_and_smoothing_need_the_number_of_classes(examples):
    for part in (dict(label_smoothing=0.1), dict(mixing=(MixUp(alpha=0.2),))):
        with pytest.raises(ValueError, match="`classes` must be the number"):
            batches_of(examples["pixels"], None, **part)


def test_inception_crops_of_pixels_and_of_files_are_equal(examples):
    pixels = batches_of(examples["pixels"], INCEPTION)
    assert same(batches_of(examples["files"], INCEPTION), pixels)
    assert pixels[0][0].shape == (4, 12, 12, 3)


def test_a_recipe_says_what_its_batches_are(examples):
    recipe = replace(
        RECIPES["resnet20_cifar10"],
        batch_size=4,
        steps=6,
        schedule=CosineDecay(learning_rate=0.1),
        augmentation=INCEPTION,
        image_sizes=SIZES,
        **{name: SOFT[name] for name in SOFT if name != "classes"},
    )
    ours = recipe_batches(
        examples["encoded"], P, recipe, classes=SIZE, seed=3, start_step=2
    )
    parts = rich(examples["encoded"], steps=6, start_step=2, image_sizes=SIZES, **SOFT)
    assert same(list(ours.as_numpy_iterator()), list(parts.as_numpy_iterator()))
    hard = replace(recipe, label_smoothing=0.0, mixing=())
    labels = recipe_batches(examples["encoded"], P, hard, classes=SIZE, seed=3)
    assert labels.element_spec[1] == tf.TensorSpec((4,), tf.int32)


@pytest.mark.parametrize(
    ("kind", "augmentation", "parts"),
    [
        ("pixels", PAD, {}),
        ("pixels", PAD, SOFT),
        ("files", PAD, {}),
        ("streamed", SCALE, {}),
        ("encoded", INCEPTION, dict(image_sizes=SIZES, rand_augment=OPERATIONS)),
        ("encoded", INCEPTION, dict(image_sizes=SIZES, **SOFT)),
    ],
)
def test_the_shares_of_workers_are_the_whole_batches(
    examples, kind, augmentation, parts
):
    whole = list(rich(examples[kind], augmentation, **parts).as_numpy_iterator())
    shares = [
        list(
            rich(
                examples[kind], augmentation, share=(worker, 2), **parts
            ).as_numpy_iterator()
        )
        for worker in (0, 1)
    ]
    joined = [
        tuple(np.concatenate(halves) for halves in zip(a, b, strict=True))
        for a, b in zip(*shares, strict=True)
    ]
    assert [len(labels) for _, labels in shares[1]] == [2] * 10
    assert same(joined, whole)


@pytest.mark.parametrize("kind", KINDS)
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
        (None, (0, 1), {}),
        (PAD, (1, 2), {"mixing": (MixUp(alpha=0.2),), "classes": 2}),
    ],
)
def test_kept_pixels_are_what_decoding_each_time_gives(
    photos, monkeypatch, augmentation, share, parts
):
    assert len(photos.skipped) == 1 and "050.png" in photos.skipped[0]
    p = replace(P, resize=14)
    options = {"batch_size": 16, "seed": 3, "steps": 15, "share": share} | parts

    def trained(start=0):
        batches = training_batches(
            photos.train, p, augmentation, start_step=start, **options
        )
        return list(batches.as_numpy_iterator())

    def validated():
        batches = evaluation_batches(
            photos.validation, p, batch_size=4, share=share, keep=True
        )
        return list(batches.as_numpy_iterator())

    kept, validation = trained(), validated()
    assert {photos.train, photos.validation} <= set(decoded._kept)
    assert same(trained(start=5), kept[5:])
    monkeypatch.setattr(decoded, "MOST", 0)
    assert same(trained(), kept)
    assert same(validated(), validation)


def test_what_fits_is_decoded_once(photos, monkeypatch):
    options = {"batch_size": 16, "seed": 0, "steps": 20}
    # None of these would see images more than once, or prepare them alike.
    training_batches(photos.train, P, PAD, **options | {"steps": 2})
    training_batches(photos.train, P, SCALE, **options)
    training_batches(photos.train, P, PAD, **options, rand_augment=OPERATIONS)
    assert photos.train not in decoded._kept
    first = training_batches(photos.train, P, PAD, **options)
    for path in photos.train.images:
        pathlib.Path(path).unlink()
    assert len(list(first)) == 20
    assert len(list(training_batches(photos.train, P, PAD, **options))) == 20
    monkeypatch.setattr(decoded, "MOST", photos.train.size * 12 * 12 * 3 - 1)
    assert not decoded.fits(photos.train, P)
    with pytest.raises(tf.errors.NotFoundError):
        list(training_batches(photos.train, P, PAD, **options))
