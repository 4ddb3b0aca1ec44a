"""Autotuning is off in every pipeline that the package makes, iterates over or gives.

What it costs where it is on is seen by `benchmarks/dead_time.py`.
"""

import ast
import os
import pathlib
from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf

import keras_resnet
from keras_resnet import reproduce
from keras_resnet.__main__ import main
from keras_resnet.config.augmentations import InceptionCrop, MixUp, PadCropFlip
from keras_resnet.config.preprocessing import Preprocessing
from keras_resnet.config.recipes import RECIPES
from keras_resnet.data import pipelines, threads
from keras_resnet.data.examples import Examples, StreamedExamples
from keras_resnet.devices import limits
from tests.helpers.smoke import smoke

PACKAGE = pathlib.Path(keras_resnet.__file__).parent
PREPARE = Preprocessing(
    channels=3, resize=None, size=(12, 12), mean=(0.0,) * 3, std=(1.0,) * 3
)


def is_off(dataset):
    return dataset.options().autotune.enabled is False


def pixels():
    return Examples(np.zeros((6, 12, 12, 3), np.uint8), np.zeros(6, np.int32))


def encoded():
    image = tf.io.encode_png(np.zeros((12, 12, 3), np.uint8)).numpy()
    return Examples(np.array([image] * 6, dtype=object), np.zeros(6, np.int32))


def streamed():
    images = [tf.io.encode_png(np.zeros((12, 12, 3), np.uint8)).numpy()] * 6

    def read():
        records = tf.data.Dataset.from_tensor_slices((images, [0] * 6))
        return records.map(lambda *record: record, num_parallel_calls=tf.data.AUTOTUNE)

    return StreamedExamples(read=read, size=6, shuffle_buffer=4)


@pytest.mark.parametrize("examples", [pixels, encoded, streamed])
@pytest.mark.parametrize(
    "augmentation", [None, PadCropFlip(padding=1), InceptionCrop()]
)
@pytest.mark.parametrize(
    "mixing",
    [(), pytest.param((MixUp(alpha=0.2),), marks=pytest.mark.exhaustive)],
)
def test_batches_to_train_on_are_not_autotuned(examples, augmentation, mixing):
    recipe = replace(
        smoke(RECIPES["quickstart"]),
        batch_size=2,
        augmentation=augmentation,
        mixing=mixing,
    )
    batches = pipelines.training_batches(examples(), PREPARE, recipe, classes=2, seed=0)
    assert is_off(batches)
    # What a user adds to them on the way to a `fit` of their own.
    assert is_off(
        batches.map(lambda x, y: (x, y), tf.data.AUTOTUNE).take(1).prefetch(2)
    )


@pytest.mark.parametrize("examples", [pixels, encoded, streamed])
@pytest.mark.parametrize("keep", [False, True])
def test_batches_to_evaluate_on_are_not_autotuned(examples, keep):
    batches = pipelines.evaluation_batches(
        examples(), PREPARE, batch_size=4, one_hot=2, keep=keep
    )
    assert is_off(batches)


@pytest.fixture
def photos(tmp_path):
    """A folder of images of two classes, one file of them damaged."""
    rng = np.random.default_rng(0)
    for name in ("cat", "dog"):
        folder = tmp_path / "photos" / name
        folder.mkdir(parents=True)
        for i in range(60):
            image = rng.integers(0, 256, (32, 32, 3), np.uint8)
            (folder / f"{i}.png").write_bytes(tf.io.encode_png(image).numpy())
    (tmp_path / "photos" / "cat" / "0.png").write_bytes(b"no image")
    return tmp_path / "photos"


@pytest.mark.exhaustive
def test_nothing_that_a_command_iterates_over_is_autotuned(
    photos, tmp_path, never_autotuned
):
    folder = reproduce.train(
        data=photos,
        network="resnet20",
        steps=2,
        batch_size=8,
        output_dir=tmp_path / "runs",
        verbose=0,
    )
    trained = len(never_autotuned)
    # The look for damage, training, validation, pictures, measures.
    assert trained >= 5
    assert main(["evaluate", str(folder), "--split", "validation"]) == 0
    assert main(["predict", str(folder), str(photos / "dog" / "0.png")]) == 0
    assert len(never_autotuned) > trained


@pytest.mark.slow
def test_parallelism_is_a_number_everywhere():
    users = {
        path.name
        for path in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute) and node.attr == "AUTOTUNE"
    }
    assert not users


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs Linux")
def test_a_process_counts_the_cores_that_it_may_use():
    allowed = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(allowed)})
        assert threads.images_at_a_time() == threads.batches_at_a_time() == 1
    finally:
        os.sched_setaffinity(0, allowed)


def test_memory_does_not_grow_with_the_cores(monkeypatch):
    monkeypatch.setattr(limits, "cores", lambda: 128)
    assert threads.images_at_a_time() == 128
    assert threads.batches_at_a_time() == threads.MOST_BATCHES
