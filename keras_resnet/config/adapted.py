"""Adapts recipes to another number of updates, or to other images."""

import math
from dataclasses import replace
from typing import TypeVar

from keras_resnet.config.augmentations import (
    InceptionCrop,
    PadCropFlip,
    RandAugment,
    ScaleCropFlip,
)
from keras_resnet.config.datasets import DATASETS
from keras_resnet.config.detection_recipe import DetectionRecipe
from keras_resnet.config.preprocessing import Preprocessing, for_input
from keras_resnet.config.recipe import Recipe, WeightAverage
from keras_resnet.config.schedules import CosineDecay, PlateauDecay, StepDecay
from keras_resnet.config.spec import ResNetSpec

# One of either kind.
AnyRecipe = TypeVar("AnyRecipe", Recipe, DetectionRecipe)


def with_steps(recipe: AnyRecipe, steps: int) -> AnyRecipe:
    """The recipe in another number of updates, its milestones in proportion."""
    if steps == recipe.steps:
        return recipe
    schedule = recipe.schedule
    if isinstance(schedule, StepDecay):
        scaled = (step * steps // recipe.steps for step in schedule.at)
        # Very short runs have no room for every milestone.
        schedule = replace(
            schedule, at=tuple(sorted({at for at in scaled if 0 < at < steps}))
        )
    validate_every = min(recipe.validate_every, steps)
    if isinstance(schedule, PlateauDecay):
        # Its patience is counted in validations.
        validate_every = max(1, recipe.validate_every * steps // recipe.steps)
    return replace(
        recipe, steps=steps, validate_every=validate_every, schedule=schedule
    )


def with_batch_size(recipe: AnyRecipe, batch_size: int) -> AnyRecipe:
    """The recipe with another number of images per update."""
    if isinstance(recipe, DetectionRecipe):
        batches = replace(recipe.batches, batch_size=batch_size)
        return replace(recipe, batches=batches)
    return replace(recipe, batch_size=batch_size)


def on_other_data(
    recipe: Recipe, dataset: str, examples: int, batch_size: int | None = None
) -> Recipe:
    """The recipe on other images, for as many epochs as it has over its own.

    Augmentation, mixing, label smoothing and the shape of the schedule stay. The average
    of the weights spans the same share of the updates. Images are prepared as the recipe
    says, but photographs keep their aspect ratio, and a mean per pixel becomes one per
    channel where images have no common size. The recipe's target is dropped.

    Args:
        recipe: A `Recipe`.
        dataset: Key of `DATASETS`, or path of a folder.
        examples: Number of training images there.
        batch_size: Images per update, if not the recipe's.
    """
    if dataset in DATASETS and dataset == recipe.dataset:
        return recipe
    own = DATASETS.get(recipe.dataset)
    steps = recipe.steps
    if own is not None:
        epochs = recipe.steps * recipe.batch_size / own.examples
        steps = max(1, round(epochs * examples / (batch_size or recipe.batch_size)))
    ratio = steps / recipe.steps
    pixels = dataset in DATASETS and DATASETS[dataset].storage == "pixels"
    recipe = replace(
        with_steps(recipe, steps),
        dataset=dataset,
        validate_every=max(1, round(recipe.validate_every * ratio)),
        average=recipe.average and _in_proportion(recipe.average, ratio),
        precise_batch_norm=min(recipe.precise_batch_norm, examples),
        mean=recipe.mean if pixels else "channel",
        preprocessing=_for_other_data(recipe, dataset),
        target=None,
    )
    if recipe.preprocessing is not None and recipe.preprocessing.channels == 1:
        grey = {
            name: 0.0
            for name in ("color", "jitter")
            if hasattr(recipe.augmentation, name)
        }
        if grey:
            recipe = replace(recipe, augmentation=replace(recipe.augmentation, **grey))
    return recipe


def _in_proportion(average: WeightAverage, ratio: float) -> WeightAverage:
    """The average over the same share of ``ratio`` times as many updates."""
    every = average.every * ratio
    whole = max(1, round(every))
    return WeightAverage(decay=average.decay ** (whole / every), every=whole)


def _for_other_data(recipe: Recipe, dataset: str) -> Preprocessing | None:
    own = DATASETS.get(recipe.dataset)
    known = recipe.preprocessing or (own and own.preprocessing)
    if known is None:
        return None
    if dataset in DATASETS:
        channels = DATASETS[dataset].preprocessing.channels
        return for_input(known, known.size, channels)
    if own is not None:  # Photographs of one's own are seen as they were taken.
        known = replace(known, exif_orientation=True)
    return known if known.resize else replace(known, resize=max(known.size))


def for_own_images(
    *,
    network: str | ResNetSpec,
    small: bool,
    channels: int,
    dataset: str,
    examples: int,
    pretrained: bool,
    batch_size: int | None = None,
) -> Recipe:
    """A recipe of ours for a data set that no paper trains on.

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


def with_augmentation(recipe: Recipe, level: str, *, small: bool) -> Recipe:
    """The recipe with more or less augmentation of the training images.

    The levels are ours. ``"light"`` pads and crops small images, and cuts at least half
    of larger ones out; both flip them. ``"strong"`` cuts out 8 to 100 % of larger images
    and changes their colours, as fb.resnet.torch does, and of all images of three
    channels changes more by two operations of RandAugment; it erases rectangles in a
    quarter of all images. Neither mixes images.

    Args:
        recipe: A `Recipe`.
        level: ``"none"``, ``"light"`` or ``"strong"``.
        small: Whether the network is one for small images, of CIFAR's kind.
    """
    color = channels_of(recipe) == 3
    plain = replace(
        recipe, augmentation=None, rand_augment=None, erasing=0.0, mixing=()
    )
    if level == "none":
        return plain
    if level == "light":
        crop = InceptionCrop(area=(0.5, 1.0), jitter=0.0, color=0.0)
        return replace(plain, augmentation=PadCropFlip(padding=4) if small else crop)
    crop = InceptionCrop() if color else InceptionCrop(jitter=0.0, color=0.0)
    return replace(
        plain,
        augmentation=PadCropFlip(padding=4) if small else crop,
        rand_augment=RandAugment(operations=2, strength=0.3) if color else None,
        erasing=0.25,
    )


def without_flip(recipe: Recipe) -> Recipe:
    """The recipe that never mirrors an image, where left and right are different things."""
    if recipe.augmentation is None:
        return recipe
    return replace(recipe, augmentation=replace(recipe.augmentation, flip=False))


def with_size(recipe: Recipe, preprocessing: Preprocessing, side: int) -> Recipe:
    """The recipe on images of another size, its scales in proportion.

    Args:
        recipe: A `Recipe`.
        preprocessing: That its images would have, with a mean for each channel.
        side: Of the network's input, in pixels.

    Raises:
        ValueError: If the recipe changes the size as it goes, or its mean has one.
    """
    if recipe.image_sizes or recipe.mean == "pixel":
        field, value = (
            ("mean", '"channel"') if recipe.mean == "pixel" else ("image_sizes", "[]")
        )
        raise ValueError(
            f"`size` (--size) can't be set with a recipe whose `{field}` depends on the "
            f"images' size: set that too, by `changes` (--set {field}={value}). Received: "
            f"size={side}, {field}={getattr(recipe, field)!r}."
        )
    augmentation = recipe.augmentation
    if isinstance(augmentation, ScaleCropFlip):
        share = side / max(preprocessing.size)
        scales = (max(side, round(share * one)) for one in augmentation.shorter_side)
        augmentation = replace(augmentation, shorter_side=tuple(scales))
    return replace(
        recipe,
        augmentation=augmentation,
        preprocessing=for_input(preprocessing, (side, side), preprocessing.channels),
    )


def channels_of(recipe: Recipe) -> int:
    """The channels of a recipe's images: 3 of own photographs, unless it says so."""
    if recipe.preprocessing is not None:
        return recipe.preprocessing.channels
    own = DATASETS.get(recipe.dataset)
    return own.preprocessing.channels if own else 3


def augmentation_in_words(recipe: Recipe) -> str:
    """What changes the training images at random, in one line."""
    parts = [recipe.augmentation, recipe.rand_augment, *recipe.mixing]
    said = [repr(part) for part in parts if part is not None]
    said += [f"erasing={recipe.erasing}"] if recipe.erasing else []
    return ", ".join(said) or "none"
