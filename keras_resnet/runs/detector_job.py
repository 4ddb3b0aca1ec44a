"""`DetectorJob`: everything that decides a detector's run, settled before it is written."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import keras

from keras_resnet.config.detection_recipe import DetectionRecipe
from keras_resnet.config.detector import DetectorSpec
from keras_resnet.config.words import counted
from keras_resnet.data.boxes import BoxedSplits
from keras_resnet.data.folders import VAL_FRACTION
from keras_resnet.devices.find import Devices
from keras_resnet.runs.folder import settings
from keras_resnet.runs.request import TrainRequest


@dataclass(frozen=True, kw_only=True)
class DetectorJob:
    """Everything that decides a detector's run, as `detector_settle` found it.

    Attributes:
        name: The run's name, as of `Job`.
        request: What was asked for.
        recipe: With the user's changes.
        overrides: What was asked for besides the recipe, for the record.
        splits: The data.
        spec: The detector.
        hardware: The device to compute on.
        precision: Keras dtype policy of training.
        xla: Whether training is compiled with XLA.
        contents: SHA-256 of the files that it begins from, as of `Job`.
    """

    name: str
    request: TrainRequest
    recipe: DetectionRecipe
    overrides: dict[str, Any]
    splits: BoxedSplits
    spec: DetectorSpec
    hardware: Devices
    precision: str
    xla: bool
    contents: dict[str, str] = field(default_factory=dict)

    @property
    def backend(self) -> str:
        """Name of Keras's backend."""
        return keras.backend.backend()

    def snapshot_updates(self) -> list[int]:
        """Empty: weights along the training of a detector aren't kept."""
        return []

    def settings(self) -> dict[str, Any]:
        """What ``settings.json`` holds; see `runs.folder.settings`."""
        return settings(
            self.recipe,
            self.spec,
            self.request.seed,
            self.splits.sha256,
            self.overrides,
            backend=self.backend,
            precision=self.precision,
            xla=self.xla,
            contents=self.contents,
        )

    def validation_batches(self) -> int:
        """Number of the batches of a validation: wide images and high ones have theirs."""
        size, sizes = self.recipe.batch_size, self.splits.validation.sizes
        high = int((sizes[:, 0] > sizes[:, 1]).sum())
        return -(-high // size) + -(-(len(sizes) - high) // size)

    def seen(self) -> str:
        """How the images are shown to the detector, in words."""
        batches = self.recipe.batches
        sides = ", ".join(map(str, sorted(set(batches.shorter_sides))))
        flips = [
            way
            for way, flipped in (
                ("left to right", batches.horizontal_flip),
                ("top to bottom", batches.vertical_flip),
            )
            if flipped
        ]
        mirrored = f"half of the images mirrored {', half '.join(flips)}"
        return (
            f"Shorter sides of {sides} pixels, longer ones of up to "
            f"{batches.longer_side}; {mirrored if flips else 'no image mirrored'}."
        )

    def notes(self) -> list[str]:
        """How this run differs from the recipe's source, and why, in sentences."""
        notes = [*self.spec.deviations, *self.recipe.deviations]
        if self.splits.skipped:
            notes.append(f"{counted(len(self.splits.skipped), 'image')} left out.")
        if self.precision != "float32":
            notes.append(
                f"Training computes in {self.precision}; --precision float32 does not."
            )
        notes += [
            f"{name}={value!r} was asked for."
            for name, value in self.overrides.items()
            if (name, value) != ("val_fraction", VAL_FRACTION)
        ]
        return notes
