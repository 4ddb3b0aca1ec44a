"""ROIAlign, against torchvision's operator: values and gradients."""

import itertools

import keras
import numpy as np
import pytest

from keras_resnet.analysis.differentiation import value_and_gradients
from keras_resnet.detection import roi_align, roi_pooling
from tests.helpers.backends import BACKENDS, of_backend

STRIDE, CHANNELS = 8, 3
HEIGHT, WIDTH = 12, 17  # Of the map.
CASES = list(itertools.product((0, 2), (False, True), (7, 14)))


def feature_map():
    return np.random.default_rng(0).normal(size=(2, HEIGHT, WIDTH, CHANNELS))


def boxes():
    """Inside, outside, empty, on the grid of pixels, and as large as the image."""
    rng = np.random.default_rng(1)
    corners = rng.uniform(-20, 90, (2, 8, 2))
    real = np.concatenate([corners, corners + rng.uniform(0, 60, corners.shape)], -1)
    fixed = [
        [8, 16, 64, 80],  # On the grid.
        [0, 0, WIDTH * STRIDE, HEIGHT * STRIDE],
        [20, 20, 20, 20],  # Empty.
        [20, 20, 60, 20],
        [-60, -60, -20, -20],  # Outside.
        [WIDTH * STRIDE - 4, HEIGHT * STRIDE - 4, WIDTH * STRIDE, HEIGHT * STRIDE],
    ]
    return np.concatenate([real, np.broadcast_to(fixed, (2, 6, 4))], 1)


def weights(size):
    """What pooled values are multiplied by, for a scalar to differentiate."""
    shape = (2, boxes().shape[1], size, size, CHANNELS)
    return np.random.default_rng(2).normal(size=shape).astype("float32")


def methods(ratio):
    if ratio == 0:
        return ("dense",)
    crop = keras.backend.backend() == "tensorflow"
    return ("gather", "crop", "dense") if crop else ("gather", "dense")


def write(path):
    """What this backend pools, and the gradients, for each case and method."""
    results = {}
    for ratio, aligned, size in CASES:
        for method in methods(ratio):

            def pooled(maps, size=size, ratio=ratio, aligned=aligned, method=method):
                return roi_align(
                    maps,
                    keras.ops.convert_to_tensor(boxes(), "float32"),
                    [STRIDE],
                    size,
                    sampling_ratio=ratio,
                    aligned=aligned,
                    method=method,
                )

            def weighted(maps, size=size, pooled=pooled):
                return keras.ops.sum(
                    pooled(maps) * keras.ops.convert_to_tensor(weights(size))
                )

            maps = [keras.ops.convert_to_tensor(feature_map(), "float32")]
            _, (gradient,) = value_and_gradients(weighted)(maps)
            name = f"{ratio}, {aligned}, {size}, {method}"
            results[name] = keras.ops.convert_to_numpy(pooled(maps))
            results[f"{name}, gradient"] = keras.ops.convert_to_numpy(gradient)
    np.savez(path, **results)


@pytest.mark.parity
@pytest.mark.multiprocess
@pytest.mark.parametrize("backend", BACKENDS)
def test_it_is_torchvisions(backend, results, torch, torchvision_operators):
    found = of_backend(results, backend)
    rois = [torch.tensor(one, dtype=torch.float32) for one in boxes()]
    for ratio, aligned, size in CASES:
        x = torch.tensor(feature_map().transpose(0, 3, 1, 2), dtype=torch.float32)
        x.requires_grad_()
        pooled = torchvision_operators.ops.roi_align(
            x, rois, size, 1 / STRIDE, ratio or -1, aligned
        )
        pooled = pooled.permute(0, 2, 3, 1).reshape(weights(size).shape)
        (pooled * torch.from_numpy(weights(size))).sum().backward()
        gradient = x.grad.permute(0, 2, 3, 1).numpy()
        named = {
            name.rpartition(", ")[2]: value
            for name, value in found.items()
            if name.startswith(f"{ratio}, {aligned}, {size}, ")
            and not name.endswith("gradient")
        }
        assert named
        for method, value in named.items():
            case = f"{ratio}, {aligned}, {size}, {method}"
            np.testing.assert_allclose(
                value, pooled.detach(), rtol=0, atol=1e-4, err_msg=case
            )
            np.testing.assert_allclose(
                found[f"{case}, gradient"], gradient, rtol=0, atol=1e-3, err_msg=case
            )


@pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="crop_and_resize is TensorFlow's"
)
def test_threads_lose_nothing_of_the_gradient():
    # On several cores TensorFlow's own of `crop_and_resize` does, where boxes overlap.
    rng = np.random.default_rng(0)
    corners = rng.uniform(0, 100, (2, 64, 2))
    # Some are larger than 112, up to which they belong to the first map.
    sides = rng.uniform(50, 150, corners.shape)
    large = np.concatenate([corners, corners + sides], -1).astype("float32")
    maps = [
        rng.normal(size=(2, side, side, 128)).astype("float32") for side in (64, 32)
    ]
    factors = rng.normal(size=(2, 64, 7, 7, 128)).astype("float32")

    def gradients(method):
        def weighted(maps):
            pooled = roi_align(maps, large, [4, 8], method=method)
            return keras.ops.sum(pooled * factors)

        return map(keras.ops.convert_to_numpy, value_and_gradients(weighted)(maps)[1])

    expected = list(gradients("gather"))
    assert all(np.abs(one).max() > 1 for one in expected)
    for _ in range(10):
        for found, one in zip(gradients("crop"), expected, strict=True):
            np.testing.assert_allclose(found, one, rtol=0, atol=1e-4)


@pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="crop_and_resize is TensorFlow's"
)
@pytest.mark.parametrize(("gpus", "taken"), [([], "crop"), (["gpu:0"], "gather")])
def test_gpus_gather(gpus, taken, monkeypatch):
    monkeypatch.setattr(keras.distribution, "list_devices", {"gpu": gpus}.get)
    assert roi_pooling._fastest(2) == taken


def test_a_box_is_pooled_from_the_map_that_fits_its_size():
    # 112, 224 and 448 pixels belong to strides 8, 16 and 32: Lin et al. 2017, eq. 1.
    strides = [4, 8, 16, 32]
    maps = [
        keras.ops.full((1, 512 // stride, 512 // stride, 1), float(stride))
        for stride in strides
    ]
    sides = [10, 111, 112, 223, 224, 447, 448]
    squares = np.array([[[16, 16, 16 + side, 16 + side] for side in sides]], "float32")
    pooled = keras.ops.convert_to_numpy(roi_align(maps, squares, strides, 1))
    np.testing.assert_allclose(pooled.ravel(), [4, 4, 8, 8, 16, 16, 32])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "dens"}, "must be 'gather', 'crop', 'dense'"),
        ({"sampling_ratio": 0, "method": "gather"}, "needs `method='dense'`"),
        ({"sampling_ratio": 0}, "pools from one feature map"),
    ],
)
def test_what_a_method_can_not_do_is_refused(options, message):
    maps = [np.zeros((1, 4, 4, 1), "float32")] * 2
    with pytest.raises(ValueError, match=message):
        roi_align(maps, np.zeros((1, 1, 4), "float32"), [4, 8], **options)
