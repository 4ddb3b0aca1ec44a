import numpy as np
import pytest
import tensorflow as tf

from keras_resnet.data.augmentation import (
    PCA_EIGENVALUES,
    PCA_EIGENVECTORS,
    pad_crop_flip,
    pca_color,
    scale_crop_flip,
)


def coordinates(height, width):
    """An image whose two channels say where each pixel was, from 1."""
    grid = np.mgrid[1 : height + 1, 1 : width + 1]
    return np.moveaxis(grid, 0, -1).astype(np.float32)


def shifts_and_flips(batch):
    """Offsets (vertical, horizontal) and flip of each image of `coordinates`.

    The pixel in the middle is never padding while the padding is below half the side.
    """
    height, width = batch.shape[1:3]
    row, column = height // 2, width // 2
    center, beside = batch[:, row, column], batch[:, row, column + 1]
    flipped = beside[:, 1] < center[:, 1]
    unflipped = np.where(flipped, width - 1 - column, column)
    return center[:, 0] - 1 - row, center[:, 1] - 1 - unflipped, flipped


def test_crops_and_flips_are_uniform_and_independent():
    count, padding = 20_000, 2
    batch = np.broadcast_to(coordinates(9, 9), (count, 9, 9, 2))
    ours = pad_crop_flip(batch, (1, 2), padding=padding).numpy()
    down, right, flipped = shifts_and_flips(ours)
    cells = ((down + padding) * 5 + right + padding) * 2 + flipped
    counts = np.bincount(cells.astype(int), minlength=50)
    assert len(counts) == 50  # No shift beyond the padding.
    chi_squared = np.sum((counts - count / 50) ** 2 / (count / 50))
    assert chi_squared < 85.4  # 99.9 % quantile for 49 degrees of freedom.


def test_pixels_are_those_of_the_padded_and_cropped_image():
    image = np.random.default_rng(0).normal(size=(6, 8, 3)).astype(np.float32)
    batch = np.stack([image] * 64)
    padded = np.pad(image, ((3, 3), (3, 3), (0, 0)))
    crops = [padded[r : r + 6, c : c + 8] for r in range(7) for c in range(7)]
    expected = {crop.tobytes() for crop in crops}
    expected |= {np.ascontiguousarray(crop[:, ::-1]).tobytes() for crop in crops}
    ours = pad_crop_flip(batch, (5, 0), padding=3).numpy()
    assert all(one.tobytes() in expected for one in ours)
    assert len({one.tobytes() for one in ours}) > 30


def test_flipping_can_be_switched_off():
    batch = np.broadcast_to(coordinates(9, 9), (200, 9, 9, 2))
    ours = pad_crop_flip(batch, (1, 2), padding=1, flip=False).numpy()
    assert not shifts_and_flips(ours)[2].any()


def test_the_same_seed_gives_the_same_batch():
    batch = np.random.default_rng(0).normal(size=(16, 8, 8, 3)).astype(np.float32)
    first = pad_crop_flip(batch, (1, 2), padding=2)
    np.testing.assert_array_equal(first, pad_crop_flip(batch, (1, 2), padding=2))
    assert np.any(first != pad_crop_flip(batch, (1, 3), padding=2))


def test_scales_and_crops_reach_both_ends():
    image = coordinates(20, 30)

    @tf.function
    def draw(seed):
        return scale_crop_flip(image, seed, shorter_side=(20, 22), crop=18)

    draws = np.stack([draw(tf.constant((7, k))).numpy() for k in range(400)])
    row_steps = draws[:, 10, 9, 0] - draws[:, 9, 9, 0]
    column_steps = draws[:, 9, 10, 1] - draws[:, 9, 9, 1]
    # Steps of an image scaled by 20, 21 and 22 to 20.
    scales = np.round(20 / row_steps).astype(int)
    assert np.bincount(scales)[20:].min() > 90 and set(scales) == {20, 21, 22}
    assert 150 < np.sum(column_steps < 0) < 250
    unscaled = draws[scales == 20]
    tops = np.round(unscaled[:, 9, 9, 0]).astype(int) - 10
    lefts = np.round(np.min(unscaled[:, 9, :, 1], axis=1)).astype(int) - 1
    assert set(tops) == {0, 1, 2}
    assert set(lefts) == set(range(13))


def test_scaled_crops_are_crops_of_the_scaled_image():
    image = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)
    ours = scale_crop_flip(image, (3, 1), shorter_side=(24, 24), crop=16, flip=False)
    whole = tf.image.resize(image, (24, 36), antialias=True).numpy()
    distances = [
        np.abs(whole[r : r + 16, c : c + 16] - ours).max()
        for r in range(9)
        for c in range(21)
    ]
    assert ours.dtype == tf.float32
    assert min(distances) < 1e-2


def test_a_crop_must_fit():
    with pytest.raises(ValueError, match="shorter_side=.200, 300., crop=224"):
        scale_crop_flip(np.zeros((9, 9, 3)), (0, 0), shorter_side=(200, 300), crop=224)


def test_colour_noise_is_the_formula():
    image = np.random.default_rng(0).uniform(0, 255, (4, 5, 3)).astype(np.float32)
    alpha = tf.random.stateless_normal([3], (4, 2), stddev=0.1).numpy()
    shift = np.array(PCA_EIGENVECTORS) @ (alpha * np.array(PCA_EIGENVALUES))
    np.testing.assert_allclose(pca_color(image, (4, 2)), image + 255 * shift, rtol=1e-5)


def test_eigenvectors_are_orthonormal():
    vectors = np.array(PCA_EIGENVECTORS)
    np.testing.assert_allclose(vectors.T @ vectors, np.eye(3), atol=2e-4)


def test_colour_noise_has_its_standard_deviation():
    gray = np.zeros((1, 1, 3), np.float32)
    noise = tf.function(lambda seed: pca_color(gray, seed, alpha_std=0.1))
    shifts = np.stack(
        [noise(tf.constant((0, k))).numpy().ravel() for k in range(1_000)]
    )
    covariance = np.cov(shifts, rowvar=False)
    vectors, values = np.array(PCA_EIGENVECTORS), np.array(PCA_EIGENVALUES)
    expected = vectors @ np.diag((25.5 * values) ** 2) @ vectors.T
    np.testing.assert_allclose(covariance, expected, rtol=0.2)


def test_colour_noise_needs_colours():
    with pytest.raises(ValueError, match="must have 3 channels"):
        pca_color(np.zeros((4, 4, 1), np.float32), (0, 0))
