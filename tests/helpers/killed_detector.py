"""A short run of a detector, for tests that kill it; no test itself.

    python -m tests.helpers.killed_detector OUTPUT_DIR DEVICES

Eight small images with boxes, of two orientations; a checkpoint after every update.
"""

import pathlib
import sys

from keras_resnet import reproduce
from keras_resnet.data import image_sizes
from keras_resnet.training import saving
from tests.helpers.boxed_folders import seen_by_pillow, voc_folder
from tests.helpers.small_detectors import small_row

STEPS = 42
EVERY = 3  # Updates between validations: passes over the six images.
NAME = "killed_seed0"


def prepare(root):
    """Writes the images, if they aren't there, and has every update saved."""
    folder = pathlib.Path(root) / "cells"
    if not folder.exists():
        names = [f"{number}" for number in range(8)]
        for size, some in (((40, 60), names[:5]), ((60, 40), names[5:])):
            objects = [("red", 3, 3, 31, 26), ("white", 15, 10, 38, 36)]
            voc_folder(folder, dict.fromkeys(some, objects), size=size)
        lists = folder / "ImageSets" / "Main"
        lists.mkdir(parents=True)
        (lists / "train.txt").write_text("\n".join(names[1:7]) + "\n")
        (lists / "val.txt").write_text("0\n7\n")
    image_sizes.of_files = seen_by_pillow
    saving.SECONDS_BETWEEN = 0.0
    return folder


if __name__ == "__main__":
    output_dir = pathlib.Path(sys.argv[1])
    reproduce.train(
        data=prepare(output_dir),
        network=small_row(),
        name="killed",
        size=64,
        steps=STEPS,
        batch_size=2,
        learning_rate=0.01,
        output_dir=output_dir,
        devices=sys.argv[2],
        verbose=2,
    )
