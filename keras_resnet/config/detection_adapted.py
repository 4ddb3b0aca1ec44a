"""Adapts recipes of detection to other images, and makes one for a user's own."""

import math
from dataclasses import replace

from keras_resnet.config.adapted import with_steps
from keras_resnet.config.box_batches import BoxBatches
from keras_resnet.config.box_datasets import BOX_DATASETS
from keras_resnet.config.detection_recipe import DetectionRecipe
from keras_resnet.config.detector import DetectorSpec
from keras_resnet.config.schedules import CosineDecay

EPOCHS = 12


def for_own_objects(
    detector: str | DetectorSpec,
    sides: tuple[int, int],
    *,
    dataset: str,
    examples: int,
    batch_size: int | None = None,
) -> DetectionRecipe:
    """A recipe of ours for images that no source trains on.

    `EPOCHS` epochs of cosine decay after a warm-up, and half of the images mirrored. The
    learning rate is torchvision's, 0.02 for 16 images, by the linear scaling rule; the
    gradients' norm is clipped, since training may begin from random weights.

    Args:
        detector: Key of `DETECTORS`, or a `DetectorSpec`.
        sides: Its `DetectorSpec.sides`.
        dataset: Key of `BOX_DATASETS`, or path of a folder.
        examples: Number of training images.
        batch_size: Images per update; four if there are enough, by default.
    """
    batch_size = batch_size or max(1, min(4, examples // 4))
    steps_per_epoch = math.ceil(examples / batch_size)
    return DetectionRecipe(
        detector=detector,
        dataset=dataset,
        batches=BoxBatches(
            batch_size=batch_size, shorter_sides=(sides[0],), longer_side=sides[1]
        ),
        steps=EPOCHS * steps_per_epoch,
        validate_every=steps_per_epoch,
        schedule=CosineDecay(learning_rate=0.02 * batch_size / 16, warmup=0.1),
        clip_norm=10.0,
        source="Ours: no paper; change it with --epochs and --batch-size",
    )


def on_other_objects(
    recipe: DetectionRecipe, dataset: str, examples: int, batch_size: int | None = None
) -> DetectionRecipe:
    """The recipe on other images, for as many epochs as it has over its own.

    Sizes and schedule stay as they are, and a recipe whose own images aren't a data set of
    ours keeps its updates. The target is dropped.

    Args:
        recipe: A `DetectionRecipe`.
        dataset: Key of `BOX_DATASETS`, or path of a folder.
        examples: Number of training images there.
        batch_size: Images per update, if not the recipe's.
    """
    if dataset == recipe.dataset:
        return recipe
    steps, own = recipe.steps, BOX_DATASETS.get(recipe.dataset)
    if own is not None:
        epochs = recipe.steps * recipe.batch_size / own.examples
        steps = max(1, round(epochs * examples / (batch_size or recipe.batch_size)))
    every = max(1, round(recipe.validate_every * steps / recipe.steps))
    moved = with_steps(recipe, steps)
    return replace(moved, dataset=dataset, validate_every=every, target=None)


def with_shorter_side(recipe: DetectionRecipe, side: int) -> DetectionRecipe:
    """The recipe on images whose shorter side has this many pixels at the most.

    The other sides that are drawn in training, and the limit of the longer side, change
    in proportion.
    """
    batches = recipe.batches
    share = side / max(batches.shorter_sides)
    sides = tuple(max(1, round(share * one)) for one in batches.shorter_sides)
    longer = max(*sides, round(share * batches.longer_side))
    return replace(
        recipe, batches=replace(batches, shorter_sides=sides, longer_side=longer)
    )
