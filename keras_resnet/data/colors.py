"""Random changes of an image's colours: the same seed gives the same result."""

from __future__ import annotations

from keras_resnet.data.order import split_seed
from keras_resnet.devices.host import Tensor, tensorflow

# Eigenvalues and eigenvectors (in columns) of the covariance of ImageNet's RGB values
# in [0, 1]: fb.resnet.torch, datasets/imagenet.lua.
PCA_EIGENVALUES = (0.2175, 0.0188, 0.0045)


PCA_EIGENVECTORS = (
    (-0.5675, 0.7192, 0.4009),
    (-0.5808, -0.0045, -0.8140),
    (-0.5836, -0.6948, 0.4203),
)


# What of each channel is seen as brightness: fb.resnet.torch, datasets/transforms.lua.
LUMA = (0.299, 0.587, 0.114)


def color_jitter(image: Tensor, seed: Tensor, *, strength: float = 0.4) -> Tensor:
    """Changes brightness, contrast and saturation, in random order.

    Each is multiplied by a factor of its own, uniform in ``1 - strength`` to ``1 +
    strength``; fb.resnet.torch, datasets/transforms.lua, ColorJitter. Like there, and
    unlike in torchvision, values are neither rounded nor clipped.

    Args:
        image: float32 tensor ``(height, width, 3)``, RGB values from 0 to 255.
        seed: Integer tensor ``(2,)``.
        strength: Largest change.

    Returns:
        Tensor like ``image``. Values may leave [0, 255].

    Raises:
        ValueError: If the image isn't RGB.
    """
    tf = tensorflow()
    _check_rgb(image)
    order_seed, factor_seed = split_seed(seed, 2)
    order = tf.random.experimental.stateless_shuffle(tf.range(3), order_seed)
    factors = tf.random.stateless_uniform([3], factor_seed, 1 - strength, 1 + strength)
    changes = [adjust_brightness, adjust_contrast, adjust_saturation]
    for k in range(3):
        branches = [
            lambda image=image, change=change, factor=factor: change(image, factor)
            for change, factor in zip(changes, tf.unstack(factors), strict=True)
        ]
        image = tf.switch_case(order[k], branches)
    return image


def adjust_brightness(image: Tensor, factor: float | Tensor) -> Tensor:
    """Blends an image with black. Takes and returns RGB images as float32."""
    return image * factor


def adjust_contrast(image: Tensor, factor: float | Tensor) -> Tensor:
    """Blends an image with its mean luma. Takes and returns RGB images as float32."""
    tf = tensorflow()
    return image * factor + (1 - factor) * tf.reduce_mean(_luma(image))


def adjust_saturation(image: Tensor, factor: float | Tensor) -> Tensor:
    """Blends an image with its luma. Takes and returns RGB images as float32."""
    return image * factor + (1 - factor) * _luma(image)


def _luma(image):
    tf = tensorflow()
    return tf.linalg.matvec(image, tf.constant(LUMA))[..., tf.newaxis]


def pca_color(image: Tensor, seed: Tensor, *, alpha_std: float = 0.1) -> Tensor:
    """Shifts the colours along their principal components; Krizhevsky et al. 2012,
    sec. 4.1.

    Args:
        image: float32 tensor ``(height, width, 3)``, RGB values from 0 to 255.
        seed: Integer tensor ``(2,)``.
        alpha_std: Standard deviation of the factors of the three eigenvalues.

    Returns:
        Tensor like ``image``. Values may leave [0, 255], as in fb.resnet.torch.

    Raises:
        ValueError: If the image isn't RGB.
    """
    tf = tensorflow()
    _check_rgb(image)
    alpha = tf.random.stateless_normal([3], seed, stddev=alpha_std)
    shift = tf.linalg.matvec(PCA_EIGENVECTORS, alpha * PCA_EIGENVALUES)
    return image + 255.0 * shift


def _check_rgb(image):
    if image.shape[-1] != 3:
        raise ValueError(
            f"`image` must have 3 channels. Received: an image of shape {image.shape}. "
            "Switch the colour noise off for greyscale images."
        )
