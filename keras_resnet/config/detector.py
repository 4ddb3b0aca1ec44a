"""The fields that describe a Faster R-CNN, and what values they can have."""

import math
from dataclasses import dataclass
from typing import Literal

from keras_resnet.config.architectures import ARCHITECTURES
from keras_resnet.config.checks import (
    COUNT,
    FINITE,
    NOT_NEGATIVE,
    POSITIVE,
    SHARE,
    WHOLE,
    check_choice,
    check_each,
    check_name,
    check_numbers,
    check_positive,
    check_range,
    set_tuples,
)
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

    Raises:
        ValueError: If no anchors can have these values.
    """

    sizes: tuple[tuple[float, ...], ...]
    ratios: tuple[float, ...] = (0.5, 1.0, 2.0)
    outermost: Literal["ratio", "size"] = "size"
    rounded: bool = False
    offset: float = 0.0
    measured_strides: bool = False
    inside_only: bool = False

    def __post_init__(self) -> None:
        set_tuples(self, "sizes", "ratios")
        if not self.sizes or len({len(level) for level in self.sizes}) != 1:
            raise ValueError(
                "`sizes` must hold the sizes for each feature map, as many for each. "
                f"Received: sizes={self.sizes!r}."
            )
        for level in self.sizes:
            check_each("sizes", level, POSITIVE)
        check_each("ratios", self.ratios, POSITIVE)
        check_choice("outermost", self.outermost, ("ratio", "size"))
        check_numbers(self, offset=NOT_NEGATIVE)


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

    Raises:
        ValueError: If no proposals can have these values.
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

    def __post_init__(self) -> None:
        set_tuples(self, "before_suppression", "after_suppression")
        check_numbers(self, convolutions=COUNT, background=SHARE)
        check_each("before_suppression", self.before_suppression, COUNT, 2)
        check_each("after_suppression", self.after_suppression, COUNT, 2)
        _check_learning(self, self.background)


@dataclass(frozen=True, kw_only=True)
class BoxHead:
    """What classifies the proposals and moves their boxes.

    Attributes:
        layers: ``"dense"`` (two dense layers), ``"convolutions"`` (four 3x3 convolutions
            with batch norm and a dense layer) or ``"stage"`` (the network's last one).
        units: Of each dense layer.
        context: Whether what the layers make of the whole image, pooled as a region, is
            joined to what they make of each region, before the last two layers (He et
            al. 2016a, appendix B).
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

    Raises:
        ValueError: If no box head can have these values.
    """

    layers: Literal["dense", "convolutions", "stage"]
    units: int = 1024
    context: bool = False
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

    def __post_init__(self) -> None:
        set_tuples(self, "background", "weights")
        check_choice("layers", self.layers, ("dense", "convolutions", "stage"))
        check_choice("background_class", self.background_class, ("first", "last"))
        check_numbers(self, units=COUNT, pooled=COUNT, detections=COUNT)
        check_numbers(self, sampling_ratio=WHOLE, score=SHARE)
        check_each("weights", self.weights, POSITIVE, 4)
        check_range(self, "background", 0.0, 1.0)
        _check_learning(self, self.background[1])


def _check_learning(row: Proposals | BoxHead, background: float) -> None:
    """Raises `ValueError` unless boxes can be drawn for the loss, and suppressed."""
    check_numbers(
        row,
        foreground=SHARE,
        samples=COUNT,
        foreground_share=SHARE,
        suppression=SHARE,
        smallest=NOT_NEGATIVE,
        beta=NOT_NEGATIVE,
    )
    if not 0 < background <= row.foreground:
        raise ValueError(
            "`background` must end above 0 and not above `foreground`, as a box is "
            f"either. Received: background={row.background!r}, "
            f"foreground={row.foreground!r}."
        )
    if row.samples * row.foreground_share < 1:
        raise ValueError(
            "`samples` times `foreground_share` must be at least 1, so that objects are "
            f"drawn. Received: samples={row.samples}, "
            f"foreground_share={row.foreground_share}."
        )


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
        set_tuples(self, "mean", "std", "sides", "deviations")
        check_name(self.name)
        check_choice("neck", self.neck, ("fpn", "c4", "dc5"))
        check_choice("channel_order", self.channel_order, ("rgb", "bgr"))
        check_positive("classes", self.classes)
        check_numbers(self, pyramid_filters=COUNT, frozen_stages=WHOLE)
        check_each("mean", self.mean, FINITE, 3)
        check_each("std", self.std, POSITIVE, 3)
        check_each("sides", self.sides, COUNT, 2)
        check_range(self, "sides", 1, math.inf)
        self._check_parts()

    def _check_parts(self) -> None:
        """Raises `ValueError` unless anchors, proposals and head fit each other."""
        levels = PYRAMID_LEVELS if self.neck == "fpn" else 1
        sizes = self.anchors.sizes
        if len(sizes) != levels:
            raise ValueError(
                f"`anchors.sizes` must hold sizes for {levels} feature map(s) with "
                f"neck={self.neck!r}. Received: sizes={sizes!r}."
            )
        if (self.box_head.layers == "stage") != (self.neck == "c4"):
            raise ValueError(
                "`box_head.layers` must be 'stage' with neck='c4', whose last stage it is, "
                f"and only there. Received: {self.box_head.layers!r} with "
                f"neck={self.neck!r}."
            )
        if self.neck == "fpn" and not self.box_head.sampling_ratio:
            raise ValueError(
                "`box_head.sampling_ratio` must be positive with neck='fpn', as regions "
                "are pooled from several maps. Received: sampling_ratio=0."
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
