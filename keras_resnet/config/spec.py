"""What distinguishes one published network from another: the columns of the table."""

from dataclasses import dataclass, replace
from typing import Literal

CONVOLUTIONS = {  # Of each kind of block, on the main path.
    "basic": 2,
    "bottleneck": 3,
    "bottleneck_v1_5": 3,
    "darknet": 2,
    "conv": 1,
}
STEM_STRIDES = {  # Of the stem's convolutions, and of the pooling behind them.
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
ORDERS = (
    "plain",
    "original",
    "bn_after_addition",
    "relu_before_addition",
    "relu_only_preactivation",
    "preactivation",
    "keras_v2",
    "darknet",
    "darknet_timm",
    "highway",
)
SHORTCUTS = ("A", "B", "C", "D")
IMAGE_SIZES = {"imagenet": 224, "cifar10": 32}
CLASSES = {"imagenet": 1000, "cifar10": 10}


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

    def __post_init__(self):
        if not isinstance(self.block, str) or self.block not in CONVOLUTIONS:
            raise ValueError(
                f"`block` must be one of {', '.join(CONVOLUTIONS)}. "
                f"Received: block={self.block!r}."
            )
        numbers = ("repeats", "filters", "output_filters", "stride", "dilation")
        for name in numbers:
            value = getattr(self, name)
            if not isinstance(value, int) or value < 1:
                raise ValueError(
                    f"`{name}` must be a positive integer. Received: {name}={value!r}."
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


def doubling(block, repeats, filters, output_filters=None) -> tuple[Stage, ...]:
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
class Scaling:
    """Constant factors of shortcut and residual: ``s x + r F(x)``.

    He et al. 2016b, sec. 3.1.
    """

    shortcut: float
    residual: float


@dataclass(frozen=True, kw_only=True)
class ExclusiveGate:
    """``(1 - g) x + g F(x)``, g a sigmoid of a convolution of x. Sec. 3.1.

    Attributes:
        bias: Initial bias of the gate; the more negative, the more is carried.
        kernel_size: Of the convolution.
    """

    bias: float
    kernel_size: int = 1


@dataclass(frozen=True, kw_only=True)
class ShortcutGate:
    """``(1 - g) x + F(x)``: "shortcut-only gating", sec. 3.1.

    Attributes:
        bias: Initial bias of the gate; the more negative, the more is carried.
    """

    bias: float


@dataclass(frozen=True, kw_only=True)
class ShortcutDropout:
    """Dropout of the shortcut, with the given rate. Sec. 3.1."""

    rate: float


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
    merge: Scaling | ExclusiveGate | ShortcutGate | ShortcutDropout | None = None
    groups: int = 1
    squeeze_excitation: int | None = None
    dropout: float = 0.0
    stochastic_depth: float = 0.0
    zero_gamma: bool = False
    dataset: Literal["imagenet", "cifar10"]
    image_size: int | None = None
    paper: str
    source: str

    def __post_init__(self):
        _check_choice("stem", self.stem, tuple(STEM_STRIDES))
        _check_choice("order", self.order, ORDERS)
        _check_choice("dataset", self.dataset, tuple(CLASSES))
        plain = self.order == "plain"
        _check_choice("shortcut", self.shortcut, (None,) if plain else SHORTCUTS)
        if not self.stages or not all(isinstance(s, Stage) for s in self.stages):
            raise ValueError(
                "`stages` must be a tuple of `Stage`, at least one. "
                f"Received: stages={self.stages!r}."
            )
        for name in ("stem_filters", "groups"):
            value = getattr(self, name)
            if not isinstance(value, int) or value < 1:
                raise ValueError(
                    f"`{name}` must be a positive integer. Received: {name}={value!r}."
                )
        if any(s.filters % self.groups for s in self.stages):
            raise ValueError(
                "`groups` must divide the filters of every stage. "
                f"Received: groups={self.groups}, "
                f"filters={[s.filters for s in self.stages]}."
            )
        kinds = Scaling | ExclusiveGate | ShortcutGate | ShortcutDropout | None
        if not isinstance(self.merge, kinds):
            raise ValueError(
                "`merge` must be a Scaling, an ExclusiveGate, a ShortcutGate, a "
                f"ShortcutDropout of this module, or None. Received: merge={self.merge!r}."
            )
        for name in ("dropout", "stochastic_depth"):
            value = getattr(self, name)
            if not isinstance(value, (int, float)) or not 0 <= value < 1:
                raise ValueError(
                    f"`{name}` must be a number of at least 0 and less than 1. "
                    f"Received: {name}={value!r}."
                )
        ratio = self.squeeze_excitation
        if ratio is not None and (not isinstance(ratio, int) or ratio < 1):
            raise ValueError(
                "`squeeze_excitation` must be None or a positive integer, by which the "
                f"channels are divided. Received: squeeze_excitation={ratio!r}."
            )
        _check_choice("zero_gamma", self.zero_gamma, (False, True))
        self._check_order()
        if self.image_size is None:
            object.__setattr__(self, "image_size", IMAGE_SIZES[self.dataset])

    def _check_order(self):
        if self.dropout and self.order != "preactivation":
            raise ValueError(
                "`dropout` lies between the convolutions of a pre-activation block. "
                f"Received: dropout={self.dropout} with order={self.order!r}."
            )
        if self.zero_gamma and self.order != "original":
            raise ValueError(
                "`zero_gamma` needs a batch norm at the end of each residual, "
                "order='original'. Received: "
                f"zero_gamma={self.zero_gamma} with order={self.order!r}."
            )
        if self.order in ("highway", "keras_v2") and self.shortcut != "B":
            raise ValueError(
                f"`shortcut` must be 'B' with order={self.order!r}, which has its own. "
                f"Received: shortcut={self.shortcut!r}."
            )
        of_residuals = {
            "plain": ("merge", "squeeze_excitation", "stochastic_depth"),
            "highway": ("squeeze_excitation", "stochastic_depth"),
        }
        for name in of_residuals.get(self.order, ()):
            if getattr(self, name):
                raise ValueError(
                    f"A {self.order} net has no residuals, so `{name}` can't be had. "
                    f"Received: {name}={getattr(self, name)!r}."
                )

    @property
    def depth(self) -> int:
        """Weighted layers: convolutions on the main path plus the classifier."""
        before = 1 if self.order.startswith("darknet") else 0
        blocks = sum(before + s.repeats * CONVOLUTIONS[s.block] for s in self.stages)
        return blocks + (3 if self.order == "highway" else 2)  # A 1x1 at the end.

    @property
    def preactivation(self) -> bool:
        """Whether batch norm and ReLU come before the convolutions (v2)."""
        return self.order in ("preactivation", "keras_v2")

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


def _check_choice(name, value, choices):
    if value not in choices:
        raise ValueError(
            f"`{name}` must be one of {', '.join(map(repr, choices))}. "
            f"Received: {name}={value!r}."
        )


def with_output_stride(spec: ResNetSpec, output_stride: int) -> ResNetSpec:
    """The network with dilation in place of the strides beyond ``output_stride``.

    The weights are the same. A stage's first block keeps the dilation of the stage
    before in the convolution that had the stride, as in torchvision and timm.

    Args:
        spec: Of any network.
        output_stride: Side of the image divided by the side of the last feature map.

    Raises:
        ValueError: If the network has no such stride on its way.
    """
    strides = sorted(set(spec.strides.values()))
    if spec.order in ("keras_v2", "darknet", "darknet_timm", "highway"):
        raise ValueError(
            "`output_stride` needs a network whose blocks begin with the stride, all but "
            "keras.applications' v2, DarkNet and Highway nets. "
            f"Received: output_stride={output_stride} with order={spec.order!r}."
        )
    if output_stride not in strides:
        raise ValueError(
            f"`output_stride` must be one of {strides}, the strides of the network's "
            f"feature maps. Received: output_stride={output_stride!r}."
        )
    first, pooling = STEM_STRIDES[spec.stem]
    if output_stride < first * pooling:
        raise ValueError(
            f"`output_stride` must be at least {first * pooling}: the stem can't be "
            f"dilated. Received: output_stride={output_stride}."
        )
    stages, stride, dilation = [], first * pooling, 1
    for stage in spec.stages:
        before = dilation
        if stride * stage.stride > output_stride:
            dilation *= stage.stride
            stage = replace(stage, stride=1)
        stride *= stage.stride
        if dilation > 1:
            # With the stride on the first 1x1 the 3x3 has it behind itself already.
            behind = dilation if stage.block == "bottleneck" else before
            stage = replace(
                stage,
                dilation=stage.dilation * dilation,
                first_dilations=tuple(
                    own * new
                    for own, new in zip(
                        stage.dilations(1), (behind, dilation), strict=True
                    )
                ),
            )
        stages.append(stage)
    return replace(spec, stages=tuple(stages))
