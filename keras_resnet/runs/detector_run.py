"""`DetectorRun`: a trained detector with all that is needed to use it."""

from __future__ import annotations

import pathlib
from dataclasses import dataclass
from typing import Any

from keras_resnet.config.box_batches import BoxBatches
from keras_resnet.detection import FasterRCNN


@dataclass(frozen=True, repr=False)
class DetectorRun:
    """A trained detector, as `keras_resnet.load` gives it.

    Attributes:
        model: The detector, not compiled; ``model.predict`` detects.
        classes: Names of the classes, in the order of the labels.
        batches: How its images were resized; those to detect on should be, too.
        record: The contents of ``record.json``.
        folder: Where the run lies.
    """

    model: FasterRCNN
    classes: tuple[str, ...]
    batches: BoxBatches
    record: dict[str, Any]
    folder: pathlib.Path

    def __repr__(self) -> str:
        return (
            f"DetectorRun({str(self.folder)!r}: {self.record['network']}, "
            f"{len(self.classes)} classes, shorter sides of "
            f"{self.batches.shorter_sides[-1]} pixels)"
        )
