"""The box head of a detector, step by step: what it pools, sees and says of regions."""

from __future__ import annotations

from collections.abc import Sequence

import keras
from keras import ops

from keras_resnet.config.detector import DetectorSpec
from keras_resnet.detection import heads
from keras_resnet.detection.boxes import Tensor
from keras_resnet.detection.roi_pooling import roi_align


class RegionNetwork:
    """A box head in three steps, between which what is done at test time comes in.

    It has no variables of its own: the layers are the box head's, and Keras finds them
    there.

    Args:
        spec: The detector's row.
        box_head: As of `heads.box_network`.
    """

    def __init__(self, spec: DetectorSpec, box_head: keras.Model) -> None:
        self.spec: DetectorSpec = spec
        self.box_head: keras.Model = box_head
        self.until_features: keras.Model = heads.until_features(spec, box_head)

    def pooled(
        self, maps: Sequence[Tensor], boxes: Tensor, *, xla: bool = False
    ) -> Tensor:
        """A map of each box, ``(batch, n, pooled, pooled, channels)``.

        Args:
            maps: Of the feature network.
            boxes: ``(batch, n, 4)`` in pixels of the images that the maps are of.
                Coordinates that aren't finite count as 0.
            xla: Whether XLA compiles the graph.
        """
        row = self.spec.box_head
        used = maps[:-1] if self.spec.neck == "fpn" else maps
        # A network that diverged has boxes of NaN, which lie at no pixel: the backend
        # would end with an error before anyone sees that the losses are NaN.
        boxes = ops.where(ops.isfinite(boxes), boxes, 0.0)
        return roi_align(
            used,
            boxes,
            heads.strides(self.spec)[: len(used)],
            row.pooled,
            sampling_ratio=row.sampling_ratio,
            aligned=row.aligned,
            method="gather" if xla and row.sampling_ratio else None,
        )

    def features(self, pooled: Tensor, training: bool | None = None) -> Tensor:
        """What the layers make of each map, ``(batch, n, units)``."""
        shape = ops.shape(pooled)
        flat = ops.reshape(pooled, (-1, *shape[2:]))
        features = self.until_features(flat, training=training)
        return ops.reshape(features, (*shape[:2], features.shape[-1]))

    def with_image(self, boxes: Tensor, shapes: Tensor) -> Tensor:
        """The boxes, with the whole image behind them where the row wants its context.

        Args:
            boxes: ``(batch, n, 4)``.
            shapes: Height and width of each image, ``(batch, 2)``.
        """
        if not self.spec.box_head.context:
            return boxes
        corner = ops.zeros_like(shapes)
        whole = ops.concatenate([corner, ops.flip(shapes, axis=-1)], axis=-1)
        return ops.concatenate([boxes, ops.cast(whole, boxes.dtype)[:, None]], axis=1)

    def outputs(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Logits and offsets, with the axes ``(batch, n, …)``.

        Args:
            features: Of the boxes that `with_image` returned.
        """
        if self.spec.box_head.context:
            features, whole = features[:, :-1], features[:, -1:]
            whole = ops.broadcast_to(whole, ops.shape(features))
            features = ops.concatenate([features, whole], axis=-1)
        shape = ops.shape(features)
        said = heads.said_of(self.box_head, ops.reshape(features, (-1, shape[2])))
        return tuple(
            ops.reshape(said[name], (*shape[:2], *said[name].shape[1:]))
            for name in ("logits", "offsets")
        )

    def __call__(
        self,
        maps: Sequence[Tensor],
        boxes: Tensor,
        shapes: Tensor,
        *,
        training: bool | None = None,
        xla: bool = False,
    ) -> tuple[Tensor, Tensor]:
        """All steps: logits ``(batch, n, classes + 1)``, offsets ``(batch, n, …, 4)``."""
        boxes = self.with_image(boxes, shapes)
        return self.outputs(self.features(self.pooled(maps, boxes, xla=xla), training))
