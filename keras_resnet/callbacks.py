"""Callbacks for `keras.Model.fit`, with or without the rest of this package."""

from keras_resnet.training.averaging import AverageWeights
from keras_resnet.training.callbacks import (
    ReduceOnPlateau,
    StopAtNaN,
    WarmUpUntilLearning,
)
from keras_resnet.training.history import HistoryLog, read_history
from keras_resnet.training.progress import Progress
from keras_resnet.training.resume import Resume

__all__ = [
    "AverageWeights",
    "HistoryLog",
    "Progress",
    "ReduceOnPlateau",
    "Resume",
    "StopAtNaN",
    "WarmUpUntilLearning",
    "read_history",
]
