"""Networks, detectors, data sets, recipes and protocols as rows of data.

Rows are frozen dataclasses of plain values, which need no framework. Wherever the package
takes the name of a row it takes such an object as well. `dataclasses.replace` changes one::

    from dataclasses import replace

    import keras_resnet
    from keras_resnet.config import RECIPES, CosineDecay

    recipe = replace(
        RECIPES["resnet20_cifar10"],
        name="resnet20_cosine",
        schedule=CosineDecay(learning_rate=0.1, warmup=0.05),
    )
    keras_resnet.train(recipe)
"""

from keras_resnet.config.architectures import ARCHITECTURES
from keras_resnet.config.augmentations import (
    CutMix,
    InceptionCrop,
    MixUp,
    PadCropFlip,
    RandAugment,
    ScaleCropFlip,
)
from keras_resnet.config.box_batches import BoxBatches
from keras_resnet.config.box_datasets import BOX_DATASETS, BoxDatasetSpec
from keras_resnet.config.datasets import DATASETS, DatasetSpec
from keras_resnet.config.detection_recipe import DetectionRecipe, DetectionTarget
from keras_resnet.config.detection_recipes import DETECTION_RECIPES
from keras_resnet.config.detector import Anchors, BoxHead, DetectorSpec, Proposals
from keras_resnet.config.detectors import DETECTORS
from keras_resnet.config.merges import (
    ExclusiveGate,
    Scaling,
    ShortcutDropout,
    ShortcutGate,
)
from keras_resnet.config.preprocessing import Preprocessing
from keras_resnet.config.protocols import PROTOCOLS, Protocol
from keras_resnet.config.recipe import Distillation, Recipe, Target, WeightAverage
from keras_resnet.config.recipe_files import read_recipe
from keras_resnet.config.recipes import RECIPES
from keras_resnet.config.schedules import (
    CosineDecay,
    PlateauDecay,
    PolynomialDecay,
    StepDecay,
)
from keras_resnet.config.spec import ResNetSpec, Stage, doubling

__all__ = [
    "ARCHITECTURES",
    "BOX_DATASETS",
    "DATASETS",
    "DETECTION_RECIPES",
    "DETECTORS",
    "PROTOCOLS",
    "RECIPES",
    "Anchors",
    "BoxBatches",
    "BoxDatasetSpec",
    "BoxHead",
    "CosineDecay",
    "CutMix",
    "DatasetSpec",
    "DetectionRecipe",
    "DetectionTarget",
    "DetectorSpec",
    "Distillation",
    "ExclusiveGate",
    "InceptionCrop",
    "MixUp",
    "PadCropFlip",
    "PlateauDecay",
    "PolynomialDecay",
    "Preprocessing",
    "Proposals",
    "Protocol",
    "RandAugment",
    "Recipe",
    "ResNetSpec",
    "ScaleCropFlip",
    "Scaling",
    "ShortcutDropout",
    "ShortcutGate",
    "Stage",
    "StepDecay",
    "Target",
    "WeightAverage",
    "doubling",
    "read_recipe",
]
