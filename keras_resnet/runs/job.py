"""`Job`: everything that decides a run, settled before anything is written."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import keras

from keras_resnet.config.adapted import augmentation_in_words
from keras_resnet.config.preprocessing import Preprocessing
from keras_resnet.config.recipe import Recipe
from keras_resnet.config.spec import ResNetSpec
from keras_resnet.data import folders
from keras_resnet.data.examples import Splits
from keras_resnet.data.splitting import POSITION
from keras_resnet.devices.find import Devices
from keras_resnet.models import resnet
from keras_resnet.runs.differ import PREPARING
from keras_resnet.runs.folder import settings
from keras_resnet.runs.request import TrainRequest
from keras_resnet.training.snapshots import snapshot_updates


@dataclass(frozen=True, kw_only=True)
class Job:
    """Everything that decides a run, as `settle` found it.

    Attributes:
        name: The run's name: the recipe's, that of recipe or network and data, or the
            one that was asked for.
        request: What was asked for.
        recipe: With the user's changes.
        overrides: What was asked for besides the recipe, for the record.
        splits: The data.
        spec: The network.
        preprocessing: Of the images.
        hardware: The devices to compute on.
        precision: Keras dtype policy of training.
        xla: Whether training is compiled with XLA.
        contents: SHA-256 of the files that it begins from, by option; see
            `TrainRequest.contents`.
    """

    name: str
    request: TrainRequest
    recipe: Recipe
    overrides: dict[str, Any]
    splits: Splits
    spec: ResNetSpec
    preprocessing: Preprocessing
    hardware: Devices
    precision: str
    xla: bool
    contents: dict[str, str] = field(default_factory=dict)

    @property
    def backend(self) -> str:
        """Name of Keras's backend."""
        return keras.backend.backend()

    @property
    def classes(self) -> int:
        """Number of classes."""
        return len(self.splits.class_names)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of an image, as it is evaluated and served."""
        return resnet.with_channels(
            self.preprocessing.size, self.preprocessing.channels
        )

    @property
    def share(self) -> tuple[int, int]:
        """The worker's number, and the number of workers."""
        return self.hardware.worker, self.hardware.workers

    @property
    def micro_batch(self) -> int:
        """Number of images that a device computes on at a time."""
        return self.recipe.batch_size // (
            self.hardware.replicas * self.request.accumulate
        )

    def snapshot_updates(self) -> list[int]:
        """The updates after which weights are kept; empty where that isn't asked for.

        Raises:
            ValueError: If the run has fewer, or weights can't be seen at all of them.
        """
        count, every = self.request.snapshots, self.request.steps_per_execution
        if count is None:
            return []
        return snapshot_updates(count, self.recipe.steps, every)

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
            split_by=None if self.splits.split_by == POSITION else self.splits.split_by,
            contents=self.contents,
            **{name: getattr(self.preprocessing, name) for name in PREPARING},
        )

    def validation_in_fit(self) -> tuple[int, int]:
        """Size and number of the batches of the validation in `fit`."""
        replicas = self.hardware.replicas
        images = self.splits.validation.size
        return equal_batches(self.micro_batch * replicas, images, replicas)

    def seen(self) -> str:
        """How the images are shown to the network, in words."""
        height, width = self.preprocessing.size
        changes = augmentation_in_words(self.recipe)
        return f"Images of {height}x{width} pixels; augmentation: {changes}."

    def notes(self) -> list[str]:
        """How this run differs from the recipe's source, and why, in sentences."""
        notes = list(self.recipe.deviations)
        count = self.hardware.replicas
        if count > 1 and not self.request.sync_batch_norm and self.backend != "jax":
            notes.append(
                f"Batch norm takes its statistics over {self.recipe.batch_size // count} "
                f"images, each device's share, instead of {self.recipe.batch_size}; "
                "--sync-batch-norm takes them over all."
            )
        if self.request.accumulate > 1:
            notes.append(
                "Batch norm takes its statistics over micro-batches, "
                f"{self.request.accumulate} of each device's share."
            )
        images = self.splits.validation.size
        size, batches = self.validation_in_fit()
        if size * batches < images:
            notes.append(
                f"Validation during training sees {size * batches:,} of {images:,} "
                "images, which divide among the devices; the record is measured on all."
            )
        if self.precision != "float32":
            notes.append(
                f"Training computes in {self.precision}; --precision float32 does not."
            )
        notes += [
            f"{name}={value!r} was asked for."
            for name, value in self.overrides.items()
            if (name, value) != ("val_fraction", folders.VAL_FRACTION)
        ]
        return notes


def equal_batches(most: int, images: int, replicas: int) -> tuple[int, int]:
    """Chooses size and number of the batches of the validation during training.

    On several devices all batches are whole, so that each device has an equal share. Of
    the sizes from a quarter of the largest on, it takes the one that leaves out the
    fewest images. The run's record is measured on all images, on one device.

    Args:
        most: Number of images that all devices together can compute on at a time.
        images: Number of validation images.
        replicas: Number of devices.

    Raises:
        ValueError: If there are fewer images than devices.
    """
    most = min(images, most)
    if replicas == 1:
        return most, math.ceil(images / most)
    if images < replicas:
        raise ValueError(
            f"The {images} validation images must give each of {replicas} devices "
            "its share. Use fewer devices, or more validation images."
        )
    largest = most - most % replicas
    sizes = range(largest, max(largest // 4, 1) - 1, -replicas)
    size = min(sizes, key=lambda size: images % size)  # The largest of equal ones.
    return size, images // size
