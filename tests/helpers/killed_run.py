"""A short run with all that has a state, for tests that kill it; no test itself.

    python -m tests.helpers.killed_run OUTPUT_DIR [DEVICES]

A net of eight layers with dropout, warm-up until it learns and averaged weights, on
some of the bundled images; a checkpoint after every update.
"""

import sys
from dataclasses import replace

from keras_resnet import reproduce
from keras_resnet.config.architectures import ARCHITECTURES
from keras_resnet.config.augmentations import PadCropFlip
from keras_resnet.config.merges import ShortcutDropout
from keras_resnet.config.recipe import WeightAverage
from keras_resnet.config.recipes import RECIPES
from keras_resnet.config.schedules import StepDecay
from keras_resnet.config.spec import doubling
from keras_resnet.data import sources
from keras_resnet.training import saving
from tests.helpers.small_splits import small_splits

STEPS = 120
EVERY = 8  # Updates between validations.
NAME = "killed_seed0"


def prepare():
    """Puts the net, its recipe and its data into the tables."""
    splits = small_splits()
    sources.load = lambda name, data_dir=None: splits
    ARCHITECTURES["resnet8"] = replace(
        ARCHITECTURES["resnet20"],
        stages=doubling("basic", (1, 1, 1), 16),
        merge=ShortcutDropout(rate=0.3),
    )
    RECIPES["killed"] = replace(
        RECIPES["quickstart"],
        name="killed",
        network="resnet8",
        batch_size=16,
        steps=STEPS,
        validate_every=EVERY,
        schedule=StepDecay(learning_rate=0.05, at=(60, 100)),
        warmup_learning_rate=0.01,
        augmentation=PadCropFlip(padding=2),
        average=WeightAverage(decay=0.9, every=3),
    )
    saving.SECONDS_BETWEEN = 0.0


if __name__ == "__main__":
    prepare()
    reproduce.train(
        "killed",
        output_dir=sys.argv[1],
        devices=sys.argv[2] if len(sys.argv) > 2 else "cpu",
        verbose=2,
    )
