"""An independent forward pass in NumPy, for the tests of blocks, shortcuts and stems.

Written from the papers' figures, in float64, with the weights of a built model.
"""

import math

import keras
import numpy as np


def conv(x, kernel, *, stride=1, dilation=1, groups=1):
    """Cross-correlation with zeros on both sides, as torch's ``padding``."""
    size = kernel.shape[0]
    border = dilation * (size // 2)
    x = np.pad(x, [(0, 0), (border, border), (border, border), (0, 0)])
    extent = dilation * (size - 1) + 1
    height, width = ((side - extent) // stride + 1 for side in x.shape[1:3])
    outputs = []
    split = x.shape[3] // groups, kernel.shape[3] // groups
    for group in range(groups):
        part = x[..., group * split[0] : (group + 1) * split[0]]
        filters = kernel[..., group * split[1] : (group + 1) * split[1]]
        y = 0
        for i in range(size):
            for j in range(size):
                top, left = i * dilation, j * dilation
                rows = slice(top, top + stride * (height - 1) + 1, stride)
                columns = slice(left, left + stride * (width - 1) + 1, stride)
                y = y + part[:, rows, columns] @ filters[i, j]
        outputs.append(y)
    return np.concatenate(outputs, axis=3)


def max_pool(x, *, border=-np.inf, padding=(1, 1)):
    """3x3, stride 2, with ``padding`` pixels of ``border`` before and behind."""
    x = np.pad(
        x, [(0, 0), padding, padding, (0, 0)], constant_values=border
    )  # fmt: skip
    height, width = ((side - 3) // 2 + 1 for side in x.shape[1:3])
    windows = [
        x[:, i : i + 2 * height - 1 : 2, j : j + 2 * width - 1 : 2]
        for i in range(3)
        for j in range(3)
    ]
    return np.max(windows, axis=0)


def average_pool(x):
    """2x2, stride 2; of the last row of an odd number what there is."""
    height, width = ((side + 1) // 2 for side in x.shape[1:3])
    y = np.empty((x.shape[0], height, width, x.shape[3]))
    for i in range(height):
        for j in range(width):
            window = x[:, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2]
            y[:, i, j] = window.mean(axis=(1, 2))
    return y


def relu(x):
    """The positive part."""
    return np.maximum(x, 0)


def leaky(x, slope=0.1):
    """Leaky ReLU, with DarkNet's slope."""
    return np.where(x > 0, x, slope * x)


def sigmoid(x):
    """The logistic function."""
    return 1 / (1 + np.exp(-x))


def subsampled_and_padded(x, channels, stride=2):
    """Option A: every second pixel, then zeros behind the channels."""
    x = x[:, ::stride, ::stride]
    return np.concatenate([x, np.zeros((*x.shape[:3], channels - x.shape[3]))], axis=3)


class Reference:
    """Convolution and batch norm with the weights of a built model, by layer name."""

    def __init__(self, model):
        self.weights = {
            "/".join(w.path.split("/")[-2:]): keras.ops.convert_to_numpy(w)
            for w in model.weights
        }

    def conv(self, x, name, **options):
        """A convolution, with its bias if it has one."""
        bias = self.weights.get(f"{name}_conv/bias", 0)
        return conv(x, self.weights[f"{name}_conv/kernel"], **options) + bias

    def norm(self, x, name):
        """Batch norm with the moving statistics."""
        gamma, beta, mean, variance = (
            self.weights[f"{name}_bn/{part}"]
            for part in ("gamma", "beta", "moving_mean", "moving_variance")
        )
        return gamma * (x - mean) / np.sqrt(variance + 1e-5) + beta

    def conv_norm(self, x, name, **options):
        """A convolution, then batch norm."""
        return self.norm(self.conv(x, name, **options), name)

    def unit(self, x, name, **options):
        """A convolution, batch norm, ReLU."""
        return relu(self.conv_norm(x, name, **options))

    def gate(self, x, name, stride=1):
        """A sigmoid of a 1x1 convolution."""
        kernel, bias = (self.weights[f"{name}_gate/{w}"] for w in ("kernel", "bias"))
        return sigmoid(conv(x, kernel, stride=stride) + bias)


def with_random_weights(model, seed=0):
    """Weights and statistics far from those that a new network starts with."""
    random = np.random.default_rng(seed)
    for weight in model.weights:
        if weight.path.endswith("kernel"):
            scale = np.sqrt(1 / math.prod(weight.shape[:-1]))
            value = random.normal(0, scale, weight.shape)
        elif weight.path.endswith(("gamma", "variance")):
            value = random.uniform(0.5, 2, weight.shape)
        elif "seed_generator" in weight.path:
            continue
        else:
            value = random.normal(0, 0.5, weight.shape)
        weight.assign(value)
    return model


def images(*shape, seed=1):
    """Normal numbers, float32."""
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def model_of(function, shape):
    """A model of one function of feature maps, with random weights."""
    inputs = keras.Input(shape)
    return with_random_weights(keras.Model(inputs, function(inputs)))


def called(model, x, training=False):
    """As `model.predict`, without the seconds of tracing a graph."""
    y = model(x, training=training) if isinstance(model, keras.Model) else model(x)
    return keras.ops.convert_to_numpy(keras.ops.stop_gradient(y))


def assert_close(model, x, expected):
    """Float32 against float64, over values of about 1 to 10."""
    assert expected.shape == called(model, x).shape
    np.testing.assert_allclose(called(model, x), expected, atol=2e-5)
