"""The rows of the published networks, and looking one up."""

import re
from dataclasses import FrozenInstanceError, replace

import pytest

from keras_resnet.config.architectures import ARCHITECTURES
from keras_resnet.config.dilation import with_output_stride
from keras_resnet.config.lookup import find
from keras_resnet.config.spec import doubling
from tests.helpers import paper_facts


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_the_name_says_what_the_row_holds(name):
    spec = ARCHITECTURES[name]
    depth = int(re.search(r"\d+", name.replace("resnetv2", ""))[0])
    wide_for_cifar = name.startswith("wide_resnet") and spec.dataset == "cifar10"

    assert spec.depth == depth
    assert (spec.order == "plain") == name.startswith("plain")
    v2 = re.search("_v2|resnetv2", name) or wide_for_cifar
    assert spec.preactivation == bool(v2)
    assert (spec.shortcut == "D") == bool(re.fullmatch(r"resnet\d+d", name))
    assert (spec.stem == "deep") == bool(re.fullmatch(r"resnet\d+[cd]", name))
    assert bool(spec.squeeze_excitation) == name.startswith("se")
    on_the_first_1x1 = r"resnet(50|101|152|164|1001)(_caffe|_v2|_bn.*|_relu.*)?"
    if spec.stages[0].block == "bottleneck":
        assert re.fullmatch(on_the_first_1x1, name)


def test_rows_say_what_they_do_otherwise_than_their_sources():
    depth = ARCHITECTURES["resnet110_stochastic_depth"].source
    assert "averages 2x2 instead" in depth  # ResidualDrop.lua: SpatialAveragePooling
    assert "a block for a whole batch" in depth  # main.lua: a gate for each batch
    # resnet-pre-act.lua is all that resnet-1k-layers has.
    assert "pre-activation order alone" in ARCHITECTURES["resnet164"].source
    gated = [spec for spec in ARCHITECTURES.values() if hasattr(spec.merge, "bias")]
    assert len(gated) == 4
    assert all("Glorot" in spec.source for spec in gated)


def test_grouped_names_say_groups_and_width():
    for name, spec in ARCHITECTURES.items():
        if match := re.search(r"_(\d+)x(\d+)d", name):
            groups, width = map(int, match.groups())
            assert (spec.groups, spec.stages[0].filters) == (groups, groups * width)
        else:
            assert spec.groups == 1


def test_every_network_has_independent_counts():
    assert set(ARCHITECTURES) == set(paper_facts.COUNTS)


@pytest.mark.parametrize(
    "change",
    [
        {"stem": "mnist"},
        {"stem_filters": 0},
        {"stem_filters": True},
        {"groups": True},
        {"dropout": True, "order": "preactivation"},
        {"stages": ()},
        {"stages": (2, 2)},
        {"groups": 7},
        {"merge": "gated"},
        {"order": "bn_first"},
        {"shortcut": "E"},
        {"shortcut": None},
        {"groups": 0},
        {"dataset": "mnist"},
        {"depth_counts": "all"},
        {"dropout": 1.0, "order": "preactivation"},
        {"dropout": 0.3},
        {"stochastic_depth": -0.1},
        {"stochastic_depth": "0.1"},
        {"squeeze_excitation": 0},
        {"squeeze_excitation": "16"},
        {"zero_gamma": "yes"},
        {"zero_gamma": True, "order": "preactivation"},
        {"squeeze_excitation": 16, "order": "plain", "shortcut": None},
        {"stochastic_depth": 0.5, "order": "plain", "shortcut": None},
        {"squeeze_excitation": 16, "order": "highway"},
        {"stochastic_depth": 0.5, "order": "highway"},
        {"shortcut": "C", "order": "highway"},
        {"shortcut": "A", "order": "keras_v2"},
    ],
    ids=str,
)
def test_an_impossible_network_cannot_be_described(change):
    field = next(iter(change))
    with pytest.raises(ValueError, match=rf"`{field}`.*Received: {field}="):
        replace(ARCHITECTURES["resnet18"], **change)


def test_a_plain_net_has_no_shortcut():
    with pytest.raises(ValueError, match="`shortcut` must be one of None"):
        replace(ARCHITECTURES["resnet18"], order="plain")


@pytest.mark.parametrize(
    "change",
    [{"block": "bottelneck"}, {"repeats": 0}, {"filters": -1}, {"stride": 1.5}]
    + [{"output_filters": 128}, {"filters": 1, "block": "darknet"}],
    ids=str,
)
def test_an_impossible_stage_cannot_be_described(change):
    field = next(iter(change))
    with pytest.raises(ValueError, match=rf"`{field}`.*Received: {field}="):
        replace(ARCHITECTURES["resnet18"].stages[0], **change)


@pytest.mark.parametrize("order", ["original", "preactivation", "bn_after_addition"])
def test_padding_takes_no_channels_away(order):
    fits = replace(ARCHITECTURES["resnet20"], order=order)
    message = "stage 1 must have at least 32 .*Received: stem_filters=32, output_filt"
    with pytest.raises(ValueError, match=message):
        replace(fits, stem_filters=32)
    first, second, third = fits.stages
    narrow = replace(second, filters=8, output_filters=8)
    message = "stage 2 must .* at least 16 .*output_filters of stage 1=16, output_filt"
    with pytest.raises(ValueError, match=message):
        replace(fits, stages=(first, narrow, third))
    # Projections and plain nets can.
    replace(fits, stem_filters=32, shortcut="B")
    replace(ARCHITECTURES["plain20"], stem_filters=32)


@pytest.mark.parametrize("repeats", [(), 3, (2, 0)])
def test_impossible_repeats(repeats):
    with pytest.raises(ValueError, match="`repeats` must be"):
        doubling("basic", repeats, 64)


@pytest.mark.parametrize(
    ("output_stride", "strides", "dilations"),
    [
        (32, (1, 2, 2, 2), (1, 1, 1, 1)),
        (16, (1, 2, 2, 1), (1, 1, 1, 2)),
        (8, (1, 2, 1, 1), (1, 1, 2, 4)),
        (4, (1, 1, 1, 1), (1, 2, 4, 8)),
    ],
)
def test_output_stride(output_stride, strides, dilations):
    spec = with_output_stride(ARCHITECTURES["resnet50_v1_5"], output_stride)
    assert spec.stride == output_stride
    assert tuple(stage.stride for stage in spec.stages) == strides
    assert tuple(stage.dilation for stage in spec.stages) == dilations


def test_the_first_block_keeps_the_dilation_of_the_stage_before():
    spec = with_output_stride(ARCHITECTURES["resnet50_v1_5"], 8)
    assert [stage.dilations(1)[0] for stage in spec.stages] == [1, 1, 1, 2]
    assert [stage.dilations(2) for stage in spec.stages][2:] == [(2, 2), (4, 4)]


@pytest.mark.parametrize(
    ("name", "output_stride"),
    [("resnet50", 64), ("resnet50", 2), ("resnet50", 12), ("darknet53", 16)]
    + [("resnet50_v2_keras", 16)],
)
def test_impossible_output_strides(name, output_stride):
    with pytest.raises(ValueError, match="`output_stride`.*Received"):
        with_output_stride(ARCHITECTURES[name], output_stride)


def test_a_row_cannot_be_changed():
    with pytest.raises(FrozenInstanceError):
        ARCHITECTURES["resnet18"].groups = 32


@pytest.mark.parametrize("name", ["resnet-50", "ResNet50", "resnett50"])
def test_lookup_suggests_the_nearest_name(name):
    with pytest.raises(ValueError, match="Did you mean 'resnet50'") as error:
        find(ARCHITECTURES, name, kind="network")
    assert f"Unknown network {name!r}" in str(error.value)
    assert "resnet1202" in str(error.value)


@pytest.mark.parametrize("name", ["vgg", "", None, 50])
def test_lookup_names_what_there_is_where_nothing_is_near(name):
    with pytest.raises(ValueError, match="Expected one of: darknet53, ") as error:
        find(ARCHITECTURES, name, kind="network")
    assert "Did you mean" not in str(error.value)
