"""Charts: round ticks, gaps where there are no numbers, and places by the numbers."""

import math
import re
import xml.etree.ElementTree

import pytest

from keras_resnet.report import charts
from keras_resnet.report.charts import Axis, Series


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (0, 1.4427, [0, 0.5, 1, 1.5]),
        (0, 100, [0, 20, 40, 60, 80, 100]),
        (0, 0.1, [0, 0.02, 0.04, 0.06, 0.08, 0.1]),
        (0, 64_000, [0, 20_000, 40_000, 60_000, 80_000]),
        (5, 5, [5, 6]),
        (0, 0, [0, 0.2]),
    ],
)
def test_ticks_are_round_and_hold_the_numbers(low, high, ticks):
    axis = Axis(low, high, 0, 100)
    assert axis.ticks == pytest.approx(ticks)
    assert axis.low <= low and axis.high >= high
    assert axis.at(axis.low) == 0 and axis.at(axis.high) == 100


def drawn(figure):
    """The SVG of a figure, as XML."""
    return xml.etree.ElementTree.fromstring(re.search(r"<svg.*</svg>", figure)[0])


def test_a_line_has_a_gap_where_a_number_is_none_at_all():
    points = [(0, 1.0), (1, 2.0), (2, math.nan), (3, 1.0), (4, math.inf), (5, 3.0)]
    line = Series(name="<a> & b", points=points)
    figure = charts.lines("Loss", [line], x_label="updates", label='"Loss"')
    lines = [one.get("points").split() for one in drawn(figure).iter("polyline")]
    assert [len(one) for one in lines] == [2, 1, 1]
    dots = list(drawn(figure).iter("circle"))
    assert [one[0].text for one in dots][:2] == ["<a> & b, 0: 1", "<a> & b, 1: 2"]
    assert drawn(figure).get("aria-label") == '"Loss"'


def test_a_chart_of_nothing_is_left_out():
    line = Series(name="a", points=[(0, math.nan)])
    assert charts.lines("Loss", [line], x_label="updates", label="Loss") == ""


def test_bars_are_as_high_as_their_numbers():
    figure = charts.bars(
        "Error",
        [20.0, 80.0],
        ["<one>", "two"],
        groups=["1", "2"],
        line=10.0,
        x_label="block",
        label="Errors",
    )
    bars = list(drawn(figure).iter("rect"))
    heights = [float(one.get("height")) for one in bars]
    assert heights[1] / heights[0] == pytest.approx(4, rel=0.01)
    assert bars[0][0].text == "<one>: 20.00 %"


def test_a_reliability_diagram_leaves_empty_bins_out():
    figure = charts.reliability(
        "Right", [0, 3, 9], [None, 0.5, 0.9], [None, 1 / 3, 1.0], label="Right"
    )
    bars = [one for one in drawn(figure).iter("rect")]
    assert len(bars) == 2
    whole = charts.HEIGHT - charts.BOTTOM - charts.TOP
    assert [float(one.get("height")) for one in bars] == pytest.approx(
        [whole / 3, whole], abs=0.06
    )
    assert bars[0][0].text.startswith("0.33 to 0.67: 3 images, mean confidence 50.0 %")
