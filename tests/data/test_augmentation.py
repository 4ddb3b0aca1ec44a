"""Random crops, flips and colours: the references' numbers, and seeds alone."""

import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageEnhance

from keras_resnet.data.augmentation import (
    inception_crop,
    pad_crop_flip,
    random_window,
    scale_crop_flip,
)
from keras_resnet.data.colors import (
    PCA_EIGENVALUES,
    PCA_EIGENVECTORS,
    adjust_brightness,
    adjust_contrast,
    adjust_saturation,
    color_jitter,
    pca_color,
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


def test_reflection_shows_the_image_beyond_its_edges():
    image = np.random.default_rng(0).normal(size=(6, 8, 3)).astype(np.float32)
    padded = np.pad(image, ((3, 3), (3, 3), (0, 0)), mode="reflect")
    crops = {padded[r : r + 6, c : c + 8].tobytes() for r in range(7) for c in range(7)}
    batch = np.stack([image] * 64)
    ours = pad_crop_flip(batch, (5, 0), padding=3, flip=False, mode="reflect").numpy()
    assert {one.tobytes() for one in ours} <= crops
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


AREA, ASPECT = (0.08, 1.0), (3 / 4, 4 / 3)


def windows(shape, count, area=AREA, aspect=ASPECT):
    """So many of our windows, each by a seed of its own."""

    @tf.function
    def draw():
        return tf.map_fn(
            lambda k: random_window(shape, tf.stack([3, k]), area=area, aspect=aspect),
            tf.range(count),
        )

    return draw().numpy()


def reference_windows(shape, count):
    """The same as fb.resnet.torch draws them, datasets/transforms.lua."""
    rng = np.random.default_rng(0)
    found = []
    for _ in range(count):
        for _ in range(10):
            pixels = rng.uniform(*AREA) * shape[0] * shape[1]
            aspect = rng.uniform(*ASPECT)
            width, height = np.round(np.sqrt([pixels * aspect, pixels / aspect]))
            if rng.uniform() < 0.5:
                width, height = height, width
            if height <= shape[0] and width <= shape[1]:
                top = rng.integers(0, int(shape[0] - height), endpoint=True)
                left = rng.integers(0, int(shape[1] - width), endpoint=True)
                break
        else:
            width = height = min(shape)
            top, left = (shape[0] - height) // 2, (shape[1] - width) // 2
        found.append((top, left, height, width))
    return np.array(found)


def chi_squared(sample, reference, bins):
    """Of two samples, in bins that hold equal shares of the second."""
    edges = np.unique(np.quantile(reference, np.linspace(0, 1, bins + 1))[1:-1])
    ours, theirs = (
        np.bincount(np.searchsorted(edges, values), minlength=len(edges) + 1)
        for values in (sample, reference)
    )
    ratio = len(sample) / len(reference)
    expected = theirs * ratio
    return np.sum((ours - expected) ** 2 / (expected * (1 + ratio)))


@pytest.mark.exhaustive
@pytest.mark.parametrize("shape", [(375, 500), (500, 333), (60, 200)])
def test_inception_windows_are_distributed_as_the_references(shape):
    ours, theirs = windows(shape, 3_000), reference_windows(shape, 12_000)
    quantities = {
        "area": lambda w: w[:, 2] * w[:, 3] / (shape[0] * shape[1]),
        "aspect": lambda w: w[:, 3] / w[:, 2],
        "top": lambda w: (w[:, 0] + 0.5) / (shape[0] - w[:, 2] + 1),
        "left": lambda w: (w[:, 1] + 0.5) / (shape[1] - w[:, 3] + 1),
    }
    for name, of in quantities.items():
        # 99.9 % quantile for 9 degrees of freedom.
        assert chi_squared(of(ours), of(theirs), 10) < 27.9, name
    square = (ours[:, 2] == ours[:, 3]) & (ours[:, 2] == min(shape))
    theirs = (theirs[:, 2] == theirs[:, 3]) & (theirs[:, 2] == min(shape))
    assert abs(square.mean() - theirs.mean()) < 0.03


def test_windows_lie_in_the_image_and_reach_its_ends():
    found = windows((7, 9), 2_000)
    bottom, right = found[:, 0] + found[:, 2], found[:, 1] + found[:, 3]
    assert found[:, :2].min() == 0 and found[:, 2:].min() >= 1
    assert (bottom.max(), right.max()) == (7, 9)


def test_an_image_of_no_fitting_window_gets_the_square_in_its_middle():
    assert windows((10, 400), 5, area=(0.9, 1.0)).tolist() == [[0, 195, 10, 10]] * 5


@pytest.mark.parametrize("seed", [1, 2])
def test_inception_crops_are_pillows(seed):
    pixels = np.random.default_rng(0).integers(0, 256, (80, 100, 3), np.uint8)
    seed, size = tf.constant((3, seed)), (90, 110)  # Larger than any crop.
    ours = inception_crop(pixels, seed, size=size, flip=False).numpy()
    window_seed = tf.unstack(tf.random.split(seed, 2))[0]
    window = random_window((80, 100), window_seed, area=AREA, aspect=ASPECT)
    top, left, height, width = window.numpy()
    crop = Image.fromarray(pixels).crop((left, top, left + width, top + height))
    theirs = np.asarray(crop.resize(size[::-1], Image.Resampling.BILINEAR), np.float32)
    assert ours.shape == (*size, 3) and ours.dtype == np.float32
    assert np.abs(ours - theirs).max() <= 1.01  # Pillow rounds, twice.


def test_inception_crops_flip_half_of_the_images():
    image = coordinates(40, 40)[..., 1:]
    draw = tf.function(lambda k: inception_crop(image, tf.stack([0, k]), size=(8, 8)))
    steps = [(d := draw(k).numpy())[0, 5, 0] - d[0, 2, 0] for k in tf.range(300)]
    assert 110 < np.sum(np.array(steps) < 0) < 190


def test_of_a_png_the_same_crop_is_cut():
    pixels = np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    for channels in (1, 3):
        crop = inception_crop(file.getvalue(), (3, 1), size=(9, 9), channels=channels)
        assert crop.shape == (9, 9, channels)
    np.testing.assert_array_equal(crop, inception_crop(pixels, (3, 1), size=(9, 9)))


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (adjust_brightness, ImageEnhance.Brightness),
        (adjust_contrast, ImageEnhance.Contrast),
        (adjust_saturation, ImageEnhance.Color),
    ],
)
@pytest.mark.parametrize("factor", [0.6, 1.4])
def test_colour_changes_are_pillows(ours, theirs, factor):
    image = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)
    expected = np.asarray(theirs(Image.fromarray(image)).enhance(factor), np.float32)
    changed = np.clip(ours(tf.constant(image, tf.float32), factor), 0, 255)
    # Pillow rounds the luma, and cuts the result.
    assert np.abs(changed - expected).max() < 1.5
    assert np.abs(changed - image).max() > 5


def test_jitter_takes_every_order_and_both_ends():
    image = tf.constant([[[200.0, 20.0, 60.0], [10.0, 90.0, 150.0]]])
    changes = (adjust_brightness, adjust_contrast, adjust_saturation)
    jitter = tf.function(lambda seed: color_jitter(image, seed, strength=0.4))
    orders, all_factors = set(), []
    for k in range(60):
        seed = tf.constant((k, 5))
        order_seed, factor_seed = tf.unstack(tf.random.split(seed, 2))
        order = tf.random.experimental.stateless_shuffle(tf.range(3), order_seed)
        factors = tf.random.stateless_uniform([3], factor_seed, 0.6, 1.4)
        expected = image
        for i in order.numpy():
            expected = changes[i](expected, factors[i])
        np.testing.assert_allclose(jitter(seed), expected, rtol=1e-4)
        orders.add(tuple(order.numpy()))
        all_factors.append(factors.numpy())
    assert len(orders) == 6
    assert np.min(all_factors) < 0.63 and np.max(all_factors) > 1.37


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


@pytest.mark.parametrize("function", [pca_color, color_jitter])
def test_colour_noise_needs_colours(function):
    with pytest.raises(ValueError, match="must have 3 channels"):
        function(np.zeros((4, 4, 1), np.float32), (0, 0))
