"""The fields that describe a residual network, and what values they can have."""

from dataclasses import dataclass
from typing import Literal

from keras_resnet.config.checks import (
    check_choice,
    check_name,
    check_positive,
    check_rate,
)
from keras_resnet.config.merges import Merge
from keras_resnet.config.orders import ORDERS, WHY_NOT

CONVOLUTIONS: dict[str, int] = {  # Of each kind of block, on the main path.
    "basic": 2,
    "bottleneck": 3,
    "bottleneck_v1_5": 3,
    "darknet": 2,
    "conv": 1,
}
STEM_STRIDES: dict[
    str, tuple[int, int]
] = {  # Of the stem's convolutions, and of the pooling behind them.
    "cifar": (1, 1),
    "imagenet": (2, 2),
    "deep": (2, 2),
    "caffe": (2, 2),
    "caffe_biased": (2, 2),
    "bare": (2, 2),
    "keras_v2": (2, 2),
    "drn": (1, 1),
    "darknet": (1, 1),
    "darknet_timm": (1, 1),
    "highway": (1, 1),
}
IMAGE_SIZES: dict[str, int] = {"imagenet": 224, "cifar10": 32}
CLASSES: dict[str, int] = {"imagenet": 1000, "cifar10": 10}


@dataclass(frozen=True, kw_only=True)
class Stage:
    """Blocks in a row whose outputs have one shape.

    Attributes:
        block: The convolutions of a block: ``"basic"`` (3x3, 3x3), ``"bottleneck"``
            (1x1, 3x3, 1x1, the stride on the first), ``"bottleneck_v1_5"`` (the stride
            on the 3x3) or ``"conv"`` (one 3x3, never with a shortcut).
        repeats: Number of blocks.
        filters: Of the 3x3 convolutions.
        output_filters: Of the blocks' outputs.
        stride: Of the first block; of the last one in the order ``"keras_v2"``, of a
            convolution before the blocks in ``"darknet"`` and of a max pooling there in
            ``"highway"``.
        dilation: Of the 3x3 convolutions.
        first_dilations: In the first block: of its first 3x3 convolution and of a
            second one. `None` is ``dilation`` for both.
    """

    block: str
    repeats: int
    filters: int
    output_filters: int
    stride: int = 1
    dilation: int = 1
    first_dilations: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        check_choice("block", self.block, tuple(CONVOLUTIONS))
        for name in ("repeats", "filters", "output_filters", "stride", "dilation"):
            check_positive(name, getattr(self, name))
        if self.block == "darknet" and self.filters < 2:
            raise ValueError(
                "A 'darknet' block's `filters` must be at least 2, as its first "
                f"convolution has half of them. Received: filters={self.filters}."
            )
        if self.block in ("basic", "conv") and self.filters != self.output_filters:
            raise ValueError(
                f"A {self.block!r} block's `output_filters` must be its `filters`. "
                f"Received: output_filters={self.output_filters}, "
                f"filters={self.filters}."
            )

    def dilations(self, index: int) -> tuple[int, int]:
        """Of the 3x3 convolutions of the block with this index, from 1."""
        if index == 1 and self.first_dilations:
            return self.first_dilations
        return (self.dilation, self.dilation)


def doubling(
    block: str,
    repeats: tuple[int, ...],
    filters: int,
    output_filters: int | None = None,
) -> tuple[Stage, ...]:
    """Stages that halve the resolution and double the filters, one after the other.

    Args:
        block: Kind of block in all of them.
        repeats: Blocks per stage, e.g. ``(3, 4, 6, 3)``.
        filters: Of the first stage's 3x3 convolutions.
        output_filters: Of the first stage's output; by default ``filters``, and 4 times
            as many for a bottleneck.
    """
    if not isinstance(repeats, tuple) or not repeats:
        raise ValueError(
            "`repeats` must be a tuple of positive integers, one for each stage. "
            f"Received: repeats={repeats!r}."
        )
    bottleneck = str(block).startswith("bottleneck")
    output_filters = output_filters or (4 * filters if bottleneck else filters)
    return tuple(
        Stage(
            block=block,
            repeats=count,
            filters=filters * 2**number,
            output_filters=output_filters * 2**number,
            stride=1 if number == 0 else 2,
        )
        for number, count in enumerate(repeats)
    )


@dataclass(frozen=True, kw_only=True)
class ResNetSpec:
    """What distinguishes one published residual network from another.

    Attributes:
        name: What its models are called; of a row of `ARCHITECTURES`, its key.
        stem: What comes before the first stage; a row of `models/stems.py`.
        stem_filters: Filters of the stem's last convolution.
        stages: The rest, up to the classifier.
        order: Of convolutions, batch norm, ReLU and addition; a function of
            `models/blocks.py`. ``"original"`` is v1, ``"preactivation"`` v2, ``"plain"``
            has no shortcuts. He et al. 2016b, fig. 4.
        shortcut: Where shapes differ, pad with zeros (option ``"A"``) or project
            (``"B"``); project in every block (``"C"``); average, then project
            (``"D"``). `None` in a plain net. He et al. 2016a, sec. 3.3; He et al.
            2019, fig. 2c.
        merge: How shortcut and residual are added, if not simply.
        groups: Of the 3x3 convolutions; ResNeXt's cardinality.
        squeeze_excitation: Ratio by which squeeze-and-excitation reduces the channels,
            or `None` for none. Hu et al. 2018.
        dropout: Rate between the convolutions of a pre-activation block. Zagoruyko &
            Komodakis 2016, sec. 2.4.
        stochastic_depth: Probability that training leaves out the last block; it grows
            linearly from the first one on. Huang et al. 2016, sec. 3.
        zero_gamma: Whether the last batch norm of each block begins with a scale of 0,
            the block as an identity. He et al. 2019, sec. 3.1.
        depth_counts: What is counted in `depth` besides the convolutions on the main path:
            the ``"classifier"`` or, as in the 6n + 4 of wide residual networks, the
            ``"projections"`` of shortcuts. Zagoruyko & Komodakis 2016, sec. 2.
        dataset: For whose images and classes the network was published.
        image_size: Side in pixels of these images.
        paper: Who published the network, and where in the paper.
        source: The repository that the graph follows where the paper leaves a
            choice, and how it differs from the paper.

    Raises:
        ValueError: If no network can have these values.
    """

    name: str = "custom"
    stem: str
    stem_filters: int
    stages: tuple[Stage, ...]
    order: str = "original"
    shortcut: str | None = "B"
    merge: Merge | None = None
    groups: int = 1
    squeeze_excitation: int | None = None
    dropout: float = 0.0
    stochastic_depth: float = 0.0
    zero_gamma: bool = False
    depth_counts: Literal["classifier", "projections"] = "classifier"
    dataset: Literal["imagenet", "cifar10"]
    image_size: int | None = None
    paper: str
    source: str

    def __post_init__(self) -> None:
        check_name(self.name)
        check_choice("stem", self.stem, tuple(STEM_STRIDES))
        check_choice("order", self.order, tuple(ORDERS))
        check_choice("dataset", self.dataset, tuple(CLASSES))
        check_choice("depth_counts", self.depth_counts, ("classifier", "projections"))
        if not self.stages or not all(isinstance(s, Stage) for s in self.stages):
            raise ValueError(
                "`stages` must be a tuple of `Stage`, at least one. "
                f"Received: stages={self.stages!r}."
            )
        check_positive("stem_filters", self.stem_filters)
        check_positive("groups", self.groups)
        if any(s.filters % self.groups for s in self.stages):
            raise ValueError(
                "`groups` must divide the filters of every stage. "
                f"Received: groups={self.groups}, "
                f"filters={[s.filters for s in self.stages]}."
            )
        if not isinstance(self.merge, Merge | None):
            raise ValueError(
                "`merge` must be a Scaling, an ExclusiveGate, a ShortcutGate or a "
                "ShortcutDropout of `config.merges`, or None. "
                f"Received: merge={self.merge!r}."
            )
        check_rate("dropout", self.dropout)
        check_rate("stochastic_depth", self.stochastic_depth)
        if self.squeeze_excitation is not None:
            check_positive("squeeze_excitation", self.squeeze_excitation)
        check_choice("zero_gamma", self.zero_gamma, (False, True))
        self._check_order()
        self._check_padding()
        if self.image_size is None:
            object.__setattr__(self, "image_size", IMAGE_SIZES[self.dataset])

    def _check_order(self) -> None:
        order = ORDERS[self.order]
        if self.shortcut not in order.shortcuts:
            possible = ", ".join(map(repr, order.shortcuts))
            raise ValueError(
                f"`shortcut` must be one of {possible} with order={self.order!r}. "
                f"Received: shortcut={self.shortcut!r}."
            )
        for name, reason in WHY_NOT.items():
            if getattr(self, name) and name not in order.options:
                raise ValueError(
                    f"`{name}` can't be set with order={self.order!r}: {reason}. "
                    f"Received: {name}={getattr(self, name)!r}."
                )

    def _check_padding(self) -> None:
        """Option A adds channels to what a stage begins with, and can't take any away."""
        if self.shortcut != "A" or ORDERS[self.order].before_stage:
            return
        before = "stem_filters", self.stem_filters
        for number, stage in enumerate(self.stages, start=1):
            if stage.block != "conv" and stage.output_filters < before[1]:
                raise ValueError(
                    "With shortcut='A' a stage must not have fewer filters than what "
                    f"comes before it: stage {number} must have at least {before[1]} "
                    f"`output_filters`, or the shortcut must project ('B'). Received: "
                    f"{before[0]}={before[1]}, output_filters={stage.output_filters}."
                )
            before = f"output_filters of stage {number}", stage.output_filters

    @property
    def depth(self) -> int:
        """Weighted layers: the convolutions on the main path and what `depth_counts` says.

        The three 3x3 convolutions of a ``"deep"`` stem count as the one that they replace.
        """
        order = ORDERS[self.order]
        stages = [
            order.before_stage + stage.repeats * CONVOLUTIONS[stage.block]
            for stage in self.stages
        ]
        others = 1 if self.depth_counts == "classifier" else self._projections
        return 1 + sum(stages) + order.at_end + others  # With the stem's.

    @property
    def _projections(self) -> int:
        """Number of stages whose first block changes the shape."""
        before = [self.stem_filters, *(stage.output_filters for stage in self.stages)]
        return sum(
            stage.stride > 1 or stage.output_filters != filters
            for stage, filters in zip(self.stages, before, strict=False)
        )

    @property
    def blocks(self) -> int:
        """Number of blocks in all stages."""
        return sum(stage.repeats for stage in self.stages)

    @property
    def preactivation(self) -> bool:
        """Whether batch norm and ReLU come before the convolutions (v2)."""
        return ORDERS[self.order].preactivation

    @property
    def strides(self) -> dict[str, int]:
        """By how much the side of the image has been divided, by feature map."""
        first, pooling = STEM_STRIDES[self.stem]
        strides, stride = {"stem": first}, first * pooling
        for number, stage in enumerate(self.stages, start=1):
            stride *= stage.stride
            strides[f"stage{number}"] = stride
        return strides

    @property
    def stride(self) -> int:
        """Side of the image divided by the side of the last feature map."""
        return list(self.strides.values())[-1]

    @property
    def classes(self) -> int:
        """Classes of the data set that the network was published for."""
        return CLASSES[self.dataset]
