"""How images are prepared for a network, as rows.

The preprocessing is written into a run's record and stays with the trained weights, since
a network whose images are prepared otherwise than in training loses much accuracy.
"""

import math
import reprlib
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from keras_resnet.config.checks import is_integer
from keras_resnet.config.spec import ResNetSpec
from keras_resnet.config.values import from_values

CHOICES = {
    "channel_order": ("rgb", "bgr"),
    "interpolation": ("bilinear", "bicubic"),
    "crop_rounding": ("floor", "round", "ceil"),
}
# Where the central crop begins if what is left over beside it, or above, is odd: at half of
# that, rounded as the source of a network rounds it. One pixel, but of 159 grey levels.
CROP_ROUNDING: dict[str, Literal["floor", "round", "ceil"]] = {
    "torchvision": "round",  # transforms/functional.py, center_crop: half to even.
    "timm": "round",  # Its evaluation transform is torchvision's.
    "drn": "round",  # fyu/drn classify.py: torchvision's.
    "nvidia": "round",  # DeepLearningExamples, image_classification/dataloaders.py: same.
    "fb.resnet.torch": "ceil",  # datasets/transforms.lua, CenterCrop; so ResNeXt's.
    "caffe": "floor",  # src/caffe/data_transformer.cpp.
    "darknet": "floor",  # examples/classifier.c.
    "mxnet": "floor",  # src/io/image_aug_default.cc, for gluon-cv's bag of tricks.
    "keras": "floor",  # KerasHub's crop, in ops.image.resize; keras.applications has none.
}
# What records of before these fields mean: how images were prepared then.
EARLIER: dict[str, Any] = {
    "crop_rounding": "floor",
    "exif_orientation": False,
    "bit_depth": 16,
}
# The bits that values of a file of 16 bits per channel may take.
BIT_DEPTHS = range(8, 17)


@dataclass(frozen=True, kw_only=True)
class Preprocessing:
    """How an image file becomes the input of a network, in this order.

    Attributes:
        channels: 1 (greyscale) or 3 (RGB), as which the file is decoded.
        resize: Length in pixels of the shorter side after resizing (antialiased, aspect
            kept), before a central crop of ``size``. `None` resizes straight to
            ``size``.
        size: Height and width in pixels of the network's input.
        mean: Subtracted from pixel values in [0, 255]: one value per channel, in
            ``channel_order``, or nested (height, width, channels) for a mean per pixel.
        std: Divides the difference: one value per channel, in ``channel_order``.
        channel_order: Of the network's input: ``"bgr"`` reverses the channels after
            the crop, as networks trained with Caffe want them.
        interpolation: Of the resizing; ``"bicubic"`` is Pillow's (a = -0.5).
        crop_rounding: How half of what the central crop leaves is rounded where it is odd:
            ``"floor"``, ``"round"`` (half to even, as torchvision does) or ``"ceil"``.
        exif_orientation: Whether files are turned as their EXIF orientation says, before
            all else. Published protocols for ImageNet don't: a row of one says `False`.
        bit_depth: How many bits the values take in files of 16 bits per channel, from 8
            to 16: of 12, values from 0 to 4095 become 0 to 255, and larger ones 255.
            Files of 8 bits stay as they are.
    """

    channels: int
    resize: int | None
    size: tuple[int, int]
    mean: tuple[Any, ...]
    std: tuple[float, ...]
    channel_order: Literal["rgb", "bgr"] = "rgb"
    interpolation: Literal["bilinear", "bicubic"] = "bilinear"
    # The defaults are for a user's own images. Earlier records mean `EARLIER`.
    crop_rounding: Literal["floor", "round", "ceil"] = "round"
    exif_orientation: bool = True
    bit_depth: int = 16

    def __post_init__(self) -> None:
        for name, choices in CHOICES.items():
            if getattr(self, name) not in choices:
                raise ValueError(
                    f"`{name}` must be one of {', '.join(map(repr, choices))}. "
                    f"Received: {name}={getattr(self, name)!r}."
                )
        if not is_integer(self.bit_depth, BIT_DEPTHS[0], BIT_DEPTHS[-1]):
            raise ValueError(
                f"`bit_depth` must be an integer from {BIT_DEPTHS[0]} to "
                f"{BIT_DEPTHS[-1]}. Received: bit_depth={self.bit_depth!r}."
            )
        if self.channels not in (1, 3):
            raise ValueError(
                f"`channels` must be 1 or 3. Received: channels={self.channels}."
            )
        if len(self.size) != 2 or not all(is_integer(side, 1) for side in self.size):
            raise ValueError(
                "`size` must be two positive integers, height and width. "
                f"Received: size={self.size}."
            )
        if not _has_shape(self.std, (self.channels,)) or min(self.std) <= 0:
            raise ValueError(
                f"`std` must hold {self.channels} positive, finite values, one per "
                f"channel. Received: std={self.std}."
            )
        if not (
            _has_shape(self.mean, (self.channels,))
            or _has_shape(self.mean, (*self.size, self.channels))
        ):
            raise ValueError(
                f"`mean` must hold {self.channels} finite values, one per channel, or "
                f"nested tuples of shape {(*self.size, self.channels)}, one value per "
                f"pixel and channel. Received: mean={reprlib.repr(self.mean)}."
            )
        if self.resize is not None and self.resize < max(self.size):
            raise ValueError(
                "`resize` must not be smaller than the crop. "
                f"Received: resize={self.resize}, size={self.size}."
            )

    def as_json(self) -> dict[str, Any]:
        """The values as `json.dumps` takes them."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "Preprocessing":
        """The inverse of `as_json`, after a round trip through JSON; see `EARLIER`.

        Raises:
            ValueError: If a key is missing or unknown, or a value impossible; it names
                the key.
        """
        if isinstance(values, dict):
            values = EARLIER | values
        return from_values(cls, values, "preprocessing")


def _has_shape(values, shape):
    """Whether nested sequences of finite numbers are of this shape in every part."""
    if not shape:
        return isinstance(values, (int, float)) and math.isfinite(values)
    return (
        isinstance(values, (tuple, list))
        and len(values) == shape[0]
        and all(_has_shape(value, shape[1:]) for value in values)
    )


# Channel statistics of the training sets, in pixel values from 0 to 255.
# ImageNet: torchvision's (0.485, 0.456, 0.406) and (0.229, 0.224, 0.225).
IMAGENET_MEAN: tuple[float, ...] = (123.675, 116.28, 103.53)
IMAGENET_STD: tuple[float, ...] = (58.395, 57.12, 57.375)
# CIFAR-10: fb.resnet.torch, datasets/cifar10.lua.
CIFAR10_MEAN: tuple[float, ...] = (125.3, 123.0, 113.9)
CIFAR10_STD: tuple[float, ...] = (63.0, 62.1, 66.7)


def for_input(
    preprocessing: Preprocessing,
    size: tuple[int | None, int | None],
    channels: int,
) -> Preprocessing:
    """The preprocessing for a network whose input has another size or one channel.

    Args:
        preprocessing: To change.
        size: Height and width of the input, each in pixels or `None` for any.
        channels: Of the input. For one channel, the mean and the deviation are the means
            of the three; for more than three nothing is changed.
    """
    if channels == 1 and _has_shape(preprocessing.mean, (3,)):
        preprocessing = replace(
            preprocessing,
            channels=1,
            mean=(sum(preprocessing.mean) / 3,),
            std=(sum(preprocessing.std) / 3,),
            channel_order="rgb",
        )
    size = tuple(size)
    per_pixel = not _has_shape(preprocessing.mean, (preprocessing.channels,))
    if None in size or size == preprocessing.size or per_pixel:
        return preprocessing
    resize = preprocessing.resize
    if resize is not None:  # The crop keeps its share of the image.
        share = max(size) / max(preprocessing.size)
        resize = max(round(resize * share), *size)
    return replace(preprocessing, size=size, resize=resize)


def without_normalization(preprocessing: Preprocessing) -> Preprocessing:
    """The preprocessing for a network that normalizes the images itself."""
    return replace(
        preprocessing,
        mean=(0.0,) * preprocessing.channels,
        std=(1.0,) * preprocessing.channels,
        channel_order="rgb",
    )


def default_preprocessing(spec: ResNetSpec) -> Preprocessing:
    """The preprocessing of the data set that a network was published for."""
    if spec.dataset == "cifar10":
        return Preprocessing(
            channels=3, resize=None, size=(32, 32), mean=CIFAR10_MEAN, std=CIFAR10_STD
        )
    side = spec.image_size
    return Preprocessing(
        channels=3,
        resize=side * 8 // 7,  # 256 for 224, as everybody tests.
        size=(side, side),
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
    )
