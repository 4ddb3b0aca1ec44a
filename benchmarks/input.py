"""Throughput of the training input: JPEG files to batches of Inception crops.

    python -m benchmarks.input FOLDER_OF_JPEG_FILES [--images 1600] [--rounds 5]

Decoding, a crop of 8 to 100 % of the area resized to 224x224, a flip in half of the
cases, normalization and batches of 64, float32. Ours: `data.pipelines`, from the files and
from shards of the same files, which TensorFlow Datasets writes into a temporary folder.
Plain tf.data: the whole image is decoded and cut with `tf.image`. DataLoader: PyTorch's,
with two workers, Pillow and torchvision's transforms. The variants take turns, so that
whatever else the machine does meets all of them; each begins with a batch that is not
timed. DataLoader's processes are forked beside TensorFlow's threads in every round.
Writes results/input.json.
"""

import argparse
import json
import math
import os
import pathlib
import statistics
import tempfile
import time
from dataclasses import replace
from functools import partial

# As the command line sets it: see docs/decisions/0016.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np

from benchmarks.stored import store
from keras_resnet.config.datasets import DATASETS

RESULTS = pathlib.Path(__file__).parent / "results" / "input.json"
PREPARE = DATASETS["imagenet2012"].preprocessing
SIZE = PREPARE.size
BATCH, WORKERS, CLASSES = 64, 2, 2
BUFFER = 128  # Images.
SHARDS = {
    "keras_resnet, from TFRecord": "tfrecord",
    "keras_resnet, from ArrayRecord": "array_record",
}
AREA, ASPECT = (0.08, 1.0), (3 / 4, 4 / 3)


def listed(files):
    """The files as our pipeline takes them."""
    from keras_resnet.data import sources

    return sources.Examples(
        np.array(files, dtype=object), np.zeros(len(files), np.int32)
    )


def packed(files, file_format, folder):
    """The same out of shards, which are written into a folder."""
    from keras_resnet.data import shards

    place = store(files, CLASSES, folder, file_format)
    # TFRecord's own buffer would hold all of them before the first batch.
    return replace(shards.load(place, val_fraction=0).train, shuffle_buffer=BUFFER)


def ours(examples):
    """Our pipeline."""
    from keras_resnet.config.adapted import with_steps
    from keras_resnet.config.augmentations import InceptionCrop
    from keras_resnet.config.recipes import RECIPES
    from keras_resnet.data import pipelines

    recipe = replace(
        with_steps(RECIPES["resnet50_fb_imagenet"], examples.size // BATCH),
        batch_size=BATCH,
        augmentation=InceptionCrop(jitter=0.0, color=0.0),
    )
    return pipelines.training_batches(
        examples, PREPARE, recipe, classes=CLASSES, seed=0
    )


def plain(files):
    """What one writes with tf.data: whole images, stateful draws, no antialiasing."""
    import tensorflow as tf

    mean, std = np.float32(PREPARE.mean), np.float32(PREPARE.std)
    whole = tf.constant([[[0.0, 0.0, 1.0, 1.0]]])

    def load(file):
        image = tf.io.decode_jpeg(tf.io.read_file(file), 3)
        begin, size, _ = tf.image.sample_distorted_bounding_box(
            tf.shape(image), whole, area_range=AREA, aspect_ratio_range=ASPECT
        )
        image = tf.image.resize(tf.slice(image, begin, size), SIZE)
        return (tf.image.random_flip_left_right(image) - mean) / std

    return (
        tf.data.Dataset.from_tensor_slices(files)
        .shuffle(len(files))
        .map(load, num_parallel_calls=tf.data.AUTOTUNE)
        .batch(BATCH, drop_remainder=True)
        .prefetch(tf.data.AUTOTUNE)
    )


class Photos:
    """A data set of PyTorch's: a list of files and a transform of Pillow's images."""

    def __init__(self, files, transform):
        self.files, self.transform = files, transform

    def __len__(self):
        return len(self.files)

    def __getitem__(self, index):
        """The image, transformed."""
        from PIL import Image

        with Image.open(self.files[index]) as image:
            return self.transform(image.convert("RGB"))


def data_loader(files):
    """PyTorch's with torchvision's transforms; its processes live for one pass."""
    import torch

    from tests.helpers.torch_references import import_torchvision

    transforms = import_torchvision().transforms
    transform = transforms.Compose(
        [
            transforms.RandomResizedCrop(SIZE),
            transforms.RandomHorizontalFlip(),
            transforms.ToTensor(),
            transforms.Normalize(
                [value / 255 for value in PREPARE.mean],
                [value / 255 for value in PREPARE.std],
            ),
        ]
    )
    return torch.utils.data.DataLoader(
        Photos(files, transform),
        batch_size=BATCH,
        shuffle=True,
        num_workers=WORKERS,
        drop_last=True,
    )


def speed(batches):
    """Images a second, from the first batch on."""
    iterator = iter(batches)
    next(iterator)
    started = time.perf_counter()
    images = sum(BATCH for _ in iterator)
    return images / (time.perf_counter() - started)


def main():
    """Times the variants in turn and writes the medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--images", type=int, default=1600)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    found = sorted(map(str, options.folder.rglob("*.JPEG")))
    if not found:
        raise SystemExit(f"There must be *.JPEG files in the folder: {options.folder}")
    files = (found * math.ceil(options.images / len(found)))[: options.images]

    peer = f"PyTorch DataLoader, {WORKERS} workers"
    with tempfile.TemporaryDirectory() as folder:
        examples = {"keras_resnet": listed(files)}
        for name, file_format in SHARDS.items():
            examples[name] = packed(files, file_format, pathlib.Path(folder))
        variants = {
            peer: lambda: data_loader(files),
            **{name: partial(ours, of) for name, of in examples.items()},
            "plain tf.data": lambda: plain(files),
        }
        speeds = {name: [] for name in variants}
        for _ in range(options.rounds):
            for name, batches in variants.items():
                speeds[name].append(speed(batches()))
                print(name, round(speeds[name][-1], 1), flush=True)
    medians = {name: round(statistics.median(s), 1) for name, s in speeds.items()}

    from keras_resnet.runs import environment

    result = {
        "date": time.strftime("%Y-%m-%d"),
        **environment.describe(),
        "images": options.images,
        "files": len(found),
        "rounds": options.rounds,
        "images_per_second": medians,
        "rounds_images_per_second": {
            name: [round(value, 1) for value in s] for name, s in speeds.items()
        },
        "ratio_to_data_loader": round(medians["keras_resnet"] / medians[peer], 3),
    }
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(medians), result["ratio_to_data_loader"])


if __name__ == "__main__":
    main()
