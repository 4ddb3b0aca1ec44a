"""Training recipes, as data: what a paper says about how its networks were trained.

`RECIPES` holds them all; the papers' are in `recipes_cifar.py` and `recipes_imagenet.py`.
"""

import math

from keras_resnet.config.preprocessing import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    Preprocessing,
)
from keras_resnet.config.recipe import (
    CosineDecay,
    InceptionCrop,
    PadCropFlip,
    Recipe,
    ScaleCropFlip,
)
from keras_resnet.config.recipes_cifar import CIFAR_RECIPES
from keras_resnet.config.recipes_imagenet import IMAGENET_RECIPES


def _quickstart():
    return Recipe(
        network="resnet20",
        dataset="fashion_mini",
        batch_size=64,
        steps=780,
        validate_every=130,
        schedule=CosineDecay(learning_rate=0.1, warmup=0.2),
        nesterov=True,
        weight_decay=1e-3,
        augmentation=PadCropFlip(padding=0),
        target=None,
        source="Ours: the most accurate in under three minutes on two cores, chosen "
        "on the validation split (docs/LOG.md)",
    )


def _imagenette_fast():
    updates = 140  # In an epoch of 8,969 images.
    return Recipe(
        network="resnet18d",
        dataset="imagenette",
        batch_size=64,
        steps=16 * updates,
        validate_every=updates,
        schedule=CosineDecay(learning_rate=0.1, warmup=0.15),
        nesterov=True,
        weight_decay=5e-4,
        decay_all=False,
        zero_gamma=True,
        label_smoothing=0.1,
        augmentation=InceptionCrop(area=(0.25, 1.0), jitter=0.0, color=0.0),
        image_sizes=((0.0, 64), (0.4, 96), (0.7, 128)),
        # Crops enlarge what they show: whole images of 160 pixels look alike to 128.
        preprocessing=Preprocessing(
            channels=3,
            resize=182,
            size=(160, 160),
            mean=IMAGENET_MEAN,
            std=IMAGENET_STD,
        ),
        target=None,
        source="Ours: ten classes in little time on two cores",
    )


RECIPES = {
    "quickstart": _quickstart(),
    "imagenette_fast": _imagenette_fast(),
    **CIFAR_RECIPES,
    **IMAGENET_RECIPES,
}


def for_own_images(
    *, network, small, channels, dataset, examples, pretrained, batch_size=None
) -> Recipe:
    """A recipe for a data set that no paper speaks of.

    Thirty epochs of linear warm-up and cosine decay; the learning rate follows the linear
    scaling rule, 0.1 for 256 images, and is a tenth of it from pretrained weights.

    Args:
        network: Key of `ARCHITECTURES`.
        small: Whether it is a network for small images, of CIFAR's kind.
        channels: Of the images; greyscale ones get no colour noise.
        dataset: Key of `DATASETS` or path of a folder.
        examples: Number of training images.
        pretrained: Whether training begins with given weights.
        batch_size: Images per update; chosen by the network's size if `None`.
    """
    color = 0.1 if channels == 3 else 0.0
    # At least four updates an epoch, so that a handful of images trains as well.
    batch_size = batch_size or max(1, min(128 if small else 32, examples // 4))
    steps_per_epoch = math.ceil(examples / batch_size)
    return Recipe(
        network=network,
        dataset=dataset,
        batch_size=batch_size,
        steps=30 * steps_per_epoch,
        validate_every=steps_per_epoch,
        schedule=CosineDecay(
            learning_rate=0.1 * batch_size / 256 * (0.1 if pretrained else 1),
            warmup=0.2,
        ),
        nesterov=True,
        weight_decay=5e-4,
        augmentation=PadCropFlip(padding=4) if small else ScaleCropFlip(color=color),
        target=None,
        source="Ours: no paper; change it with --epochs and --batch-size",
    )
