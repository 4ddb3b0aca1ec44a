"""What is common to all that detect: `FasterRCNN`, and what changes it for testing."""

from __future__ import annotations

import abc
from collections.abc import Mapping
from typing import Any

import keras

from keras_resnet.config.detector import DetectorSpec
from keras_resnet.detection import detections
from keras_resnet.detection.boxes import Tensor

KEPT = ("images", "image_shapes")  # Of a batch, where nothing is learned from it.


class Detector(keras.Model, abc.ABC):
    """Detects in three steps, which what is done at test time takes apart.

    `look` computes what is needed of the images once, `propose` says where objects may
    be, and `classify` judges any boxes, as often as one likes.

    Attributes:
        spec: Its `DetectorSpec`, or that of its first member.
        num_classes: Number of classes.
        class_names: Their names, or `None`.
    """

    spec: DetectorSpec
    num_classes: int
    class_names: tuple[str, ...] | None

    @abc.abstractmethod
    def look(self, batch: Mapping[str, Any], training: bool | None = None) -> Any:
        """What the other steps take: feature maps, and a batch's sizes.

        Args:
            batch: ``"images"`` and perhaps ``"image_shapes"``, as of `FasterRCNN`.
            training: Whether batch norm is in training mode.
        """

    @abc.abstractmethod
    def propose(
        self, seen: Any, *, training: bool = False, xla: bool = False
    ) -> tuple[Tensor, Tensor]:
        """The boxes that may hold an object.

        Args:
            seen: What `look` returned.
            training: Whether as many are wanted as training takes.
            xla: Whether XLA compiles the graph.

        Returns:
            Boxes ``(batch, n, 4)`` in pixels of the images, and bool ``(batch, n)``: the
            others only fill up.
        """

    @abc.abstractmethod
    def classify(
        self, seen: Any, boxes: Tensor, *, xla: bool = False
    ) -> tuple[Tensor, Tensor]:
        """How probable each class is in some boxes, and where its object then is.

        Args:
            seen: What `look` returned.
            boxes: ``(batch, n, 4)``.
            xla: Whether XLA compiles the graph.

        Returns:
            Probabilities ``(batch, n, classes)`` and boxes ``(batch, n, classes, 4)``.
        """

    def detect(
        self, batch: Mapping[str, Any], training: bool | None = None
    ) -> dict[str, Tensor]:
        """All steps: detections, as of `detections.best`.

        Args:
            batch: As of `look`.
            training: As of `look`.
        """
        seen = self.look(batch, training)
        found, valid = self.propose(seen, xla=self._xla)
        scores, boxes = self.classify(seen, found, xla=self._xla)
        row = self.spec.box_head
        scores = detections.candidates(row, scores, boxes, valid)
        return detections.best(row, scores, boxes, xla=self._xla)

    @property
    def _xla(self) -> bool:
        """Whether XLA compiles what TensorFlow computes; it lacks some kernels."""
        return keras.backend.backend() == "tensorflow" and bool(self.jit_compile)

    def predict_step(self, *state_and_data: Any) -> Any:
        """Detects, also on a data set with bounding boxes."""
        *state, data = state_and_data  # JAX's comes with the variables' state.
        batch, _, _ = keras.utils.unpack_x_y_sample_weight(data)
        if isinstance(batch, Mapping):
            batch = {name: batch[name] for name in KEPT if name in batch}
        return super().predict_step(*state, (batch,))
