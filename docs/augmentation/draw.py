"""Draws a picture of every augmentation: the first column is the image as it is.

    python docs/augmentation/draw.py FOLDER_OF_PHOTOGRAPHS

The folder holds image files, of which the first three in alphabetical order are shown.
Those in `docs/augmentation.md` are scikit-image's chelsea.png, coffee.png and rocket.jpg.
"""

import argparse
import pathlib

import numpy as np
import tensorflow as tf
from matplotlib.image import imsave

from keras_resnet.config.augmentations import CutMix, MixUp, RandAugment
from keras_resnet.data import augmentation, colors, keras_augmentation
from keras_resnet.data.decoding import decode
from keras_resnet.data.images import resize_then_crop, scaled_size

HERE = pathlib.Path(__file__).parent
SIDE, DRAWS, SHOWN = 112, 6, 3
GAP = 4  # White pixels between pictures.


def pictures(photos):
    """The images as they are, and by name functions from a seed to changed ones.

    Args:
        photos: uint8 tensors of any size.
    """
    images = np.stack([plain(photo) for photo in photos])
    labels = np.eye(len(photos), dtype=np.float32)
    mean = np.float32([123.7, 116.3, 103.5])

    def each(function, sources):
        return lambda seed: [
            function(source, tf.random.fold_in(seed, k))
            for k, source in enumerate(sources)
        ]

    def batch(function, **arguments):
        return lambda seed: function(images - mean, seed, **arguments) + mean

    def mixed(row):
        mix = keras_augmentation.mix((row,))
        return lambda seed: mix(images, labels, seed)[0]

    operate = keras_augmentation.rand_augment(RandAugment(operations=2, strength=0.3))
    erase = keras_augmentation.erase(1.0)
    return images, {
        "scale_crop_flip": each(
            lambda photo, seed: augmentation.scale_crop_flip(
                photo, seed, shorter_side=(128, 240), crop=SIDE
            ),
            photos,
        ),
        "inception_crop": each(
            lambda photo, seed: augmentation.inception_crop(
                photo, seed, size=(SIDE, SIDE)
            ),
            photos,
        ),
        "color_jitter": each(colors.color_jitter, images),
        "pca_color": each(
            # Ten times the recipes' strength, to be seen.
            lambda image, seed: colors.pca_color(image, seed, alpha_std=1.0),
            images,
        ),
        "pad_crop_flip_zero": batch(augmentation.pad_crop_flip, padding=14),
        "pad_crop_flip_reflect": batch(
            augmentation.pad_crop_flip, padding=14, mode="reflect"
        ),
        "rand_augment": each(operate, images),
        "erasing": lambda seed: erase(images - mean, seed) + mean,
        "mixup": mixed(MixUp(alpha=1.0)),
        "cutmix": mixed(CutMix(alpha=1.0)),
    }


def plain(photo):
    """The square in the middle, resized; float32."""
    size = scaled_size(photo, SIDE)
    corner = (size - SIDE) // 2
    return resize_then_crop(photo, size, corner, (SIDE, SIDE)).numpy()


def side_by_side(pictures):
    """Rows and columns of uint8 pictures, ``(r, c, height, width, 3)``, as one."""
    gaps = [(0, 0), (0, 0), (0, GAP), (0, GAP), (0, 0)]
    apart = np.pad(pictures, gaps, constant_values=255)
    rows, columns, height, width, _ = apart.shape
    whole = apart.swapaxes(1, 2).reshape(rows * height, columns * width, 3)
    return whole[:-GAP, :-GAP]


def main():
    """Writes one JPEG file per augmentation beside this script."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=pathlib.Path)
    folder = parser.parse_args().folder
    files = sorted(f for f in folder.iterdir() if f.suffix in (".jpg", ".JPEG", ".png"))
    photos = [decode(file.read_bytes(), 3) for file in files[:SHOWN]]
    images, augmentations = pictures(photos)
    for number, (name, draw) in enumerate(augmentations.items()):
        seeds = [tf.constant((number, k), tf.int64) for k in range(DRAWS)]
        columns = [images, *(np.stack(draw(seed)) for seed in seeds)]
        pixels = np.clip(np.round(np.stack(columns, axis=1)), 0, 255).astype("uint8")
        path = HERE / f"{name}.jpg"
        imsave(path, side_by_side(pixels), pil_kwargs={"quality": 90})
        print(path.name, path.stat().st_size)


if __name__ == "__main__":
    main()
