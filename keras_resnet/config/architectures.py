"""The published networks as rows of a table.

Above the table stand the families, each a function that makes rows. The module is longer
than others so that all networks are found in one place. The multiply-adds and parameters
of every row are in `complexity.json`, which `benchmarks/complexity.py` writes and the
tests compare with built networks.
"""

import json
import pathlib
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from keras_resnet.config.merges import (
    ExclusiveGate,
    Scaling,
    ShortcutDropout,
    ShortcutGate,
)
from keras_resnet.config.spec import ResNetSpec, Stage, doubling
from keras_resnet.config.values import from_values

# Blocks per stage, by depth. He et al. 2016a, table 1; 200: fb.resnet.torch.
BASIC = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3)}
BOTTLENECK = {
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
    152: (3, 8, 36, 3),
    200: (3, 24, 36, 3),
}

# --- Networks for ImageNet --------------------------------------------------------


def _imagenet(depth, *, bottleneck="bottleneck_v1_5", filters=64, **changes):
    """A network of a published depth; bottlenecks put out 256 channels at first."""
    if depth in BASIC:
        stages = doubling("basic", BASIC[depth], 64)
    else:
        stages = doubling(bottleneck, BOTTLENECK[depth], filters, 256)
    row = {
        "stem": "imagenet",
        "stem_filters": 64,
        "stages": stages,
        "dataset": "imagenet",
        "paper": "He et al. 2016a, table 1",
    }
    return ResNetSpec(**(row | changes))


def _v1(depth, **changes):
    row = {
        "bottleneck": "bottleneck",
        "source": "KaimingHe/deep-residual-networks, without the bias of ResNet-50's "
        "first convolution; max pooling pads symmetrically, as in torchvision",
    }
    return _imagenet(depth, **(row | changes))


def _caffe(depth):
    # Of the prototxt files only ResNet-50's gives its first convolution a bias.
    return _v1(
        depth,
        stem="caffe_biased" if depth == 50 else "caffe",
        source="KaimingHe/deep-residual-networks, prototxt: max pooling without "
        "padding, its last window cut off; stride on the first 1x1",
    )


def _v1_5(depth):
    return _imagenet(
        depth,
        source="fb.resnet.torch, torchvision: the paper's network with the stride on "
        "the 3x3 instead of on the first 1x1",
    )


def _v2(depth):
    return _imagenet(
        depth,
        order="preactivation",
        paper="He et al. 2016b, fig. 4e and appendix",
        source="fb.resnet.torch preresnet.lua: batch norm and ReLU in the stem, stride "
        "on the 3x3, projections after the shared pre-activation",
    )


def _timm_v2(depth):
    return replace(
        _v2(depth),
        stem="bare",
        source="timm resnetv2.py: neither batch norm nor ReLU in the stem, the first "
        "block activates its input as every other",
    )


def _keras_v2(depth):
    stages = _v2(depth).stages
    strides = (2, 2, 2, 1)
    return replace(
        _v2(depth),
        stem="keras_v2",
        order="keras_v2",
        stages=tuple(
            replace(stage, stride=stride)
            for stage, stride in zip(stages, strides, strict=True)
        ),
        source="keras.applications resnet_v2.py: biases in the stem, the projections "
        "and the last 1x1; a stage's last block has the stride, max pooling its shortcut",
    )


def _plain(depth):
    return _v1(
        depth, order="plain", shortcut=None, paper="He et al. 2016a, fig. 3 and table 2"
    )


def _c(depth, shortcut="B"):
    return _imagenet(
        depth,
        stem="deep",
        shortcut=shortcut,
        paper="He et al. 2019, fig. 2",
        source="timm: three 3x3 convolutions of 32, 32 and 64 filters as the stem, "
        "stride on the 3x3",
    )


def _d(depth):
    return replace(
        _c(depth, shortcut="D"),
        source="timm: as ResNet-C, and shortcuts average 2x2 before they project",
    )


def _b(depth):
    return replace(_v1_5(depth), paper="He et al. 2019, fig. 2a")


def _se(depth, **changes):
    row = {
        "squeeze_excitation": 16,
        "paper": "Hu et al. 2018, table 1",
        "source": "timm: the form of v1.5; reduced channels rounded to multiples of 8",
    }
    return _imagenet(depth, **(row | changes))


def _resnext(depth, groups, width, **changes):
    row = {
        "filters": groups * width,
        "groups": groups,
        "paper": "Xie et al. 2017, table 1",
        "source": "facebookresearch/ResNeXt, form C: grouped convolutions",
    }
    return _imagenet(depth, **(row | changes))


def _wide_imagenet(depth):
    return _imagenet(
        depth,
        filters=128,
        paper="Zagoruyko & Komodakis 2016, table 8",
        source="szagoruyko/wide-residual-networks, torchvision: v1.5 with twice the "
        "filters in the 3x3",
    )


def _drn_a(depth):
    spec = _imagenet(
        depth,
        paper="Yu et al. 2017, sec. 3",
        source="fyu/drn DRN_A: the first block of a dilated stage is not dilated",
    )
    first, second, third, fourth = spec.stages
    undilated = {"stride": 1, "first_dilations": (1, 1)}
    third = replace(third, dilation=2, **undilated)
    fourth = replace(fourth, dilation=4, **undilated)
    return replace(spec, stages=(first, second, third, fourth))


def _drn(arch, block, repeats, ends=1):
    """DRN-C begins and ends with (non-residual) basic blocks, D with convolutions."""
    wide = 1 if block == "basic" else 4
    first = ("basic", 1) if arch == "C" else ("conv", 1)
    last = ("conv", 2 if arch == "C" else ends)

    def stage(block, repeats, filters, output_filters=None, **changes):
        return Stage(
            block=block,
            repeats=repeats,
            filters=filters,
            output_filters=output_filters or filters,
            **changes,
        )

    return ResNetSpec(
        stem="drn",
        stem_filters=16,
        stages=(
            stage(*first, 16),
            stage(*first, 32, stride=2),
            stage(block, repeats[0], 64, 64 * wide, stride=2),
            stage(block, repeats[1], 128, 128 * wide, stride=2),
            stage(block, repeats[2], 256, 256 * wide, dilation=2),
            stage(block, repeats[3], 512, 512 * wide, dilation=4),
            stage(*last, 512, dilation=2),
            stage(*last, 512),
        ),
        dataset="imagenet",
        paper="Yu et al. 2017, fig. 5",
        source="fyu/drn drn.py; the projection before DRN-C-58's level 7, which it "
        "computes and does not use, is left out",
    )


def _darknet53():
    widths = (64, 128, 256, 512, 1024)
    return ResNetSpec(
        stem="darknet",
        stem_filters=32,
        stages=tuple(
            Stage(
                block="darknet",
                repeats=repeats,
                filters=filters,
                output_filters=filters,
                stride=2,
            )
            for repeats, filters in zip((1, 2, 8, 8, 4), widths, strict=True)
        ),
        order="darknet",
        dataset="imagenet",
        image_size=256,
        paper="Redmon & Farhadi 2018, table 1",
        source="pjreddie/darknet cfg/darknet53.cfg: leaky ReLU of slope 0.1",
    )


def _darknet53_timm():
    return replace(
        _darknet53(),
        stem="darknet_timm",
        order="darknet_timm",
        source="timm cspnet.py: leaky ReLU of slope 0.01, PyTorch's default, for which its "
        "weights were trained",
    )


# --- Networks for CIFAR -----------------------------------------------------------


def _cifar(n, block="basic", **changes):
    row = {
        "stem": "cifar",
        "stem_filters": 16,
        "stages": doubling(block, (n, n, n), 16),
        "shortcut": "A" if block == "basic" else "B",
        "dataset": "cifar10",
        "paper": "He et al. 2016a, sec. 4.2",
        "source": "fb.resnet.torch: option A pads with zeros after the channels",
    }
    return ResNetSpec(**(row | changes))


def _cifar_plain(n):
    return _cifar(n, order="plain", shortcut=None)


def _cifar_bottleneck(n, **changes):
    """9n + 2 layers; the first stage widens, so its shortcut projects."""
    row = {
        "paper": "He et al. 2016b, table 2",
        "source": "KaimingHe/resnet-1k-layers resnet-pre-act.lua: stride on the first "
        "1x1, option B",
    }
    return _cifar(n, "bottleneck", **(row | changes))


def _order(order):
    """One of the orders that He et al. 2016b compare, in figure 4 and table 2."""
    figure = {"bn_after_addition": "4b", "relu_before_addition": "4c"}.get(order, "4d")
    return {
        "order": order,
        "paper": f"He et al. 2016b, fig. {figure} and table 2",
        "source": "the figure; where the shape changes, option A (110) or B (164), whose "
        "batch norm follows the place of the residual's last one",
    }


_GATES = "Glorot & Bengio's uniform distribution"


def _study(**changes):
    """ResNet-110 with another shortcut: He et al. 2016b, section 3 and table 1."""
    row = {
        "paper": "He et al. 2016b, fig. 2 and table 1",
        "source": "the paper; gates and factors in every block, the gate of a block "
        "that changes the shape with its stride; of the gates' kernels, whose first values "
        f"the paper doesn't tell, {_GATES}",
    }
    return _cifar(18, **(row | changes))


def _wide(depth, width):
    # Depth 6n + 4: the first convolution, 6n in blocks and three projections.
    n = (depth - 4) // 6
    return ResNetSpec(
        stem="cifar",
        stem_filters=16,
        stages=doubling("basic", (n, n, n), 16 * width),
        order="preactivation",
        dataset="cifar10",
        depth_counts="projections",
        paper="Zagoruyko & Komodakis 2016, table 1",
        source="szagoruyko/wide-residual-networks wide-resnet.lua; dropout is an option",
    )


def _highway(stages, source):
    """``stages`` of (layers, filters, stride); the stem is the first stage's first."""
    return ResNetSpec(
        stem="highway",
        stem_filters=stages[0][1],
        stages=tuple(
            Stage(
                block="conv",
                repeats=count,
                filters=filters,
                output_filters=filters,
                stride=stride,
            )
            for count, filters, stride in stages
        ),
        order="highway",
        # "For example, -1, -3 etc.", sec. 2.2.
        merge=ExclusiveGate(bias=-3.0, kernel_size=3),
        dataset="cifar10",
        paper="Srivastava et al. 2015, table 2; He et al. 2016a, table 6",
        source=f"{source}; the gates' kernels begin with {_GATES}",
    )


def _resnext29(groups, width):
    return ResNetSpec(
        stem="cifar",
        stem_filters=64,
        stages=doubling("bottleneck_v1_5", (3, 3, 3), groups * width, 256),
        groups=groups,
        dataset="cifar10",
        paper="Xie et al. 2017, sec. 5.3",
        source="facebookresearch/ResNeXt resnext.lua, form C",
    )


_ROWS = {
    "resnet18":            _v1(18),
    "resnet34":            _v1(34),
    "resnet50":            _v1(50),
    "resnet101":           _v1(101),
    "resnet152":           _v1(152),
    "resnet50_caffe":      _caffe(50),
    "resnet101_caffe":     _caffe(101),
    "resnet152_caffe":     _caffe(152),
    "resnet50_v1_5":       _v1_5(50),
    "resnet101_v1_5":      _v1_5(101),
    "resnet152_v1_5":      _v1_5(152),
    "resnet200_v1_5":      _v1_5(200),
    "resnet18_v2":         _v2(18),
    "resnet34_v2":         _v2(34),
    "resnet50_v2":         _v2(50),
    "resnet101_v2":        _v2(101),
    "resnet152_v2":        _v2(152),
    "resnet200_v2":        _v2(200),
    "resnetv2_18":         _timm_v2(18),
    "resnetv2_34":         _timm_v2(34),
    "resnetv2_50":         _timm_v2(50),
    "resnetv2_101":        _timm_v2(101),
    "resnetv2_152":        _timm_v2(152),
    "resnetv2_200":        _timm_v2(200),
    "resnet50_v2_keras":   _keras_v2(50),
    "resnet101_v2_keras":  _keras_v2(101),
    "resnet152_v2_keras":  _keras_v2(152),
    "plain18":             _plain(18),
    "plain34":             _plain(34),
    "resnet50b":           _b(50),
    "resnet101b":          _b(101),
    "resnet152b":          _b(152),
    "resnet200b":          _b(200),
    "resnet18c":           _c(18),
    "resnet34c":           _c(34),
    "resnet50c":           _c(50),
    "resnet101c":          _c(101),
    "resnet152c":          _c(152),
    "resnet200c":          _c(200),
    "resnet18d":           _d(18),
    "resnet34d":           _d(34),
    "resnet50d":           _d(50),
    "resnet101d":          _d(101),
    "resnet152d":          _d(152),
    "resnet200d":          _d(200),
    "seresnet50":          _se(50),
    "seresnet101":         _se(101),
    "seresnet152":         _se(152),
    "seresnext50_32x4d":   _se(50, filters=128, groups=32),
    "seresnext101_32x4d":  _se(101, filters=128, groups=32),
    "resnext50_32x4d":     _resnext(50, 32, 4),
    "resnext101_32x4d":    _resnext(101, 32, 4),
    "resnext101_32x8d":    _resnext(101, 32, 8),
    "resnext101_64x4d":    _resnext(101, 64, 4),
    "wide_resnet50_2":     _wide_imagenet(50),
    "wide_resnet101_2":    _wide_imagenet(101),
    "darknet53":           _darknet53(),
    "darknet53_timm":      _darknet53_timm(),
    "drn_a_18":            _drn_a(18),
    "drn_a_34":            _drn_a(34),
    "drn_a_50":            _drn_a(50),
    "drn_c_26":            _drn("C", "basic", (2, 2, 2, 2)),
    "drn_c_42":            _drn("C", "basic", (3, 4, 6, 3)),
    "drn_c_58":            _drn("C", "bottleneck_v1_5", (3, 4, 6, 3)),
    "drn_d_22":            _drn("D", "basic", (2, 2, 2, 2)),
    "drn_d_24":            _drn("D", "basic", (2, 2, 2, 2), ends=2),
    "drn_d_38":            _drn("D", "basic", (3, 4, 6, 3)),
    "drn_d_54":            _drn("D", "bottleneck_v1_5", (3, 4, 6, 3)),
    "drn_d_105":           _drn("D", "bottleneck_v1_5", (3, 4, 23, 3)),
    "resnet20":            _cifar(3),
    "resnet32":            _cifar(5),
    "resnet44":            _cifar(7),
    "resnet56":            _cifar(9),
    "resnet110":           _cifar(18),
    "resnet1202":          _cifar(200),
    "plain20":             _cifar_plain(3),
    "plain32":             _cifar_plain(5),
    "plain44":             _cifar_plain(7),
    "plain56":             _cifar_plain(9),
    "plain110":            _cifar_plain(18),
    "resnet164":           _cifar_bottleneck(
        18,
        source="the paper; of the authors' code, KaimingHe/resnet-1k-layers, which has the "
        "pre-activation order alone, the stride on the first 1x1 and option B",
    ),
    "resnet110_v2":        _cifar(18, order="preactivation", paper="He et al. 2016b"),
    "resnet164_v2":        _cifar_bottleneck(18, order="preactivation"),
    "resnet1001_v2":       _cifar_bottleneck(111, order="preactivation"),
    "resnet110_bn_after_addition": _cifar(18, **_order("bn_after_addition")),
    "resnet110_relu_before_addition": _cifar(18, **_order("relu_before_addition")),
    "resnet110_relu_only_preactivation":
        _cifar(18, **_order("relu_only_preactivation")),
    "resnet164_bn_after_addition": _cifar_bottleneck(18, **_order("bn_after_addition")),
    "resnet164_relu_before_addition":
        _cifar_bottleneck(18, **_order("relu_before_addition")),
    "resnet164_relu_only_preactivation":
        _cifar_bottleneck(18, **_order("relu_only_preactivation")),
    "resnet110_constant_scaling": _study(merge=Scaling(shortcut=0.5, residual=0.5)),
    "resnet110_exclusive_gating": _study(merge=ExclusiveGate(bias=-6.0)),
    "resnet110_shortcut_gating": _study(merge=ShortcutGate(bias=-6.0)),
    "resnet110_conv_shortcut": _study(shortcut="C"),
    "resnet110_dropout_shortcut": _study(merge=ShortcutDropout(rate=0.5)),
    "resnet110_stochastic_depth": _cifar(
        18, stochastic_depth=0.5, paper="Huang et al. 2016, sec. 4",
        source="the paper, with fb.resnet.torch's option A, every second pixel: "
        "yueatsprograms/Stochastic_Depth ResidualDrop.lua averages 2x2 instead, and drops "
        "a block for a whole batch, here for each image; kept residuals are scaled in "
        "training instead of all in testing, the same in expectation",
    ),
    "highway19": _highway(
        ((2, 32, 1), (2, 48, 1), (6, 80, 2), (6, 128, 2)),
        "Romero et al. 2015, FitNet-4: its 3x3 layers gated but where the width changes, "
        "its 500 units a 1x1 before global average pooling; 2.3 million parameters",
    ),
    "highway32": _highway(
        ((9, 28, 1), (10, 48, 2), (10, 64, 2)),
        "the paper tells the depth and 1.25 million parameters; widths and stages, as in "
        "highway19, are ours to come near them (1.24)",
    ),
    "wide_resnet16_4":     _wide(16, 4),
    "wide_resnet16_8":     _wide(16, 8),
    "wide_resnet28_2":     _wide(28, 2),
    "wide_resnet28_10":    _wide(28, 10),
    "wide_resnet40_2":     _wide(40, 2),
    "wide_resnet40_4":     _wide(40, 4),
    "wide_resnet40_8":     _wide(40, 8),
    "wide_resnet40_10":    _wide(40, 10),
    "resnext29_32x4d":     _resnext29(32, 4),
    "resnext29_4x64d":     _resnext29(4, 64),
    "resnext29_8x64d":     _resnext29(8, 64),
    "resnext29_16x64d":    _resnext29(16, 64),
}  # fmt: skip
ARCHITECTURES: dict[str, ResNetSpec] = {
    name: replace(row, name=name) for name, row in _ROWS.items()
}


def complexity() -> dict[str, dict[str, int]]:
    """Parameters and multiply-adds of every row, by name."""
    return json.loads(pathlib.Path(__file__).with_name("complexity.json").read_text())


def network_of(record: Mapping[str, Any]) -> ResNetSpec | None:
    """The network that a record tells of, `None` if that is not known here.

    Args:
        record: The contents of ``record.json`` or ``source.json``.
    """
    if values := record.get("network_values"):
        return from_values(ResNetSpec, values)
    return ARCHITECTURES.get(record.get("network"))
