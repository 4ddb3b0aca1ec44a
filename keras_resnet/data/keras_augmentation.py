"""From a recipe's augmentation to a Keras layer, and from Keras's to functions of a seed.

Keras's layers draw from a state that they count up, in whatever order the threads of
`tf.data` come by. In the functions each call draws from a seed of its own: the same seed
gives the same result, whatever ran before.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras

from keras_resnet.config.augmentations import (
    CutMix,
    InceptionCrop,
    MixUp,
    PadCropFlip,
    RandAugment,
    ScaleCropFlip,
)
from keras_resnet.data.random_colors import RandomColorBlend, RandomPCAColor
from keras_resnet.data.random_crops import RandomInceptionCrop, RandomScaleCrop
from keras_resnet.data.random_layers import RandomPadCropFlip
from keras_resnet.devices.host import Tensor, tensorflow


def augmentation_layer(
    augmentation: PadCropFlip | ScaleCropFlip | InceptionCrop,
    size: int | tuple[int, int] | None = None,
    seed: int | None = None,
) -> keras.layers.Layer:
    """The layer that does to images what a recipe's augmentation says.

    Each image is drawn for by itself, as in the recipe's own pipeline. The crops are
    antialiased as Pillow's, where the pipeline shrinks by area, which is faster.

    Args:
        augmentation: A `PadCropFlip`, for normalized images, or a `ScaleCropFlip` or
            `InceptionCrop`, for RGB images of values from 0 to 255.
        size: Height and width of the crops, or the side of a square; not for a
            `PadCropFlip`, which keeps the images' size.
        seed: Integer, or `None` for another one each time.

    Returns:
        A layer from images, one or a batch, to images.

    Raises:
        ValueError: If ``size`` is missing, or given to a `PadCropFlip`.
        TypeError: If ``augmentation`` is something else.
    """
    if (size is None) != isinstance(augmentation, PadCropFlip):
        raise ValueError(
            "`size` belongs to an augmentation that resizes, and to no other. Received: "
            f"size={size}, augmentation={augmentation!r}."
        )

    def seed_of(number: int) -> int | None:
        return None if seed is None else seed + number  # Each layer has another.

    match augmentation:
        case PadCropFlip(padding=padding, mode=mode, flip=flip):
            return RandomPadCropFlip(padding, mode, flip, seed=seed)
        case ScaleCropFlip(shorter_side=shorter_side):
            layers = [RandomScaleCrop(size, shorter_side, seed=seed)]
        case InceptionCrop(area=area, aspect=aspect):
            layers = [RandomInceptionCrop(size, area, aspect, seed=seed)]
        case _:
            raise TypeError(
                "`augmentation` must be a PadCropFlip, a ScaleCropFlip or an "
                f"InceptionCrop. Received: {augmentation!r}."
            )
    if augmentation.flip:
        layers.append(keras.layers.RandomFlip("horizontal", seed=seed_of(1)))
    if isinstance(augmentation, InceptionCrop) and augmentation.jitter:
        layers.append(RandomColorBlend(augmentation.jitter, seed=seed_of(2)))
    if augmentation.color:
        layers.append(RandomPCAColor(augmentation.color, seed=seed_of(3)))
    return keras.layers.Pipeline(layers)


class _Draws(keras.random.SeedGenerator):
    """Numbers the draws of one call, and folds the numbers into its seed."""

    def __init__(self, seed: Any) -> None:
        # Not the base's: it makes a variable, and this is without state between calls.
        self.seed, self.count = seed, 0

    def next(self, ordered: bool = True) -> Any:
        """The seed, int32 (2,), of the next draw."""
        tf = tensorflow()
        self.count += 1
        return tf.random.fold_in(self.seed, self.count)


def _seeded(layer: keras.layers.Layer, seed: Any) -> keras.layers.Layer:
    """The layer, drawing from this seed; Keras asks its layers by this method."""
    draws = _Draws(seed)
    layer._get_seed_generator = lambda backend=None: draws
    return layer


def mix(
    mixing: Sequence[MixUp | CutMix],
) -> Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Makes a function that mixes the images of a batch, and their labels.

    Args:
        mixing: `MixUp` and `CutMix` of `config/recipe.py`; each batch gets one of them.

    Returns:
        A function from images, float32 ``(batch, height, width, channels)``, labels,
        float32 ``(batch, classes)``, and a seed, integer ``(2,)``, to images and labels.
        Every image has a share of its own, as in Keras's layers; the papers' code draws
        one per batch.
    """
    tf = tensorflow()
    layers = [_mixer(row) for row in mixing]

    def mixed(images, labels, seed):
        which_seed, seed = tf.unstack(tf.random.split(seed, 2))
        which = tf.random.stateless_uniform([], which_seed, 0, len(layers), tf.int32)

        def by(layer):
            batch = {"images": images, "labels": labels}
            batch = _seeded(layer, seed)(batch, training=True)
            return batch["images"], batch["labels"]

        return tf.switch_case(
            which, [lambda layer=layer: by(layer) for layer in layers]
        )

    return mixed


def _mixer(row: MixUp | CutMix) -> keras.layers.Layer:
    if isinstance(row, CutMix):
        # Keras draws alpha between two ends; the papers have one alpha.
        return keras.layers.CutMix(factor=(row.alpha, row.alpha), dtype="float32")
    return keras.layers.MixUp(alpha=row.alpha, dtype="float32")


def erase(probability: float) -> Callable[[Tensor, Tensor], Tensor]:
    """Makes a function that erases a random rectangle of some images; Zhong et al. 2020.

    Args:
        probability: That an image loses one.

    Returns:
        A function from images, float32 ``(batch, height, width, channels)``,
        normalized, and a seed, integer ``(2,)``, to such images. What is erased is 0, the
        mean of the training set, as in torchvision.
    """
    layer = keras.layers.RandomErasing(
        factor=(probability, probability), fill_value=0.0, dtype="float32"
    )
    return lambda images, seed: _seeded(layer, seed)(images, training=True)


def rand_augment(settings: RandAugment) -> Callable[[Tensor, Tensor], Tensor]:
    """Makes a function that applies random operations to an image; Cubuk et al. 2020.

    Args:
        settings: `RandAugment` of `config/recipe.py`.

    Returns:
        A function from an image, ``(height, width, channels)``, values from 0 to 255,
        and a seed, integer ``(2,)``, to a float32 image of values from 0 to 255.
    """
    tf = tensorflow()
    layer = keras.layers.RandAugment(
        num_ops=settings.operations, factor=settings.strength, dtype="float32"
    )

    def augmented(image, seed):
        images = tf.clip_by_value(tf.cast(image, tf.float32), 0, 255)[tf.newaxis]
        layer.backend.set_backend("tensorflow")
        draws = _seeded(layer, seed).get_random_transformation(images, training=True)
        # Called as a whole, Keras's layer computes all of its operations and then takes
        # one of them: two of 224x224 pixels take 105 ms so, and 7 this way.
        for k in range(settings.operations):
            branches = [
                lambda images=images, name=name, draw=draw: tf.ensure_shape(
                    getattr(layer, name).transform_images(images, draw), images.shape
                )
                for name, draw in draws["transforms"].items()
            ]
            images = tf.switch_case(draws["layer_idxes"][k], branches)
        return images[0]

    return augmented
