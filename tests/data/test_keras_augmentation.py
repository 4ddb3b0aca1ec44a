"""Keras's augmentation as functions of a seed."""

import os
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_resnet.config.augmentations import CutMix, MixUp, RandAugment
from keras_resnet.data import keras_augmentation

CLASSES = 8
# Each image shows the number of its class, and each label is certain.
NUMBERS = np.broadcast_to(
    np.arange(CLASSES, dtype=np.float32)[:, None, None, None], (CLASSES, 32, 32, 3)
)
LABELS = np.eye(CLASSES, dtype=np.float32)
BOTH = (MixUp(alpha=0.4), CutMix(alpha=1.0))
FINGERPRINT = """
import hashlib
from tests.data.test_keras_augmentation import stream
digest = hashlib.sha256()
for batch in stream().as_numpy_iterator():
    for part in batch:
        digest.update(part.tobytes())
print(digest.hexdigest())
"""


def stream(start=0, steps=10):
    """What the four layers make of a step, computed by many threads."""
    mix, erase = keras_augmentation.mix(BOTH), keras_augmentation.erase(0.5)
    operate = keras_augmentation.rand_augment(RandAugment(operations=2, strength=0.5))
    image = np.random.default_rng(0).uniform(0, 255, (24, 20, 3)).astype(np.float32)

    def batch(step):
        seed = tf.random.fold_in(tf.constant((5, 1), tf.int64), step)
        images, labels = mix(NUMBERS, LABELS, seed)
        return images, labels, erase(images, seed), operate(image, seed)

    return tf.data.Dataset.range(start, steps).map(
        batch, num_parallel_calls=tf.data.AUTOTUNE
    )


@pytest.mark.slow
def test_a_step_decides_whatever_ran_before():
    first, second, tail = (
        list(stream(start).as_numpy_iterator()) for start in (0, 0, 6)
    )
    for batches, others in ((first, second), (first[6:], tail)):
        for batch, other in zip(batches, others, strict=True):
            for one, same in zip(batch, other, strict=True):
                np.testing.assert_array_equal(one, same)
    for part in range(4):
        assert len({batch[part].tobytes() for batch in first}) == len(first)


def draws(function, count):
    run = tf.function(lambda k: function(tf.stack([3, k])))
    return [[part.numpy() for part in tf.nest.flatten(run(k))] for k in tf.range(count)]


def test_labels_are_mixed_as_the_images_are():
    mix = keras_augmentation.mix(BOTH)
    mixed_up = 0
    for images, labels in draws(lambda seed: mix(NUMBERS, LABELS, seed), 40):
        np.testing.assert_allclose(labels.sum(1), 1, atol=1e-5)
        shown, told = images.mean((1, 2, 3)), labels @ np.arange(CLASSES)
        is_mixup = np.ptp(images, axis=(1, 2, 3)).max() < 1e-5
        mixed_up += is_mixup
        # A cut's area in pixels against its share: a row and a column at its edges.
        tolerance = 1e-4 if is_mixup else CLASSES * 2 / 32
        assert np.abs(shown - told).max() < tolerance
        assert np.abs(shown - np.arange(CLASSES)).max() > 0.01
    assert 10 <= mixed_up <= 30


def test_the_share_of_mixup_has_the_variance_of_its_beta():
    mix = keras_augmentation.mix(BOTH[:1])
    labels = [batch[1] for batch in draws(lambda s: mix(NUMBERS, LABELS, s), 200)]
    own = np.stack([np.diagonal(label) for label in labels])
    moved = own[own < 1 - 1e-6]  # Unless an image was mixed with itself.
    # Of Beta(a, a): 1 / (4 (2 a + 1)).
    assert abs(moved.mean() - 0.5) < 0.05
    assert abs(moved.var() - 1 / (4 * 1.8)) < 0.02


def test_erasing_leaves_a_share_of_zeros_in_a_share_of_images():
    erase = keras_augmentation.erase(0.25)
    ones = np.ones((64, 16, 16, 3), np.float32)
    erased = np.concatenate([d[0] for d in draws(lambda seed: erase(ones, seed), 20)])
    assert set(np.unique(erased)) == {0.0, 1.0}
    touched = (erased == 0).any((1, 2, 3))
    assert abs(touched.mean() - 0.25) < 0.05
    assert 0.01 < (erased[touched] == 0).mean() < 0.33


@pytest.mark.slow
def test_the_operations_are_those_of_keras_rand_augment():
    image = np.random.default_rng(1).uniform(0, 255, (20, 24, 3)).astype(np.float32)
    ours = keras_augmentation.rand_augment(RandAugment(operations=2, strength=0.5))
    layer = keras.layers.RandAugment(num_ops=2, factor=0.5, dtype="float32")

    @tf.function
    def both(seed):
        whole = keras_augmentation._seeded(layer, seed)(image[None], training=True)
        return ours(image, seed), whole[0]

    changed = 0
    for k in tf.range(25):
        one, other = both(tf.stack([3, k]))
        np.testing.assert_allclose(one, other, atol=1e-3)
        changed += np.abs(one - image).max() > 1
    assert changed > 15


@pytest.mark.exhaustive
def test_the_backend_makes_no_difference():
    pytest.importorskip("jax")
    pytest.importorskip("torch")
    found = {
        subprocess.run(
            [sys.executable, "-c", FINGERPRINT],
            env=os.environ | {"KERAS_BACKEND": name},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for name in ("tensorflow", "jax", "torch")
    }
    assert len(found) == 1
