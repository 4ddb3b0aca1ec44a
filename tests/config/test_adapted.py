"""Recipes on other images: how large they are, and what of them changes at random."""

from dataclasses import replace

import pytest

from keras_resnet.config.adapted import (
    augmentation_in_words,
    with_augmentation,
    with_size,
    without_flip,
)
from keras_resnet.config.architectures import ARCHITECTURES
from keras_resnet.config.augmentations import (
    InceptionCrop,
    MixUp,
    PadCropFlip,
    RandAugment,
    ScaleCropFlip,
)
from keras_resnet.config.preprocessing import default_preprocessing
from keras_resnet.config.recipes import RECIPES

TV2 = RECIPES["resnet50_tv2_imagenet"]


def test_levels_of_augmentation():
    none = with_augmentation(TV2, "none", small=False)
    assert (none.augmentation, none.rand_augment, none.erasing) == (None, None, 0.0)
    assert none.mixing == ()
    assert none.label_smoothing == TV2.label_smoothing  # It changes no image.
    assert augmentation_in_words(none) == "none"

    light = with_augmentation(TV2, "light", small=False)
    crop = InceptionCrop(area=(0.5, 1.0), jitter=0.0, color=0.0)
    assert light == replace(none, augmentation=crop)
    light = with_augmentation(TV2, "light", small=True)
    assert light == replace(none, augmentation=PadCropFlip(padding=4))

    strong = with_augmentation(TV2, "strong", small=False)
    assert (strong.augmentation, strong.erasing) == (InceptionCrop(), 0.25)
    assert strong.rand_augment == RandAugment(operations=2, strength=0.3)
    assert strong.mixing == ()
    # Grey images have no colours to change.
    grey = with_augmentation(RECIPES["quickstart"], "strong", small=False)
    assert grey.augmentation == InceptionCrop(jitter=0.0, color=0.0)
    assert grey.rand_augment is None


@pytest.mark.parametrize("name", RECIPES)
def test_no_recipe_flips_without_flips(name):
    recipe = without_flip(RECIPES[name])
    assert getattr(recipe.augmentation, "flip", False) is False
    if recipe.augmentation is not None:
        kept = replace(recipe.augmentation, flip=RECIPES[name].augmentation.flip)
        assert replace(recipe, augmentation=kept) == RECIPES[name]


def test_another_size():
    recipe = RECIPES["resnet50_imagenet"]
    images = default_preprocessing(ARCHITECTURES["resnet50"])
    large = with_size(recipe, images, 448)
    assert (large.preprocessing.size, large.preprocessing.resize) == ((448, 448), 512)
    assert large.augmentation == replace(recipe.augmentation, shorter_side=(512, 960))
    # A scale is no smaller than the crop.
    close = replace(recipe, augmentation=ScaleCropFlip(shorter_side=(224, 240)))
    small = with_size(close, images, 61)
    assert small.augmentation.shorter_side == (61, 65)
    crop = with_size(RECIPES["resnet50_fb_imagenet"], images, 448)
    assert crop.augmentation == InceptionCrop()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("imagenette_fast", "--set image_sizes=.*Received: size=96"),
        ("resnet20_cifar10", "--set mean=\"channel\".*Received: size=96, mean='pixel'"),
    ],
)
def test_a_size_that_the_recipe_decides(name, message):
    images = default_preprocessing(ARCHITECTURES["resnet20"])
    with pytest.raises(ValueError, match=message):
        with_size(RECIPES[name], images, 96)


def test_augmentation_in_words():
    recipe = replace(
        RECIPES["quickstart"],
        augmentation=PadCropFlip(padding=2, flip=False),
        mixing=(MixUp(alpha=0.2),),
        erasing=0.1,
    )
    assert augmentation_in_words(recipe) == (
        "PadCropFlip(padding=2, flip=False, mode='zero'), MixUp(alpha=0.2), erasing=0.1"
    )
