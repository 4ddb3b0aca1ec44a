"""What becomes HTML: text stays text, and numbers keep their exact values."""

import base64
import html
import json
import re

import numpy as np
import pytest

from keras_resnet.report import markup
from keras_resnet.report.pixels import COLOURS, address, coloured, overlaid


@pytest.mark.parametrize(
    "name", ["<b>", '"', "&amp;", "</script>", "\u202edroW", "x\ud800y", "$a ${b}"]
)
def test_text_stays_text(name):
    shown = markup.name(name)
    shown.encode("utf-8")
    inside = re.fullmatch("<bdi>([^<>\"']*)</bdi>", shown)[1]
    assert html.unescape(inside) == name.replace("\ud800", "?")


def test_embedded_json_can_not_end_its_script():
    value = {"</script>": ["<!--", "&lt;", "\u2028", 0.1]}
    written = markup.embedded("data", value)
    assert written.count("<") == 2
    inside = re.search(">(.*)<", written)[1]
    assert json.loads(inside) == value
    with pytest.raises(ValueError):
        markup.embedded("data", float("nan"))


@pytest.mark.parametrize("value", [None, float("nan"), float("inf")])
def test_what_is_no_number_is_a_dash(value):
    assert markup.percent(value, "x") == "–"


def test_a_number_keeps_its_exact_value():
    shown = markup.number(0.1 + 0.2, ".1f", "0/a<b.json#/x", "%")
    assert shown == (
        '<data value="0.30000000000000004" data-from="0/a&lt;b.json#/x">0.3\xa0%</data>'
    )


def test_colours_go_from_dark_to_bright():
    shares = np.array([0, 0.125, 1])
    assert coloured(shares).tolist() == [list(COLOURS[i]) for i in (0, 1, -1)]
    image = np.full((1, 3, 3), 100, "uint8")
    mixed = overlaid(image, shares[None])
    assert mixed.tolist() == np.rint(40 + 0.6 * coloured(shares[None])).tolist()


def test_an_address_holds_the_file():
    found = address(b"\x00\xff", "image/png")
    kind, _, contents = found.partition(",")
    assert kind == "data:image/png;base64"
    assert base64.b64decode(contents) == b"\x00\xff"
