"""Charts as SVG, drawn from numbers; the page's style gives them their colours."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from keras_resnet.report.markup import text

WIDTH, HEIGHT = 360, 230  # As narrow as a telephone, so that letters keep their size.
LEFT, RIGHT, TOP, BOTTOM = 46, 10, 10, 38  # Margins.
MOST_MARKED = 40  # Points of a line that are marked, each with its numbers.
COLOURS = 8  # That the style has.


@dataclass(frozen=True, kw_only=True)
class Series:
    """A line of a chart.

    Attributes:
        name: For the legend.
        points: Pairs of numbers; where one is NaN the line has a gap.
        colour: From 0.
        dashed: Whether the line is.
        marked: Whether its points are.
    """

    name: str
    points: Sequence[tuple[float, float]]
    colour: int = 0
    dashed: bool = False
    marked: bool = True


class Axis:
    """A linear axis, with ticks at round numbers."""

    def __init__(self, low: float, high: float, begin: float, end: float) -> None:
        step = _round_step((high - low) or abs(high) or 1.0)
        self.low: float = math.floor(low / step + 1e-9) * step
        self.high: float = math.ceil(high / step - 1e-9) * step
        if self.high == self.low:
            self.high += step
        count = round((self.high - self.low) / step)
        self.ticks: list[float] = [self.low + i * step for i in range(count + 1)]
        self._begin, self._end = begin, end

    def at(self, value: float) -> float:
        """Where a value lies."""
        share = (value - self.low) / (self.high - self.low)
        return self._begin + share * (self._end - self._begin)


def _round_step(span: float) -> float:
    """1, 2 or 5 times a power of ten, of which four to nine make the span."""
    power = 10 ** math.floor(math.log10(span / 4))
    return next(power * m for m in (1, 2, 5, 10) if span / (power * m) <= 6)


def said(value: float) -> str:
    """A number in a chart."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def legend(series: Iterable[Series]) -> str:
    """The names of a chart's lines with their colours, as HTML."""
    items = "".join(
        f'<li class="c{one.colour % COLOURS}{" dashed" if one.dashed else ""}">'
        f"<bdi>{text(one.name)}</bdi></li>"
        for one in series
    )
    return f'<ul class="legend">{items}</ul>'


def figure(
    title: str, drawing: str, label: str, size: tuple[int, int] = (WIDTH, HEIGHT)
) -> str:
    """A drawing with its caption, and what it shows in words for who can't see it."""
    return (
        f'<figure class="chart"><figcaption>{title}</figcaption>'
        f'<svg viewBox="0 0 {size[0]} {size[1]}" role="img" '
        f'aria-label="{text(label)}">{drawing}</svg></figure>'
    )


def lines(
    title: str,
    series: Sequence[Series],
    *,
    x_label: str,
    label: str,
    from_zero: bool = True,
    unit: str = "",
) -> str:
    """Lines over a common axis.

    Args:
        title: Caption, HTML.
        series: The lines.
        x_label: Of the horizontal axis.
        label: What the chart shows, in words.
        from_zero: Whether the vertical axis begins at 0.
        unit: Of the vertical axis.
    """
    points = [point for one in series for point in one.points if _is_finite(point)]
    if not points:
        return ""
    xs, ys = zip(*points, strict=True)
    x = Axis(min(*xs, 0), max(xs), LEFT, WIDTH - RIGHT)
    y = Axis(min(*ys, 0) if from_zero else min(ys), max(ys), HEIGHT - BOTTOM, TOP)
    drawn = [frame(x, y, x_label)]
    for one in series:
        kind = f"c{one.colour % COLOURS}{' dashed' if one.dashed else ''}"
        for part in _unbroken(one.points):
            where = [f"{x.at(a):.1f},{y.at(b):.1f}" for a, b in part]
            drawn.append(f'<polyline class="line {kind}" points="{" ".join(where)}"/>')
        if one.marked and len(one.points) <= MOST_MARKED:
            drawn += [
                f'<circle class="dot {kind}" cx="{x.at(a):.1f}" cy="{y.at(b):.1f}" '
                f'r="2.5"><title>{text(one.name)}, {said(a)}: {said(b)}{unit}</title>'
                "</circle>"
                for a, b in filter(_is_finite, one.points)
            ]
    return figure(title, "".join(drawn), label)


def _is_finite(point: tuple[float, float]) -> bool:
    return all(map(math.isfinite, point))


def _unbroken(points: Iterable[tuple[float, float]]) -> list[list[tuple[float, float]]]:
    """The parts of a line between its gaps."""
    parts: list[list[tuple[float, float]]] = [[]]
    for point in points:
        if _is_finite(point):
            parts[-1].append(point)
        elif parts[-1]:
            parts.append([])
    return [part for part in parts if part]


def frame(x: Axis, y: Axis, x_label: str, *, x_ticks: bool = True) -> str:
    """Ticks, their numbers and fine horizontal lines."""
    parts = []
    for tick in y.ticks:
        at = y.at(tick)
        parts.append(
            f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{at:.1f}" '
            f'y2="{at:.1f}"/><text class="tick end" x="{LEFT - 6}" y="{at + 3.5:.1f}">'
            f"{said(round(tick, 10))}</text>"
        )
    if x_ticks:
        for i, tick in enumerate(x.ticks):
            # The last number would be cut off at the edge.
            end = " end" if i == len(x.ticks) - 1 and i else " middle"
            at = x.at(tick) + (RIGHT - 2 if end == " end" else 0)
            parts.append(
                f'<text class="tick{end}" x="{at:.1f}" y="{HEIGHT - BOTTOM + 15}">'
                f"{said(round(tick, 10))}</text>"
            )
    middle = (LEFT + WIDTH - RIGHT) / 2
    parts.append(
        f'<text class="tick middle" x="{middle}" y="{HEIGHT - 6}">{text(x_label)}</text>'
    )
    return "".join(parts)


def bars(
    title: str,
    values: Sequence[float],
    names: Sequence[str],
    *,
    groups: Sequence[str],
    line: float,
    x_label: str,
    label: str,
) -> str:
    """Bars of percentages, with a dashed line at one percentage.

    Args:
        title: Caption, HTML.
        values: Percent.
        names: What each bar is.
        groups: The group of each; a thin line parts them.
        line: Percent.
        x_label: Of the horizontal axis.
        label: What the chart shows, in words.
    """
    x = Axis(0, 1, LEFT, WIDTH - RIGHT)
    y = Axis(0, max(*values, line, 1), HEIGHT - BOTTOM, TOP)
    width = (WIDTH - RIGHT - LEFT) / len(values)
    drawn = [frame(x, y, x_label, x_ticks=False)]
    for i, (value, one) in enumerate(zip(values, names, strict=True)):
        left = LEFT + i * width
        if i == 0 or groups[i] != groups[i - 1]:
            drawn.append(_group(left, groups[i], first=i == 0))
        drawn.append(
            f'<rect class="bar c0" x="{left + width * 0.1:.2f}" y="{y.at(value):.1f}" '
            f'width="{width * 0.8:.2f}" height="{y.at(0) - y.at(value):.1f}">'
            f"<title>{text(one)}: {value:.2f} %</title></rect>"
        )
    at = f"{y.at(line):.1f}"
    drawn.append(
        f'<line class="mark" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{at}" y2="{at}"/>'
    )
    return figure(title, "".join(drawn), label)


def _group(left: float, group: str, *, first: bool) -> str:
    """The name of a group of bars, and a line before it."""
    label = (
        f'<text class="tick" x="{left + 3:.1f}" y="{HEIGHT - BOTTOM + 15}">'
        f"{text(group)}</text>"
    )
    if first:
        return label
    return (
        f'<line class="part" x1="{left:.1f}" x2="{left:.1f}" y1="{TOP}" '
        f'y2="{HEIGHT - BOTTOM + 16}"/>{label}'
    )


def reliability(
    title: str,
    counts: Sequence[int],
    confidence: Sequence[float | None],
    accuracy: Sequence[float | None],
    *,
    label: str,
) -> str:
    """Accuracy by confidence, beside the diagonal of a calibrated network.

    Args:
        title: Caption, HTML.
        counts: Number of images in each bin.
        confidence: Mean confidence in each bin, from 0 to 1; `None` in empty ones.
        accuracy: Share of right ones in each bin, from 0 to 1; `None` in empty ones.
        label: What the chart shows, in words.
    """
    x, y = Axis(0, 1, LEFT, WIDTH - RIGHT), Axis(0, 1, HEIGHT - BOTTOM, TOP)
    drawn = [frame(x, y, "confidence")]
    most = max(counts) or 1
    for i, (n, sure, right) in enumerate(
        zip(counts, confidence, accuracy, strict=True)
    ):
        if not n or sure is None or right is None:
            continue
        low, high = i / len(counts), (i + 1) / len(counts)
        left, width = x.at(low), x.at(high) - x.at(low)
        told = (
            f"{low:.2f} to {high:.2f}: {n:,} images, mean confidence {100 * sure:.1f} %, "
            f"right {100 * right:.1f} %"
        )
        drawn.append(
            f'<rect class="bar c0" x="{left + 1:.1f}" y="{y.at(right):.1f}" '
            f'width="{width - 2:.1f}" height="{y.at(0) - y.at(right):.1f}" '
            f'fill-opacity="{0.25 + 0.75 * (n / most) ** 0.5:.2f}">'
            f"<title>{told}</title></rect>"
            f'<circle class="dot c1" cx="{x.at(sure):.1f}" cy="{y.at(right):.1f}" r="3">'
            f"<title>{told}</title></circle>"
        )
    drawn.append(
        f'<line class="mark" x1="{x.at(0):.1f}" y1="{y.at(0):.1f}" x2="{x.at(1):.1f}" '
        f'y2="{y.at(1):.1f}"/>'
    )
    return figure(title, "".join(drawn), label)
