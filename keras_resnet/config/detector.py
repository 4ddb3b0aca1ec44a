"""The fields that describe a Faster R-CNN, and what values they can have."""

from dataclasses import dataclass
from typing import Literal

from keras_resnet.config.architectures import ARCHITECTURES
from keras_resnet.config.checks import check_choice, check_positive
from keras_resnet.config.lookup import find
from keras_resnet.config.preprocessing import IMAGENET_MEAN, IMAGENET_STD
from keras_resnet.config.spec import ResNetSpec

PYRAMID_LEVELS = 5  # P2 to P6; Lin et al. 2017, sec. 4.1.


@dataclass(frozen=True, kw_only=True)
class Anchors:
    """The boxes that the region proposal network begins with, at each cell of a map.

    Attributes:
        sizes: For each feature map, the square roots of the areas in pixels.
        ratios: Heights divided by widths.
        outermost: Which of the two changes slowest in the order of a cell's anchors.
        rounded: Whether corners around a cell's centre are whole pixels.
        offset: Where the first cell's centre is, in cells: 0 is the image's corner.
        measured_strides: Whether the distance of cells is the image's side divided by
            the map's, rounded down, instead of the map's nominal stride.
        inside_only: Whether anchors that cross the image's border are left out of
            training.
    """

    sizes: tuple[tuple[float, ...], ...]
    ratios: tuple[float, ...] = (0.5, 1.0, 2.0)
    outermost: Literal["ratio", "size"] = "size"
    rounded: bool = False
    offset: float = 0.0
    measured_strides: bool = False
    inside_only: bool = False


@dataclass(frozen=True, kw_only=True)
class Proposals:
    """The region proposal network: its head, what it learns from, and what it proposes.

    Pairs of numbers are for training and for testing.

    Attributes:
        convolutions: Number of 3x3 convolutions before the two 1x1 convolutions.
        foreground: IoU with a true box from which an anchor is an object.
        background: IoU below which it is none; between the two it is ignored.
        samples: Anchors per image in the loss.
        foreground_share: Of the samples, at the most.
        before_suppression: Boxes per feature map that are looked at, the best ones.
        after_suppression: Boxes per image that are proposed.
        suppression: IoU above which the worse of two boxes is dropped.
        smallest: Side in pixels that a proposal must have.
        beta: Where the loss of boxes turns from a parabola into a line; 0 is L1.
    """

    convolutions: int = 1
    foreground: float = 0.7
    background: float = 0.3
    samples: int = 256
    foreground_share: float = 0.5
    before_suppression: tuple[int, int]
    after_suppression: tuple[int, int]
    suppression: float = 0.7
    smallest: float = 0.0
    beta: float = 0.0


@dataclass(frozen=True, kw_only=True)
class BoxHead:
    """What classifies the proposals and moves their boxes.

    Attributes:
        layers: ``"dense"`` (two dense layers), ``"convolutions"`` (four 3x3 convolutions
            with batch norm and a dense layer) or ``"stage"`` (the network's last one).
        units: Of each dense layer.
        pooled: Side of the map that ROIAlign makes of a proposal.
        sampling_ratio: Points per cell of it and direction; 0 is as many as there are
            pixels (rounded up).
        aligned: Whether ROIAlign shifts by half a pixel, so that a pixel's value is at
            its centre.
        foreground: IoU with a true box from which a proposal is an object.
        background: IoUs from which and below which it is none; else it is ignored.
        samples: Proposals per image in the loss.
        foreground_share: Of the samples, at the most.
        weights: What the offsets of centres and the logarithms of sides (x, y, w, h)
            are multiplied by.
        background_class: Whether the background is the first of the logits, with boxes
            of its own that nothing uses, or the last, without.
        score: Probability above which a detection is kept.
        suppression: IoU above which the worse of two boxes of a class is dropped.
        detections: Boxes per image, the best ones.
        smallest: Side in pixels that a detection must have.
        beta: As of `Proposals`.
    """

    layers: Literal["dense", "convolutions", "stage"]
    units: int = 1024
    pooled: int = 7
    sampling_ratio: int = 0
    aligned: bool = True
    foreground: float = 0.5
    background: tuple[float, float] = (0.0, 0.5)
    samples: int = 512
    foreground_share: float = 0.25
    weights: tuple[float, float, float, float] = (10.0, 10.0, 5.0, 5.0)
    background_class: Literal["first", "last"] = "last"
    score: float = 0.05
    suppression: float = 0.5
    detections: int = 100
    smallest: float = 0.0
    beta: float = 0.0


@dataclass(frozen=True, kw_only=True)
class DetectorSpec:
    """What distinguishes one published Faster R-CNN from another.

    Attributes:
        name: Of a row of `DETECTORS`, its key.
        backbone: A network's name, or its `ResNetSpec`.
        neck: Where proposals come from: ``"fpn"`` (a feature pyramid of all stages),
            ``"c4"`` (the third stage; the fourth is the box head) or ``"dc5"`` (the
            fourth, dilated instead of strided).
        pyramid_filters: Of the pyramid's convolutions.
        pyramid_batch_norm: Whether the convolutions of the pyramid have batch norm in
            place of a bias.
        anchors: `Anchors`.
        proposals: `Proposals`.
        box_head: `BoxHead`.
        frozen_stages: How many stages, and the stem, pretrained weights keep in training.
        frozen_batch_norm: Whether pretrained batch norms keep statistics and scales.
        mean: Subtracted from pixels with values from 0 to 255, in ``channel_order``.
        std: Divides the difference.
        channel_order: Of the backbone's input.
        sides: Lengths in pixels that images were tested with: of the shorter side, and at
            the most of the longer one.
        classes: Of the published network, without the background.
        paper: Who published it.
        source: The repository that the row follows.
        deviations: Where ours differ from the source, a sentence each.

    Raises:
        ValueError: If no detector can have these values.
    """

    name: str = "custom"
    backbone: str | ResNetSpec
    neck: Literal["fpn", "c4", "dc5"]
    pyramid_filters: int = 256
    pyramid_batch_norm: bool = False
    anchors: Anchors
    proposals: Proposals
    box_head: BoxHead
    frozen_stages: int = 1
    frozen_batch_norm: bool = True
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD
    channel_order: Literal["rgb", "bgr"] = "rgb"
    sides: tuple[int, int] = (800, 1333)
    classes: int
    paper: str
    source: str
    deviations: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_choice("neck", self.neck, ("fpn", "c4", "dc5"))
        check_positive("classes", self.classes)
        levels = PYRAMID_LEVELS if self.neck == "fpn" else 1
        sizes = self.anchors.sizes
        if len(sizes) != levels or len({len(level) for level in sizes}) != 1:
            raise ValueError(
                f"`anchors.sizes` must hold sizes for {levels} feature map(s) with "
                f"neck={self.neck!r}, as many for each. Received: sizes={sizes!r}."
            )
        if (self.box_head.layers == "stage") != (self.neck == "c4"):
            raise ValueError(
                "`box_head.layers` must be 'stage' with neck='c4', whose last stage it is, "
                f"and only there. Received: {self.box_head.layers!r} with "
                f"neck={self.neck!r}."
            )
        if self.box_head.samples > self.proposals.after_suppression[0]:
            raise ValueError(
                "`box_head.samples` must not exceed the proposals in training. Received: "
                f"samples={self.box_head.samples}, "
                f"after_suppression={self.proposals.after_suppression}."
            )

    @property
    def network(self) -> ResNetSpec:
        """The backbone's `ResNetSpec`.

        Raises:
            ValueError: If there is no network of this name.
        """
        if isinstance(self.backbone, ResNetSpec):
            return self.backbone
        return find(ARCHITECTURES, self.backbone, kind="network")
