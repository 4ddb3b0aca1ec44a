"""Augmentation of training images as rows, which `data/` computes."""

import math
from dataclasses import dataclass
from typing import Literal

from keras_resnet.config.checks import (
    COUNT,
    NOT_NEGATIVE,
    POSITIVE,
    SHARE,
    check_numbers,
    check_range,
)


@dataclass(frozen=True, kw_only=True)
class PadCropFlip:
    """Padding of each side, a random crop of the original size, a random flip.

    ``mode`` says what the padding shows: zeros (of the normalized image) or the image,
    reflected.
    """

    padding: int
    flip: bool = True
    mode: Literal["zero", "reflect"] = "zero"

    def __post_init__(self) -> None:
        check_numbers(self, padding=NOT_NEGATIVE)
        if self.mode not in ("zero", "reflect"):
            raise ValueError(
                f"`mode` must be 'zero' or 'reflect'. Received: mode={self.mode!r}."
            )


@dataclass(frozen=True, kw_only=True)
class ScaleCropFlip:
    """Random shorter side, random crop of the network's input size, random flip.

    Attributes:
        shorter_side: Range in pixels, both ends included.
        color: Standard deviation of the PCA colour noise (Krizhevsky et al. 2012).
        flip: Whether half of the images are mirrored left to right.
    """

    shorter_side: tuple[int, int] = (256, 480)
    color: float = 0.1
    flip: bool = True

    def __post_init__(self) -> None:
        check_numbers(self, color=NOT_NEGATIVE)
        check_range(self, "shorter_side", 1, math.inf)


@dataclass(frozen=True, kw_only=True)
class InceptionCrop:
    """A crop of random area and aspect, resized to the input size; a random flip.

    Szegedy et al. 2015, sec. 6, as fb.resnet.torch has it.

    Attributes:
        area: Range of the crop's share of the image's area.
        aspect: Range of the crop's width over its height.
        jitter: Brightness, contrast and saturation change by up to this share, in
            random order.
        color: Standard deviation of the PCA colour noise.
        flip: Whether half of the images are mirrored left to right.
    """

    area: tuple[float, float] = (0.08, 1.0)
    aspect: tuple[float, float] = (3 / 4, 4 / 3)
    jitter: float = 0.4
    color: float = 0.1
    flip: bool = True

    def __post_init__(self) -> None:
        check_numbers(self, jitter=SHARE, color=NOT_NEGATIVE)
        check_range(self, "area", 0, 1)
        check_range(self, "aspect", 0, math.inf)


Augmentation = PadCropFlip | ScaleCropFlip | InceptionCrop


@dataclass(frozen=True, kw_only=True)
class MixUp:
    """Zhang et al. 2018: sums of two images and of their labels."""

    alpha: float

    def __post_init__(self) -> None:
        check_numbers(self, alpha=POSITIVE)


@dataclass(frozen=True, kw_only=True)
class CutMix:
    """Yun et al. 2019: a rectangle of one image in another, labels by area."""

    alpha: float

    def __post_init__(self) -> None:
        check_numbers(self, alpha=POSITIVE)


@dataclass(frozen=True, kw_only=True)
class RandAugment:
    """Cubuk et al. 2020: so many operations on each image, of this strength (0 to 1)."""

    operations: int
    strength: float

    def __post_init__(self) -> None:
        check_numbers(self, operations=COUNT, strength=SHARE)
