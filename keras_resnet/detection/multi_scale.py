"""Detectors that look at an image in several sizes: He et al. 2016a, appendix B."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import keras
from keras import ops

from keras_resnet.config.checks import POSITIVE, check_each, check_numbers
from keras_resnet.config.detector import DetectorSpec
from keras_resnet.detection import batches, detections
from keras_resnet.detection.boxes import Tensor
from keras_resnet.detection.faster_rcnn import FasterRCNN
from keras_resnet.detection.testing import AtTestTime, check_member

# Shorter sides of the paper's pyramid; it proposes regions at 600.
PAPER_SCALES = tuple(side / 600 for side in (200, 400, 600, 800, 1000))


@keras.saving.register_keras_serializable(package="keras_resnet")
class MultiScale(AtTestTime):
    """Multi-scale testing: each region is pooled at two scales, the larger value counts.

    He et al. 2016a, appendix B, after Ren et al. 2015 (arXiv 1504.06066): feature maps are
    computed on an image pyramid; each region is pooled at two adjacent scales, and what the
    subsequent layers make of both is merged by maxout. Only the box head sees several
    scales: regions are proposed at one, as in the paper. There it brings over 2 points
    of mAP (table 9).

    The paper leaves open, and we choose:

    - The two scales are those between which the region has the side ``side``, the square
      root of its area; else the two smallest or the two largest ones.
    - The maximum is of the features that the last two layers take, which say classes and
      boxes, once for both.
    - Scales multiply the size of the images that the model is given, by bilinear
      interpolation without antialiasing, as images are resized for our detectors. Images
      that were made small for the detector gain no detail: to have it, give them in the
      largest size, with ``scales`` up to 1, and ``proposals`` below.

    Args:
        model: A `FasterRCNN`.
        scales: What the sides of the images are multiplied by, from the smallest on. By
            default the paper's {200, 400, 600, 800, 1000} for images whose shorter sides
            are 600.
        proposals: The scale at which regions are proposed, which need not be among them.
        side: In pixels; by default that of ImageNet's crops, on which backbones learn.
        name: Of the model.

    Raises:
        TypeError: If ``model`` isn't a `FasterRCNN`.
        ValueError: If scales aren't positive numbers that rise.

    Example:

    ```python
    found = MultiScale(detector, (0.5, 1.0, 1.5)).predict(images)
    ```
    """

    def __init__(
        self,
        model: FasterRCNN,
        scales: Sequence[float] = PAPER_SCALES,
        *,
        proposals: float = 1.0,
        side: float = 224.0,
        name: str = "multi_scale",
    ) -> None:
        check_member(
            "MultiScale",
            model,
            FasterRCNN,
            advice="Of others, make their members so: `Ensemble([MultiScale(one), …])`.",
        )
        super().__init__(model, name)
        self.model: FasterRCNN = model
        self.scales: tuple[float, ...] = tuple(scales)
        self.proposals: float = proposals
        self.side: float = side
        check_each("scales", self.scales, POSITIVE)
        check_numbers(self, proposals=POSITIVE, side=POSITIVE)
        if list(self.scales) != sorted(self.scales):
            raise ValueError(
                "`scales` must begin with the smallest one and rise. Received: "
                f"scales={self.scales}."
            )

    def look(
        self, batch: Mapping[str, Any], training: bool | None = None
    ) -> dict[str, Any]:
        """What the detector sees at each scale.

        Args:
            batch: As of `Detector.look`.
            training: As of `Detector.look`.

        Returns:
            ``"scales"``, a dict from each scale to a pair of what `FasterRCNN.look`
            returns and of the ratios as of `scaled`, and ``"shapes"``, heights and widths
            of the images as they were given.
        """
        at_scales = {}
        for scale in dict.fromkeys((*self.scales, self.proposals)):
            resized, ratios = scaled(batch, scale, self.spec)
            at_scales[scale] = (self.model.look(resized, training), ratios)
        return {"scales": at_scales, "shapes": batches.shapes_of(batch)}

    def propose(
        self, seen: dict[str, Any], *, training: bool = False, xla: bool = False
    ) -> tuple[Tensor, Tensor]:
        """As of the detector, at one scale; in pixels of the images that were given."""
        its, ratios = seen["scales"][self.proposals]
        boxes, valid = self.model.propose(its, training=training, xla=xla)
        return boxes / ratios, valid

    def classify(
        self, seen: dict[str, Any], boxes: Tensor, *, xla: bool = False
    ) -> tuple[Tensor, Tensor]:
        """As of the detector, on the maximum of the features of two scales."""
        regions = self.model.regions
        wanted = regions.with_image(boxes, seen["shapes"])
        lower = lower_scales(wanted, self.scales, self.side)
        upper = ops.minimum(lower + 1, len(self.scales) - 1)
        pooled = [0.0, 0.0]
        for index, scale in enumerate(self.scales):
            its, ratios = seen["scales"][scale]
            here = regions.pooled(its["maps"], wanted * ratios, xla=xla)
            pooled = [
                ops.where((which == index)[..., None, None, None], here, before)
                for which, before in zip((lower, upper), pooled, strict=True)
            ]
        features = ops.maximum(*map(regions.features, pooled))
        said = regions.outputs(features)
        return detections.decoded(self.spec.box_head, boxes, *said, seen["shapes"])

    def get_config(self) -> dict[str, Any]:
        """What `from_config` needs."""
        return {
            "model": keras.saving.serialize_keras_object(self.model),
            "scales": list(self.scales),
            "proposals": self.proposals,
            "side": self.side,
            "name": self.name,
        }


def lower_scales(boxes: Tensor, scales: Sequence[float], side: float) -> Tensor:
    """The smaller of the two scales at which each box is pooled.

    Args:
        boxes: ``(batch, n, 4)``.
        scales: From the smallest on.
        side: The square root of the area that boxes should have between both scales.

    Returns:
        Indices of scales, int32 ``(batch, n)``; the other scale is the next one, if there
        is one.
    """
    extent = ops.maximum(boxes[..., 2:] - boxes[..., :2], 0.0)
    sides = ops.sqrt(extent[..., 0] * extent[..., 1])
    at_scales = sides[..., None] * ops.convert_to_tensor(list(scales), "float32")
    small = ops.cast(at_scales <= side, "int32")
    return ops.clip(ops.sum(small, axis=-1) - 1, 0, max(len(scales) - 2, 0))


def scaled(
    batch: Mapping[str, Any], scale: float, spec: DetectorSpec
) -> tuple[dict[str, Any], Tensor]:
    """A batch in another size.

    Args:
        batch: ``"images"`` and perhaps ``"image_shapes"``, as of `FasterRCNN`.
        scale: What sides are multiplied by, and rounded.
        spec: The detector's row, whose mean takes the place of what images were filled up
            with: it must not reach into them.

    Returns:
        The batch, and what x1, y1, x2 and y2 of its boxes are multiplied by, ``(4,)``.
    """
    images, shapes = batch["images"], batch.get("image_shapes")
    old = ops.shape(images)[1:3]
    new = old if scale == 1 else tuple(_scaled_side(side, scale) for side in old)
    ratio = ops.stack(
        [
            ops.cast(now, "float32") / ops.cast(before, "float32")
            for now, before in zip(new, old, strict=True)
        ]
    )
    if scale != 1:
        images = ops.cast(images, "float32")
        if shapes is not None:
            mean = spec.mean if spec.channel_order == "rgb" else spec.mean[::-1]
            inside = batches.inside(shapes, *old)[..., None]
            images = ops.where(inside, images, ops.convert_to_tensor(mean, "float32"))
            shapes = ops.cast(shapes, "float32") * ratio
        images = _resized(images, new)
    ratios = ops.tile(ops.flip(ratio), 2)
    if shapes is None:
        return {"images": images}, ratios
    return {"images": images, "image_shapes": shapes}, ratios


def _resized(images, size):
    if keras.backend.backend() != "tensorflow":
        return ops.image.resize(images, size, data_format="channels_last")
    import tensorflow as tf

    # Keras's function compares the size with 0, which a graph may not know yet.
    return tf.image.resize(images, size)


def _scaled_side(side, scale):
    if isinstance(side, int):
        return max(round(side * scale), 1)
    pixels = ops.round(ops.cast(side, "float32") * scale)
    return ops.maximum(ops.cast(pixels, "int32"), 1)
