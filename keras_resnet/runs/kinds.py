"""What a request trains, a classifier or a detector, and the modules that do it.

Both kinds have functions of the same names. The one page of `reproduce` calls them.
"""

from types import ModuleType
from typing import NamedTuple

from keras_resnet.runs import (
    build,
    choose,
    detector_build,
    detector_choose,
    detector_finish,
    finish,
)
from keras_resnet.runs.detector_choose import trains_detector
from keras_resnet.runs.request import TrainRequest


class Kind(NamedTuple):
    """The modules that choose the data of a job, build its network and finish its run."""

    choosing: ModuleType
    building: ModuleType
    finishing: ModuleType


CLASSIFIER = Kind(choose, build, finish)
DETECTOR = Kind(detector_choose, detector_build, detector_finish)


def kind_of(request: TrainRequest) -> Kind:
    """The modules for what a request trains."""
    return DETECTOR if trains_detector(request) else CLASSIFIER
