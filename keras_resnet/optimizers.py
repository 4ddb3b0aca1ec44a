"""The papers' SGD, and their learning rates as Keras's schedules."""

from keras_resnet.training.optimizers import CoupledSGD
from keras_resnet.training.schedules import BurnIn, WarmUp, learning_rate

__all__ = ["BurnIn", "CoupledSGD", "WarmUp", "learning_rate"]
