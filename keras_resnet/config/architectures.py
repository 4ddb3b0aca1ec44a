"""The published networks, as data: one row each.

The multiply-adds and parameters of every row are in `complexity.json`, which
`benchmarks/complexity.py` writes and the tests compare with built networks.
"""

import json
import pathlib
from dataclasses import dataclass
from typing import Literal

Block = Literal[
    "plain",
    "basic",
    "bottleneck",
    "bottleneck_v1_5",
    "basic_v2",
    "bottleneck_v2",
]
CONVOLUTIONS = {
    "plain": 2,
    "basic": 2,
    "bottleneck": 3,
    "bottleneck_v1_5": 3,
    "basic_v2": 2,
    "bottleneck_v2": 3,
}


@dataclass(frozen=True, kw_only=True)
class ResNetSpec:
    """What distinguishes one published residual network from another.

    Attributes:
        block: Block repeated throughout; a function of `models/blocks.py`.
        blocks: Blocks per stage. Every stage after the first halves the
            resolution and doubles the filters.
        stem: ``"imagenet"`` is 7x7/2 and 3x3/2 max pooling, ``"cifar"`` one 3x3.
        filters: Filters of the first stage (of a bottleneck's 3x3).
        shortcut: Where shapes differ, pad with zeros (option ``"A"``) or project
            (``"B"``); project in every block (``"C"``). `None` in a plain net.
            He et al. 2016a, sec. 3.3.
        paper: Who published the network, and where in the paper.
        source: The repository that the graph follows where the paper leaves a
            choice, and how it differs from the paper.

    Raises:
        ValueError: If no network can have these values.
    """

    block: Block
    blocks: tuple[int, ...]
    stem: Literal["imagenet", "cifar"]
    filters: int
    shortcut: Literal["A", "B", "C"] | None
    paper: str
    source: str

    def __post_init__(self):
        if not isinstance(self.block, str) or self.block not in CONVOLUTIONS:
            raise ValueError(
                f"`block` must be one of {', '.join(CONVOLUTIONS)}. "
                f"Received: block={self.block!r}."
            )
        if (
            not isinstance(self.blocks, tuple)
            or not self.blocks
            or any(not isinstance(n, int) or n < 1 for n in self.blocks)
        ):
            raise ValueError(
                "`blocks` must be a tuple of positive integers, one for each stage. "
                f"Received: blocks={self.blocks!r}."
            )
        if self.stem not in ("imagenet", "cifar"):
            raise ValueError(
                f"`stem` must be 'imagenet' or 'cifar'. Received: stem={self.stem!r}."
            )
        if not isinstance(self.filters, int) or self.filters < 1:
            raise ValueError(
                "`filters` must be a positive integer. "
                f"Received: filters={self.filters!r}."
            )
        allowed = (None,) if self.block == "plain" else ("A", "B", "C")
        if self.shortcut not in allowed:
            raise ValueError(
                f"`shortcut` of a {self.block!r} network must be one of {allowed}. "
                f"Received: shortcut={self.shortcut!r}."
            )

    @property
    def depth(self) -> int:
        """Weighted layers: convolutions on the main path plus the classifier."""
        return 2 + sum(self.blocks) * CONVOLUTIONS[self.block]

    @property
    def preactivation(self) -> bool:
        """Whether batch norm and ReLU come before the convolutions (v2)."""
        return self.block.endswith("_v2")

    @property
    def stride(self) -> int:
        """Side of the image divided by the side of the last feature map."""
        return (4 if self.stem == "imagenet" else 1) * 2 ** (len(self.blocks) - 1)

    @property
    def image_size(self) -> int:
        """Side, in pixels, of the images that the paper trained on."""
        return 224 if self.stem == "imagenet" else 32

    @property
    def classes(self) -> int:
        """Classes of the data set that the network was published for."""
        return 1000 if self.stem == "imagenet" else 10


def _imagenet(block, blocks, **changes):
    row = {
        "stem": "imagenet",
        "filters": 64,
        "shortcut": "B",
        "paper": "He et al. 2016a, table 1",
        "source": "KaimingHe/deep-residual-networks, without the bias of ResNet-50's "
        "first convolution; max pooling pads symmetrically, as in torchvision",
    }
    return ResNetSpec(block=block, blocks=blocks, **(row | changes))


def _v1_5(blocks):
    return _imagenet(
        "bottleneck_v1_5",
        blocks,
        source="fb.resnet.torch, torchvision: the paper's network with the stride on "
        "the 3x3 instead of on the first 1x1",
    )


def _v2(block, blocks):
    return _imagenet(
        block,
        blocks,
        paper="He et al. 2016b, fig. 4e and appendix",
        source="fb.resnet.torch preresnet.lua: batch norm and ReLU in the stem, stride "
        "on the 3x3, projections after the shared pre-activation",
    )


def _plain(blocks):
    return _imagenet(
        "plain", blocks, shortcut=None, paper="He et al. 2016a, fig. 3 and table 2"
    )


def _cifar(n, block="basic", shortcut="A"):
    return ResNetSpec(
        block=block,
        blocks=(n, n, n),
        stem="cifar",
        filters=16,
        shortcut=shortcut,
        paper="He et al. 2016a, sec. 4.2",
        source="fb.resnet.torch: option A pads with zeros after the channels",
    )


def _cifar_plain(n):
    return _cifar(n, block="plain", shortcut=None)


ARCHITECTURES = {
    "resnet18":         _imagenet("basic", (2, 2, 2, 2)),
    "resnet34":         _imagenet("basic", (3, 4, 6, 3)),
    "resnet50":         _imagenet("bottleneck", (3, 4, 6, 3)),
    "resnet101":        _imagenet("bottleneck", (3, 4, 23, 3)),
    "resnet152":        _imagenet("bottleneck", (3, 8, 36, 3)),
    "resnet50_v1_5":    _v1_5((3, 4, 6, 3)),
    "resnet101_v1_5":   _v1_5((3, 4, 23, 3)),
    "resnet152_v1_5":   _v1_5((3, 8, 36, 3)),
    "resnet18_v2":      _v2("basic_v2", (2, 2, 2, 2)),
    "resnet34_v2":      _v2("basic_v2", (3, 4, 6, 3)),
    "resnet50_v2":      _v2("bottleneck_v2", (3, 4, 6, 3)),
    "resnet101_v2":     _v2("bottleneck_v2", (3, 4, 23, 3)),
    "resnet152_v2":     _v2("bottleneck_v2", (3, 8, 36, 3)),
    "resnet200_v2":     _v2("bottleneck_v2", (3, 24, 36, 3)),
    "plain18":          _plain((2, 2, 2, 2)),
    "plain34":          _plain((3, 4, 6, 3)),
    "resnet20":         _cifar(3),
    "resnet32":         _cifar(5),
    "resnet44":         _cifar(7),
    "resnet56":         _cifar(9),
    "resnet110":        _cifar(18),
    "resnet1202":       _cifar(200),
    "plain20":          _cifar_plain(3),
    "plain32":          _cifar_plain(5),
    "plain44":          _cifar_plain(7),
    "plain56":          _cifar_plain(9),
    "plain110":         _cifar_plain(18),
}  # fmt: skip


def complexity() -> dict:
    """Parameters and multiply-adds of every row, by name."""
    return json.loads(pathlib.Path(__file__).with_name("complexity.json").read_text())
