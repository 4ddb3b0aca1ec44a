"""Random changes of colours as Keras layers, as of `data.random_layers`."""

from typing import Any

import keras

from keras_resnet.data.colors import LUMA, PCA_EIGENVALUES, PCA_EIGENVECTORS
from keras_resnet.data.random_layers import RandomImages


@keras.saving.register_keras_serializable(package="keras_resnet")
class RandomColorBlend(RandomImages):
    """Changes brightness, contrast and saturation by random factors, in random order.

    Each is multiplied by a factor of its own, uniform in ``1 - strength`` to ``1 +
    strength``, which blends the image with black, its mean grey and its greys:
    fb.resnet.torch (datasets/transforms.lua, ColorJitter). Keras's `RandomColorJitter`
    adds to the brightness instead, and keeps an order. At inference it returns the images
    as they are.

    Args:
        strength: Largest change of a factor, in [0, 1].
        seed: Integer, or `None` for another one each time.
        **kwargs: Of `keras.layers.Layer`, and ``data_format``.

    Raises:
        ValueError: If ``strength`` is outside [0, 1], or images aren't RGB. Values may
            leave the range that those of the images have.
    """

    def __init__(
        self, strength: float = 0.4, seed: int | None = None, **kwargs: Any
    ) -> None:
        super().__init__(seed, **kwargs)
        if not 0 <= strength <= 1:
            raise ValueError(
                f"`strength` must be in [0, 1]. Received: strength={strength}."
            )
        self.strength: float = strength

    def draw(self, uniform: Any, count: Any, height: Any, width: Any) -> dict[str, Any]:
        """A factor of each change and image, and which place each change has."""
        ops = self.backend.numpy
        # The ranks of three numbers are a random order.
        order = ops.argsort(uniform((count, 3)), axis=1)
        factors = 1 + self.strength * (2 * uniform((count, 3)) - 1)
        return {"order": order, "factors": factors}

    def change(self, images: Any, drawn: dict[str, Any]) -> Any:
        """The images, changed three times."""
        self._check_rgb(images)
        ops = self.backend.numpy
        for place in range(3):
            which = drawn["order"][:, place][:, None, None, None]
            factor = ops.take_along_axis(
                drawn["factors"], drawn["order"][:, place : place + 1], axis=1
            )[:, :, None, None]
            red, green, blue = (LUMA[c] * images[..., c : c + 1] for c in range(3))
            grey = red + green + blue
            mean = ops.mean(grey, axis=(1, 2, 3), keepdims=True)
            other = ops.where(which == 0, 0.0, ops.where(which == 1, mean, grey))
            images = factor * images + (1 - factor) * other
        return images

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return super().get_config() | {"strength": self.strength}


@keras.saving.register_keras_serializable(package="keras_resnet")
class RandomPCAColor(RandomImages):
    """Shifts the colours of each image along their principal components in ImageNet.

    Krizhevsky et al. 2012, sec. 4.1, with the components of fb.resnet.torch. At inference
    it returns the images as they are.

    Args:
        alpha_std: Standard deviation of the factors of the three eigenvalues.
        scale: Largest value of a pixel: 255 or 1. Results may leave that range.
        seed: Integer, or `None` for another one each time.
        **kwargs: Of `keras.layers.Layer`, and ``data_format``.

    Raises:
        ValueError: If images aren't RGB.
    """

    def __init__(
        self,
        alpha_std: float = 0.1,
        scale: float = 255.0,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(seed, **kwargs)
        self.alpha_std: float = alpha_std
        self.scale: float = scale

    def draw(self, uniform: Any, count: Any, height: Any, width: Any) -> dict[str, Any]:
        """The shift of each image's channels, ``(count, 3)``."""
        ops = self.backend.numpy
        # Box and Muller's: normal numbers from uniform ones.
        radius = ops.sqrt(-2.0 * ops.log1p(-uniform((count, 3))))
        alpha = self.alpha_std * radius * ops.cos(6.2831853 * uniform((count, 3)))
        shift = sum(
            (alpha[:, k : k + 1] * PCA_EIGENVALUES[k])
            * ops.array([[row[k] for row in PCA_EIGENVECTORS]], "float32")
            for k in range(3)
        )
        return {"shift": self.scale * shift}

    def change(self, images: Any, drawn: dict[str, Any]) -> Any:
        """The images, with their channels shifted."""
        self._check_rgb(images)
        return images + drawn["shift"][:, None, None, :]

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return super().get_config() | {
            "alpha_std": self.alpha_std,
            "scale": self.scale,
        }
