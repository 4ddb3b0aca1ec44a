"""Ensembles of detectors: He et al. 2016a, appendix B."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import keras
from keras import ops

from keras_resnet.detection.boxes import Tensor
from keras_resnet.detection.detector import Detector
from keras_resnet.detection.faster_rcnn import FasterRCNN
from keras_resnet.detection.multi_scale import MultiScale
from keras_resnet.detection.testing import AtTestTime, check_member


@keras.saving.register_keras_serializable(package="keras_resnet")
class Ensemble(AtTestTime):
    """Several detectors: the union of what they propose, judged by all of them.

    He et al. 2016a, appendix B: "an ensemble for proposing regions, and the union set of
    proposals are processed by an ensemble of per-region classifiers". There three networks
    bring 3.3 points of mAP@.5 and 2.5 of COCO's mAP (table 9).

    The paper leaves open, and we choose: the detectors' probabilities and their regressed
    boxes, in pixels, are averaged for each proposal and class, all with the same weight.
    The union isn't suppressed once more before. Thresholds, and how many objects are found,
    are those of the first detector's row.

    Args:
        models: Detectors of the same classes, each a `FasterRCNN` or a `MultiScale`. They
            may have different backbones, necks and pixels; all see images of one size.
        name: Of the model.

    Raises:
        TypeError: If a detector is neither.
        ValueError: If there is none, or they have different classes.

    Example:

    ```python
    found = Ensemble([first, second]).predict(images)
    ```
    """

    def __init__(self, models: Sequence[Detector], *, name: str = "ensemble") -> None:
        if not models:
            raise ValueError(
                "`models` must hold one detector or more. Received: models=[]."
            )
        for model in models:
            check_member(
                "Ensemble",
                model,
                FasterRCNN,
                MultiScale,
                advice="Refine the ensemble instead: `Refined(Ensemble(models))`.",
            )
        numbers = {one.num_classes for one in models}
        names = {tuple(one.class_names) for one in models if one.class_names}
        if len(numbers) > 1 or len(names) > 1:
            raise ValueError(
                "The detectors of an ensemble must have the same classes in the same "
                f"order. Received: num_classes={sorted(numbers)}, "
                f"class_names={sorted(names)}."
            )
        super().__init__(models[0], name)
        self.class_names: tuple[str, ...] | None = names.pop() if names else None
        self.models: list[Detector] = list(models)

    def look(self, batch: Mapping[str, Any], training: bool | None = None) -> Any:
        """What each of the detectors sees, in a list."""
        return [one.look(batch, training) for one in self.models]

    def propose(
        self, seen: Any, *, training: bool = False, xla: bool = False
    ) -> tuple[Tensor, Tensor]:
        """The proposals of all detectors, one after the other."""
        proposed = [
            one.propose(its, training=training, xla=xla)
            for one, its in zip(self.models, seen, strict=True)
        ]
        boxes, valid = (
            ops.concatenate(parts, axis=1) for parts in zip(*proposed, strict=True)
        )
        return boxes, valid

    def classify(
        self, seen: Any, boxes: Tensor, *, xla: bool = False
    ) -> tuple[Tensor, Tensor]:
        """The means of what the detectors say."""
        said = [
            one.classify(its, boxes, xla=xla)
            for one, its in zip(self.models, seen, strict=True)
        ]
        scores, moved = (sum(parts) / len(said) for parts in zip(*said, strict=True))
        return scores, moved

    def get_config(self) -> dict[str, Any]:
        """What `from_config` needs."""
        models = [keras.saving.serialize_keras_object(one) for one in self.models]
        return {"models": models, "name": self.name}
