import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from keras_resnet.config.preprocessing import Preprocessing
from keras_resnet.config.recipes import PadCropFlip, ScaleCropFlip
from keras_resnet.data.pipelines import (
    evaluation_batches,
    leave_gpus_to_keras,
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


def batches_of(examples, augmentation, *, seed=3, batch_size=4, steps=12, start_step=0):
    batches = training_batches(
        examples,
        P,
        augmentation,
        batch_size=batch_size,
        seed=seed,
        start_step=start_step,
        steps=steps,
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
