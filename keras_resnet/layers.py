"""Layers for one's own models and pipelines, with or without the rest of this package."""

from keras_resnet.data.keras_augmentation import augmentation_layer
from keras_resnet.data.random_colors import RandomColorBlend, RandomPCAColor
from keras_resnet.data.random_crops import RandomInceptionCrop, RandomScaleCrop
from keras_resnet.data.random_layers import RandomPadCropFlip
from keras_resnet.models.layers import FrozenBatchNormalization, GroupedConv2D
from keras_resnet.training.batch_norm import FusedBatchNormalization
from keras_resnet.training.faster import PointwiseConv2D

__all__ = [
    "FrozenBatchNormalization",
    "FusedBatchNormalization",
    "GroupedConv2D",
    "PointwiseConv2D",
    "RandomColorBlend",
    "RandomInceptionCrop",
    "RandomPCAColor",
    "RandomPadCropFlip",
    "RandomScaleCrop",
    "augmentation_layer",
]
