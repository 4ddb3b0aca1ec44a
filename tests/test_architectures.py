"""The rows of the published networks, and looking one up."""

import re
from dataclasses import FrozenInstanceError, replace

import pytest

from keras_resnet.config.architectures import ARCHITECTURES
from keras_resnet.config.lookup import find
from tests import paper_facts


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_the_name_says_what_the_row_holds(name):
    spec = ARCHITECTURES[name]
    family, depth, version = re.fullmatch(
        r"(plain|resnet)(\d+)(_v1_5|_v2|)", name
    ).groups()

    assert spec.depth == int(depth)
    assert (spec.block == "plain") == (family == "plain")
    assert spec.block.endswith("_v1_5") == (version == "_v1_5")
    assert spec.preactivation == (version == "_v2")


def test_every_network_has_independent_counts():
    assert set(ARCHITECTURES) == set(paper_facts.COUNTS)


@pytest.mark.parametrize(
    "change",
    [
        {"block": "bottelneck"},
        {"blocks": ()},
        {"blocks": (2, 0, 2)},
        {"blocks": (2, -1)},
        {"stem": "mnist"},
        {"filters": 0},
        {"shortcut": "D"},
        {"shortcut": None},
        {"block": "plain"},  # A plain net has no shortcut, and this row has one.
    ],
    ids=str,
)
def test_an_impossible_network_cannot_be_described(change):
    field = "shortcut" if change == {"block": "plain"} else next(iter(change))
    with pytest.raises(ValueError, match=rf"`{field}`.*Received: {field}="):
        replace(ARCHITECTURES["resnet18"], **change)


def test_a_row_cannot_be_changed():
    with pytest.raises(FrozenInstanceError):
        ARCHITECTURES["resnet18"].filters = 32


def test_lookup_returns_the_row():
    assert find({"a": 1}, "a", kind="letter") == 1


@pytest.mark.parametrize("name", ["resnet-50", "ResNet50", "resnett50"])
def test_lookup_suggests_the_nearest_name(name):
    with pytest.raises(ValueError, match="Did you mean 'resnet50'") as error:
        find(ARCHITECTURES, name, kind="network")
    assert f"Unknown network {name!r}" in str(error.value)
    assert "resnet1202" in str(error.value)


@pytest.mark.parametrize("name", ["vgg", "", None, 50])
def test_lookup_names_what_there_is_where_nothing_is_near(name):
    with pytest.raises(ValueError, match="Expected one of: plain110, ") as error:
        find(ARCHITECTURES, name, kind="network")
    assert "Did you mean" not in str(error.value)
