"""Random crops that are resized, as Keras layers; see `random_layers`."""

from typing import Any, Literal

import keras

from keras_resnet.data.augmentation import TRIES
from keras_resnet.data.random_layers import RandomImages

Interpolation = Literal["bilinear", "bicubic"]
# Of the shorter side of the image, what the usual center crop shows: 224 of 256 pixels.
CENTER = 0.875


class Resampling(RandomImages):
    """Common to crops that are resized: the result is a window of each image."""

    def __init__(
        self,
        size: int | tuple[int, int],
        interpolation: Interpolation = "bilinear",
        resize: int | None = None,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(seed, **kwargs)
        height, width = (size, size) if isinstance(size, int) else size
        self.size: tuple[int, int] = (height, width)
        self.interpolation: Interpolation = interpolation
        self.resize: int = round(max(self.size) / CENTER) if resize is None else resize
        if interpolation not in ("bilinear", "bicubic"):
            raise ValueError(
                "`interpolation` must be 'bilinear' or 'bicubic'. "
                f"Received: interpolation={interpolation!r}."
            )
        if self.resize < max(self.size):
            raise ValueError(
                "`resize`, the shorter side before the center crop at inference, must be "
                f"at least the crop's {max(self.size)} pixels. Received: {resize}."
            )

    def at_inference(self, images: Any) -> Any:
        """The images, resized, and the center cut out of them.

        Half of what is left over is rounded to even, as in torchvision.
        """
        sides = [self.backend.cast(s, "float32") for s in self._sides(images)]
        resized = self._scaled(sides, self.resize)
        corner = [
            self.backend.numpy.round((whole - out) / 2)
            for whole, out in zip(resized, self.size, strict=True)
        ]
        return self._cut_resized(images, resized, corner)

    def compute_output_shape(self, input_shape: Any) -> tuple[int | None, ...]:
        """The shape of the result for images of a shape."""
        shape = list(input_shape)
        first = -2 if self.data_format == "channels_first" else -3
        shape[first], shape[first + 1] = self.size
        return tuple(shape)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return super().get_config() | {
            "size": self.size,
            "interpolation": self.interpolation,
            "resize": self.resize,
        }

    def _sides(self, images: Any) -> tuple[Any, Any]:
        return self.backend.shape(images)[1:3]

    def _scaled(self, sides: list[Any], shorter_side: Any) -> list[Any]:
        """Height and width, when the shorter one has got a length."""
        ops = self.backend.numpy
        shortest = ops.minimum(*sides)
        return [ops.floor(side * shorter_side / shortest) for side in sides]

    def _cut_resized(self, images: Any, resized: list[Any], corner: list[Any]) -> Any:
        """Windows of ``size`` of images that are resized as a whole."""
        windows = []
        for side, whole, start, out in zip(
            self._sides(images), resized, corner, self.size, strict=True
        ):
            side = self.backend.cast(side, "float32")
            windows.append((start * side / whole, out * side / whole, 0.0, side))
        return self._resample(images, windows)

    def _resample(self, images: Any, windows: list[tuple[Any, Any, Any, Any]]) -> Any:
        """Windows of the images in ``size``, antialiased as by Pillow.

        Args:
            images: float32 ``(count, height, width, channels)``.
            windows: Of rows and of columns, in pixels and of shape ``(count,)`` or ``()``:
                where the window begins, how long it is, and between which ends the pixels
                lie that may be looked at.
        """
        count = self.backend.shape(images)[0]
        rows, columns = (
            self._weights(count, length, out, *window)
            for length, out, window in zip(
                self._sides(images), self.size, windows, strict=True
            )
        )
        # Two products of matrices, which every backend and XLA does fast.
        images = self.backend.numpy.einsum("nyh,nhwc->nywc", rows, images)
        return self.backend.numpy.einsum("nxw,nywc->nyxc", columns, images)

    def _weights(self, count: Any, length: Any, out: int, *window: Any) -> Any:
        """Of each old pixel in each new one, ``(count, out, length)``."""
        ops = self.backend.numpy
        start, extent, low, high = (
            ops.reshape(ops.add(value, ops.zeros((count,), "float32")), (-1, 1, 1))
            for value in window
        )
        old = ops.arange(length, dtype="float32")[None, None, :] + 0.5
        new = ops.arange(out, dtype="float32")[None, :, None] + 0.5
        scale = extent / out  # Old pixels per new one.
        distance = ops.abs(old - start - new * scale) / ops.maximum(scale, 1.0)
        weights = _kernel(ops, self.interpolation, distance)
        weights = ops.where((old > low) & (old < high), weights, 0.0)
        return weights / ops.sum(weights, axis=-1, keepdims=True)


@keras.saving.register_keras_serializable(package="keras_resnet")
class RandomInceptionCrop(Resampling):
    """Cuts a part of random area and aspect out of each image, and resizes it.

    Szegedy et al. 2015, sec. 6, as fb.resnet.torch has it (datasets/transforms.lua,
    RandomSizedCrop): ten parts are drawn for each image, the first that fits is taken,
    and if none fits, the largest square in the middle. Elsewhere it is called "random
    resized crop". At inference the shorter side is resized and the center cut out.

    Args:
        size: Height and width of the result, or the side of a square.
        area: Smallest and largest share of the image's area.
        aspect: Smallest and largest width over height.
        interpolation: ``"bilinear"`` or ``"bicubic"``; antialiased.
        resize: At inference the length of the shorter side before the center crop; by
            default `size` / 0.875 (256 pixels for 224).
        seed: Integer, or `None` for another one each time.
        **kwargs: Of `keras.layers.Layer`, and ``data_format``.

    Raises:
        ValueError: If ``area`` or ``aspect`` is no range, ``resize`` is smaller than
            ``size``, or ``interpolation`` is another.
    """

    def __init__(
        self,
        size: int | tuple[int, int],
        area: tuple[float, float] = (0.08, 1.0),
        aspect: tuple[float, float] = (3 / 4, 4 / 3),
        interpolation: Interpolation = "bilinear",
        resize: int | None = None,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(size, interpolation, resize, seed, **kwargs)
        if not (0 < area[0] <= area[1] <= 1 and 0 < aspect[0] <= aspect[1]):
            raise ValueError(
                "`area` must be a range in (0, 1] and `aspect` one of positive numbers. "
                f"Received: area={area}, aspect={aspect}."
            )
        self.area: tuple[float, float] = tuple(area)
        self.aspect: tuple[float, float] = tuple(aspect)

    def draw(self, uniform: Any, count: Any, height: Any, width: Any) -> dict[str, Any]:
        """Top, left, height and width of a part of each image, in pixels."""
        ops = self.backend.numpy
        height, width = (self.backend.cast(s, "float32") for s in (height, width))
        areas, ratios, turned, tops, lefts = (uniform((count, TRIES)) for _ in range(5))
        pixels = _between(self.area, areas) * height * width
        ratios = _between(self.aspect, ratios)
        ratios = ops.where(turned < 0.5, 1 / ratios, ratios)
        heights = ops.maximum(ops.round(ops.sqrt(pixels / ratios)), 1.0)
        widths = ops.maximum(ops.round(ops.sqrt(pixels * ratios)), 1.0)
        fits = (heights <= height) & (widths <= width)
        first = ops.argmax(self.backend.cast(fits, "int32"), axis=1)
        chosen = self.backend.cast(
            first[:, None] == ops.arange(TRIES, dtype=first.dtype)[None], "float32"
        )

        def of_first(values: Any) -> Any:
            return ops.sum(values * chosen, axis=1)

        any_fits, side = ops.any(fits, axis=1), ops.minimum(height, width)
        drawn = {}
        for names, whole, lengths, places in (
            (("top", "height"), height, heights, tops),
            (("left", "width"), width, widths, lefts),
        ):
            length = of_first(lengths)
            start = self.integers(of_first(places), whole - length + 1)
            middle = ops.floor((whole - side) / 2)
            drawn[names[0]] = ops.where(any_fits, start, middle)
            drawn[names[1]] = ops.where(any_fits, length, side)
        return drawn

    def change(self, images: Any, drawn: dict[str, Any]) -> Any:
        """The parts, resized."""
        windows = [
            (drawn[start], drawn[extent], drawn[start], drawn[start] + drawn[extent])
            for start, extent in (("top", "height"), ("left", "width"))
        ]
        return self._resample(images, windows)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return super().get_config() | {"area": self.area, "aspect": self.aspect}


@keras.saving.register_keras_serializable(package="keras_resnet")
class RandomScaleCrop(Resampling):
    """Resizes each image to a random shorter side, and crops at a random place.

    He et al. 2016a, sec. 3.4. At inference the shorter side is resized to ``resize`` and
    the center cut out.

    Args:
        size: Height and width of the result, or the side of a square.
        shorter_side: Smallest and largest length in pixels of the shorter side; all from
            one to the other are equally probable.
        interpolation: ``"bilinear"`` or ``"bicubic"``; antialiased.
        resize: At inference the length of the shorter side before the center crop; by
            default `size` / 0.875 (256 pixels for 224).
        seed: Integer, or `None` for another one each time.
        **kwargs: Of `keras.layers.Layer`, and ``data_format``.

    Raises:
        ValueError: If the crop doesn't fit into the smallest scale, ``resize`` is smaller
            than ``size``, or ``interpolation`` is another.
    """

    def __init__(
        self,
        size: int | tuple[int, int],
        shorter_side: tuple[int, int] = (256, 480),
        interpolation: Interpolation = "bilinear",
        resize: int | None = None,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(size, interpolation, resize, seed, **kwargs)
        if not max(self.size) <= shorter_side[0] <= shorter_side[1]:
            raise ValueError(
                "`shorter_side` must be a range that starts at `size` or above. "
                f"Received: shorter_side={tuple(shorter_side)}, size={self.size}."
            )
        self.shorter_side: tuple[int, int] = tuple(shorter_side)

    def draw(self, uniform: Any, count: Any, height: Any, width: Any) -> dict[str, Any]:
        """Height and width of each image, and top and left of the crop in it."""
        smallest, largest = self.shorter_side
        side = smallest + self.integers(uniform((count,)), largest - smallest + 1.0)
        sides = [self.backend.cast(s, "float32") for s in (height, width)]
        resized = self._scaled(sides, side)
        top, left = (
            self.integers(uniform((count,)), whole - out + 1)
            for whole, out in zip(resized, self.size, strict=True)
        )
        return {"resized": resized, "corner": [top, left]}

    def change(self, images: Any, drawn: dict[str, Any]) -> Any:
        """The crops of the resized images."""
        return self._cut_resized(images, drawn["resized"], drawn["corner"])

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return super().get_config() | {"shorter_side": self.shorter_side}


def _between(ends: tuple[float, float], share: Any) -> Any:
    return ends[0] + (ends[1] - ends[0]) * share


def _kernel(ops: Any, interpolation: Interpolation, distance: Any) -> Any:
    """The weight of a pixel at a distance: a triangle, or Keys's cubic (a = -0.5)."""
    if interpolation == "bilinear":
        return ops.maximum(1 - distance, 0.0)
    near = (1.5 * distance - 2.5) * distance**2 + 1
    far = ((2.5 - 0.5 * distance) * distance - 4) * distance + 2
    return ops.where(distance < 1, near, ops.where(distance < 2, far, 0.0))
