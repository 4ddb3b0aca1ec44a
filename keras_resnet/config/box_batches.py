"""How images with boxes become batches, as rows."""

from dataclasses import dataclass
from typing import Literal

from keras_resnet.config.checks import is_integer

ROUNDING = ("floor", "half_up")


@dataclass(frozen=True, kw_only=True)
class BoxBatches:
    """How images with boxes are resized, padded and changed at random.

    The defaults are torchvision's for Faster R-CNN (models/detection/transform.py and
    faster_rcnn.py, 0.28; references/detection: flips with probability 0.5).

    Attributes:
        batch_size: Images per update.
        shorter_sides: Lengths in pixels of an image's shorter side after resizing. One is
            drawn for each image to train on; others get the last one.
        longer_side: Length in pixels that the longer side may have: images for which it
            would be larger are resized less, as a whole.
        multiple: Height and width of a batch are multiples of this many pixels, so that
            the network's strides divide them.
        rounding: How a resized side is rounded: ``"floor"``, as torchvision does, or
            ``"half_up"``, as Detectron2 does (data/transforms, ResizeShortestEdge).
        horizontal_flip: Whether half of the images to train on are mirrored left to right.
        vertical_flip: The same from top to bottom, for images without an up and down.
        difficult: Whether objects that VOC calls difficult are trained on. Detectron2 does
            so (data/datasets/pascal_voc.py); py-faster-rcnn leaves them out, and takes what
            they show for background. Evaluation ignores them either way.
        without_objects: Whether images without objects are trained on, as background.
            torchvision and Detectron2 leave those of COCO out.
        max_boxes: Places for boxes in a batch's ground truth. Of an image with more objects
            the largest are trained on. `None` is as many as the image with most has.
    """

    batch_size: int
    shorter_sides: tuple[int, ...] = (800,)
    longer_side: int = 1333
    multiple: int = 32
    rounding: Literal["floor", "half_up"] = "floor"
    horizontal_flip: bool = True
    vertical_flip: bool = False
    difficult: bool = True
    without_objects: bool = True
    max_boxes: int | None = None

    def __post_init__(self) -> None:
        counts = {
            "batch_size": self.batch_size,
            "longer_side": self.longer_side,
            "multiple": self.multiple,
            "max_boxes": 1 if self.max_boxes is None else self.max_boxes,
        }
        for name, value in counts.items():
            if not is_integer(value, 1):
                raise ValueError(
                    f"`{name}` must be a positive integer. Received: {name}={value!r}."
                )
        sides = self.shorter_sides
        several = isinstance(sides, tuple | list) and len(sides)
        if not several or not all(is_integer(side, 1) for side in sides):
            raise ValueError(
                "`shorter_sides` must be a tuple of positive integers, at least one, such "
                f"as (800,). Received: shorter_sides={sides!r}."
            )
        if max(sides) > self.longer_side:
            raise ValueError(
                "`longer_side` must not be smaller than one of `shorter_sides`. Received: "
                f"longer_side={self.longer_side}, shorter_sides={sides}."
            )
        if self.rounding not in ROUNDING:
            raise ValueError(
                f"`rounding` must be one of {', '.join(map(repr, ROUNDING))}. Received: "
                f"rounding={self.rounding!r}."
            )
