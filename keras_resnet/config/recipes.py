"""The training recipes as rows: how the networks of each paper were trained.

`RECIPES` holds them all; the papers' are in `recipes_cifar.py` and `recipes_imagenet.py`.
"""

from dataclasses import replace

from keras_resnet.config.augmentations import InceptionCrop, PadCropFlip
from keras_resnet.config.preprocessing import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    Preprocessing,
)
from keras_resnet.config.recipe import Recipe
from keras_resnet.config.recipes_cifar import CIFAR_RECIPES
from keras_resnet.config.recipes_imagenet import IMAGENET_RECIPES
from keras_resnet.config.schedules import CosineDecay


def _quickstart() -> Recipe:
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


def _imagenette_fast() -> Recipe:
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
            exif_orientation=False,
        ),
        target=None,
        source="Ours: ten classes in little time on two cores",
    )


_ROWS = {
    "quickstart": _quickstart(),
    "imagenette_fast": _imagenette_fast(),
    **CIFAR_RECIPES,
    **IMAGENET_RECIPES,
}
RECIPES: dict[str, Recipe] = {
    name: replace(row, name=name) for name, row in _ROWS.items()
}
