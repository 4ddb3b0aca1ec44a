"""Callbacks of `keras.Model.fit` for detectors: pictures, and average precision."""

from __future__ import annotations

import os
import pathlib
import warnings
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from keras_resnet.config.box_batches import BoxBatches
from keras_resnet.config.box_protocols import BOX_PROTOCOLS
from keras_resnet.config.checks import check_positive
from keras_resnet.config.lookup import find
from keras_resnet.data.boxes import BoxedExamples
from keras_resnet.detection.evaluation import measure_detections, names_of
from keras_resnet.detection.inference import Found, detections_in
from keras_resnet.detection.pictures import draw_detections_and_truth, held
from keras_resnet.files import local_path

Logs = dict[str, Any] | None


def _synchronize(model):
    """Makes a model's variables current while `fit` runs; JAX's are not by themselves."""
    if hasattr(model, "jax_state_sync"):
        model.jax_state_sync()


class DetectionPictures(keras.callbacks.Callback):
    """Draws what is there and what is detected, side by side, while a detector trains.

    The same images are drawn each time. Objects that are missed, and detections that are
    wrong, are thick and dashed. Where a picture can't be made, a warning says so, and the
    training goes on.

    Args:
        examples: A split, such as that for validation.
        settings: As of `detections_in`.
        class_names: One per label.
        folder: Where to write ``epoch_0001.png`` or ``update_000200.png``; it is made if
            there is none.
        epochs: Epochs of `fit` from one picture to the next.
        updates: Updates from one picture to the next, in place of ``epochs``. A picture is
            drawn after the update, or where several are one execution, after these.
        images: How many images are drawn, spread evenly over the split.
        score: Detections of at least this score are drawn.

    Raises:
        ValueError: If a number isn't a positive integer.
    """

    def __init__(
        self,
        examples: BoxedExamples,
        settings: BoxBatches,
        class_names: Sequence[str],
        folder: str | os.PathLike[str],
        *,
        epochs: int = 1,
        updates: int | None = None,
        images: int = 4,
        score: float = 0.5,
    ) -> None:
        super().__init__()
        for name, value in (
            ("epochs", epochs),
            ("updates", 1 if updates is None else updates),
            ("images", images),
        ):
            check_positive(name, value)
        count = min(images, examples.size)
        positions = np.linspace(0, examples.size - 1, count).round().astype(int)
        self.examples: BoxedExamples = held(examples, positions)
        self.settings: BoxBatches = settings
        self.class_names: tuple[str, ...] = tuple(class_names)
        self.folder: pathlib.Path = local_path(folder)
        self.epochs: int = epochs
        self.updates: int | None = updates
        self.score: float = score
        self.before: int = 0  # Updates before this epoch.
        self.done: int = 0

    def on_train_begin(self, logs: Logs = None) -> None:
        """Counts from the updates that the optimizer has made."""
        self.done = int(keras.ops.convert_to_numpy(self.model.optimizer.iterations))

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:
        """Notes the updates before the epoch."""
        self.before = self.done

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        """Draws, if it is time after so many updates."""
        last, self.done = self.done, self.before + batch + 1
        if self.updates and self.done // self.updates > last // self.updates:
            self.draw(f"update_{self.done:06}", f"After update {self.done:,}")

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        """Draws, if it is time after so many epochs."""
        if not self.updates and (epoch + 1) % self.epochs == 0:
            self.draw(f"epoch_{epoch + 1:04}", f"After epoch {epoch + 1:,}")

    def draw(self, name: str, title: str) -> pathlib.Path | None:
        """Draws the images with what the model detects now.

        Args:
            name: Of the file, without its suffix.
            title: Said above it.

        Returns:
            The file; `None` if it couldn't be made.
        """
        path = self.folder / f"{name}.png"
        try:
            _synchronize(self.model)
            found = detections_in(self.model, self.examples, self.settings)
            return draw_detections_and_truth(
                self.examples,
                found,
                self.class_names,
                path,
                score=self.score,
                title=title,
            )
        except Exception as error:  # No picture is worth a training.
            warnings.warn(
                f"The picture {path} couldn't be made ({type(error).__name__}: {error}).",
                stacklevel=2,
            )
            return None


class AveragePrecision(keras.callbacks.Callback):
    """Measures average precision at the end of epochs, and puts it into the logs.

    It is ``"val_average_precision"`` there, from 0 to 1 as Keras's metrics are. Place it
    before the callbacks that read it, such as `ModelCheckpoint` with
    ``monitor="val_average_precision"`` and ``mode="max"``.

    Args:
        examples: The split for validation.
        settings: As of `detections_in`.
        class_names: As of `evaluate_detector`.
        epochs: Epochs from one measurement to the next; between them nothing is put into
            the logs, as Keras does with ``validation_freq``.
        protocol: As of `measure_detections`.
        by_class: Whether the average precision of each class is in the logs, too, as
            ``"val_average_precision_<class>"``.
        batch_size: As of `detections_in`.

    Attributes:
        result: The last result, as of `measure_detections`, or `None`.
        detections: Those that it was made of, as of `detections_in`.

    Raises:
        ValueError: If ``epochs`` isn't a positive integer, or there is no such protocol.
    """

    def __init__(
        self,
        examples: BoxedExamples,
        settings: BoxBatches,
        class_names: Sequence[str] | None = None,
        *,
        epochs: int = 1,
        protocol: str = "voc",
        by_class: bool = False,
        batch_size: int | None = None,
    ) -> None:
        super().__init__()
        check_positive("epochs", epochs)
        find(BOX_PROTOCOLS, protocol, kind="protocol of detection")
        self.examples: BoxedExamples = examples
        self.settings: BoxBatches = settings
        self.class_names: Sequence[str] | None = class_names
        self.epochs: int = epochs
        self.protocol: str = protocol
        self.by_class: bool = by_class
        self.batch_size: int | None = batch_size
        self.result: dict[str, Any] | None = None
        self.detections: list[Found] = []

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        """Measures, if it is time."""
        if (epoch + 1) % self.epochs:
            return
        _synchronize(self.model)
        truth = self.examples.objects
        names = names_of(self.model, truth, self.class_names)
        self.detections = detections_in(
            self.model, self.examples, self.settings, batch_size=self.batch_size
        )
        self.result = measure_detections(truth, self.detections, names, self.protocol)
        if logs is None:
            return
        logs["val_average_precision"] = _share(self.result)
        for row in self.result["by_class"] if self.by_class else ():
            logs[f"val_average_precision_{row['name']}"] = _share(row)


def _share(result):
    """From 0 to 1, as Keras has its metrics; NaN where no object counts."""
    value = result["average_precision"]
    return float("nan") if value is None else value / 100
