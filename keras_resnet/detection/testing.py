"""What is common to detectors that are made of others, for testing.

He et al. 2016a, appendix B: `Refined`, `MultiScale` and `Ensemble` combine: an ensemble may
be of detectors with several scales, and a refinement goes around all. The paper's global
context, which is trained, is a field of the detector's row (`config.BoxHead.context`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras

from keras_resnet.config.detector import DetectorSpec
from keras_resnet.detection.boxes import Tensor
from keras_resnet.detection.detector import Detector


class AtTestTime(Detector):
    """A detector made of others, which predicts and can't be trained.

    Args:
        first: The detector that it is made of, or the first one.
        name: Of the model.
    """

    def __init__(self, first: Detector, name: str) -> None:
        # As of `FasterRCNN`: boxes must not be rounded to half precision.
        super().__init__(name=name, autocast=False)
        self.spec: DetectorSpec = first.spec
        self.num_classes: int = first.num_classes
        self.class_names: tuple[str, ...] | None = first.class_names
        self.built = True

    def call(self, inputs: Any, training: bool | None = None) -> dict[str, Tensor]:
        """Detections, as of `FasterRCNN`.

        Args:
            inputs: A batch, whose bounding boxes are ignored, or images alone.
            training: Ignored.
        """
        return self.detect(
            inputs if isinstance(inputs, Mapping) else {"images": inputs}
        )

    def compute_loss(self, *args: Any, **kwargs: Any) -> Any:
        """Raises `NotImplementedError`: there are no losses at test time."""
        raise NotImplementedError(
            f"{type(self).__name__} only predicts. Call `fit` or `evaluate` of the "
            "detectors that it is made of."
        )

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Any:
        """The same of new detectors."""
        return cls(
            **{
                name: keras.saving.deserialize_keras_object(
                    value, custom_objects=custom_objects
                )
                for name, value in config.items()
            }
        )


def check_member(whole: str, model: Any, *wanted: type[Detector], advice: str) -> None:
    """Raises `TypeError` unless a detector can be part of another.

    Args:
        whole: Name of the class that takes it.
        model: The detector.
        *wanted: Classes of which it must be.
        advice: What to do else, a sentence.
    """
    if not isinstance(model, wanted):
        names = " or ".join(one.__name__ for one in wanted)
        raise TypeError(
            f"{whole} must be made of {names}. Received: {type(model).__name__}. {advice}"
        )
