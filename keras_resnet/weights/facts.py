"""What the format of weights tells beside them: how images are prepared, which classes.

Some formats are those of one repository, which prepares images in one way. Others are
shared by many: what their most usual publisher does is assumed then.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from keras_resnet.config.class_names import imagenet_classes, told_apart
from keras_resnet.config.datasets import CIFAR10_CLASSES
from keras_resnet.config.preprocessing import (
    CROP_ROUNDING,
    IMAGENET_MEAN,
    IMAGENET_STD,
    Preprocessing,
    default_preprocessing,
)
from keras_resnet.config.spec import ResNetSpec
from keras_resnet.weights.download import imagenet

# trainer.py of akamaster/pytorch_resnet_cifar10 normalizes CIFAR-10 by the statistics of
# ImageNet.
AKAMASTER_PREPROCESSING = Preprocessing(
    channels=3,
    resize=None,
    size=(32, 32),
    mean=IMAGENET_MEAN,
    std=IMAGENET_STD,
    exif_orientation=False,
)
# From timm's `resnetv2.py`: the mean and deviation of all its networks, and the size,
# crop_pct=0.95 and interpolation of most.
TIMM_V2 = imagenet(
    resize=235,
    mean=(127.5,) * 3,
    std=(127.5,) * 3,
    interpolation="bicubic",
    crop_rounding=CROP_ROUNDING["timm"],
)
# From timm's `cspnet.py`, darknet53.c2ns_in1k: crop_pct=0.887.
TIMM_DARKNET = imagenet(
    resize=288,
    size=(256, 256),
    interpolation="bicubic",
    crop_rounding=CROP_ROUNDING["timm"],
)


@dataclass(frozen=True)
class Told:
    """What a format tells.

    Attributes:
        preprocessing: Of the images; `None` if nothing is known.
        assumed: Whose preprocessing it is, where the format doesn't tell it for certain;
            `None` where it does.
    """

    preprocessing: Preprocessing | None = None
    assumed: str | None = None


def keras_applications(spec: ResNetSpec) -> Preprocessing:
    """The preprocessing of keras.applications' ResNet or ResNetV2."""
    if spec.preactivation:
        return imagenet(resize=None, mean=(127.5,) * 3, std=(127.5,) * 3)
    # As in Caffe: BGR, and the mean of ImageNet's training images.
    return imagenet(
        resize=None,
        mean=(103.939, 116.779, 123.68),
        std=(1.0,) * 3,
        channel_order="bgr",
    )


def told_by_format(form: str, spec: ResNetSpec) -> Told:
    """Returns what a format tells of the preprocessing.

    Args:
        form: A key of `conventions.FORMATS`.
        spec: The `ResNetSpec` of the network that the weights belong to.
    """
    if form == "akamaster":
        return Told(AKAMASTER_PREPROCESSING)
    if form == "keras_applications":
        return Told(keras_applications(spec))
    if form == "drn":
        return Told(imagenet(crop_rounding=CROP_ROUNDING["drn"]))
    if form == "wide_resnet":  # The port divides by the statistics of CIFAR-10 always.
        return Told(default_preprocessing(spec))
    if form == "timm_darknet":
        return Told(TIMM_DARKNET, "timm's darknet53.c2ns_in1k")
    if form == "timm_v2" or (form == "kerashub" and spec.stem == "bare"):
        return Told(TIMM_V2, "timm's resnetv2_50.a1h_in1k")
    if form in ("torchvision", "kerashub") and spec.dataset == "imagenet":
        return Told(imagenet(), "torchvision's for ImageNet")
    return Told()


def classes_by_format(
    form: str, spec: ResNetSpec, number: int
) -> tuple[str, ...] | None:
    """Returns the names of the classes that a format's source has.

    Args:
        form: As of `told_by_format`, ``"caffe"`` or ``"darknet"``.
        spec: As of `told_by_format`.
        number: How many classes the classifier of the weights tells apart.

    Returns:
        The names, if the source has as many classes, else `None`.
    """
    if form in ("akamaster", "wide_resnet"):
        return CIFAR10_CLASSES if number == len(CIFAR10_CLASSES) else None
    # Darknet's order of ImageNet's classes is its own.
    is_imagenets = form not in ("own", "darknet") and spec.dataset == "imagenet"
    return imagenet_classes() if is_imagenets and number == 1000 else None


def names_or_numbers(
    names: Sequence[str] | None, number: int | None
) -> tuple[str, ...] | None:
    """Returns a name for each class, and numbers where there aren't as many names.

    Args:
        names: What the source tells; `None` if it tells none.
        number: How many classes the weights tell apart; `None` if that isn't known,
            for which there are no names either.
    """
    if number is None:
        return None
    if names is None or len(names) != number:
        return tuple(map(str, range(number)))
    return told_apart(names)
