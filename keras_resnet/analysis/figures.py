"""What all figures share: colours, files, and text that is drawn as it is."""

from __future__ import annotations

import contextlib
import functools
import itertools
import logging
import math
import os
import pathlib
import textwrap
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_resnet.files import local_path, replaced

if TYPE_CHECKING:  # Importing it takes half a second.
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

# Okabe and Ito's colours, told apart by colour-blind readers too. Nothing is said by
# colour alone: lines also differ in style, wrong predictions carry a mark.
BLUE, VERMILLION, GREY = "#0072B2", "#D55E00", "#595959"
GREEN, PURPLE = "#009E73", "#CC79A7"
COLORS = (BLUE, VERMILLION, GREEN, PURPLE, GREY)
POINT: dict[str, Any] = {"marker": "o", "markersize": 4}
HOLLOW: dict[str, Any] = POINT | {"markerfacecolor": "white", "linestyle": "none"}
WIDTH = 5.2  # Inches, of a figure that is legible at 10 cm.
FONT = "DejaVu Sans"  # It comes with matplotlib.


def new_figure(size: tuple[float, float]) -> Figure:
    """An empty figure of this width and height in inches."""
    # Not pyplot, which would choose a backend for the whole process and keep the
    # figure alive.
    from matplotlib.figure import Figure

    return Figure(figsize=size, layout="constrained")


def tidy(axis: Axes) -> None:
    """Gives the axes of a curve a pale grid and no frame at the top and the right."""
    axis.grid(color="0.9")
    axis.set_axisbelow(True)
    axis.spines[["top", "right"]].set_visible(False)


def whole_numbers(axis: Axes) -> None:
    """Puts marks at whole numbers alone on the horizontal axis."""
    from matplotlib.ticker import MaxNLocator

    axis.xaxis.set_major_locator(MaxNLocator(nbins=10, integer=True))


def logarithmic(axis: Axes) -> None:
    """Makes the vertical axis logarithmic, with numbers at some of its marks."""
    from matplotlib.ticker import LogLocator, NullFormatter

    axis.set_yscale("log")
    low, high = axis.get_ylim()
    if high < 5 * low:  # So that the axis has numbers.
        centre = math.sqrt(low * high)
        axis.set_ylim(min(low, centre / 2.3), max(high, centre * 2.3))
    subdivisions = (1, 2, 5) if high < 100 * low else (1,)
    axis.yaxis.set_major_locator(LogLocator(subs=subdivisions, numticks=8))
    axis.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axis.yaxis.set_minor_formatter(NullFormatter())


def line_styles() -> Iterator[dict[str, Any]]:
    """Styles for one line after the other: colour, dashes and width, without an end."""
    for color, line in itertools.cycle(
        zip(COLORS, ("-", "--", "-.", ":"), strict=False)
    ):
        yield {"color": color, "linestyle": line, "linewidth": 1.3}


def run_styles() -> Iterator[dict[str, Any]]:
    """Styles that leave the dashes to tell kinds of lines apart: colour, then marks."""
    for mark, color in itertools.product((None, "o", "s", "^", "D"), COLORS):
        yield {"color": color, "marker": mark, "markersize": 4}


def separate_stages(axis: Axes, stages: np.ndarray) -> None:
    """Draws a line between the blocks of each two stages.

    Args:
        axis: Whose horizontal axis numbers the blocks, from 1.
        stages: The stage of each block, ``(blocks,)``.
    """
    for place in np.flatnonzero(np.diff(stages)):
        axis.axvline(place + 1.5, color="0.6", linewidth=0.8)


def legend(axis: Axes, lines: Mapping[str, Line2D]) -> None:
    """A legend of lines by what is said of them, which may begin with ``_``."""
    _with_texts(axis, lines)


def legend_below(figure: Figure, lines: Mapping[str, Line2D]) -> None:
    """A legend as `legend`, under the axes of a figure, where it covers no line."""
    _with_texts(figure, lines, loc="outside lower left")


def _with_texts(
    place: Axes | Figure, lines: Mapping[str, Line2D], **where: str
) -> None:
    drawn = place.legend(
        list(lines.values()),
        list(map(str, range(len(lines)))),
        fontsize="small",
        edgecolor="none",
        **where,
    )
    for text, said in zip(drawn.get_texts(), lines, strict=True):
        text.set_text(said)


def wrapped(text: str, inches: float) -> str:
    """A title in lines that fit into a figure of this width, in bold letters."""
    return textwrap.fill(text, max(10, int(10 * inches)))


def save(figure: Figure, path: str | os.PathLike[str]) -> pathlib.Path:
    """Writes a figure in one move, as PNG, PDF or SVG by the path's suffix."""
    path = local_path(path)
    with replaced(path) as new:
        figure.savefig(new, dpi=150)
    return path


@contextlib.contextmanager
def plain_text(texts: Iterable[str]) -> Iterator[Callable[[str], str]]:
    """A block in which figures are drawn and saved, with their texts as they are.

    Within it, ``$``, ``_``, ``^`` and ``%`` are no markup, and letters that matplotlib's
    own font lacks come from other fonts of this machine.

    Args:
        texts: Those that will be drawn and that others chose, such as class names.

    Yields:
        A function from a text to what is to be drawn of it. It writes letters that no
        font here has in Latin ones, as their names in Unicode have them, and characters
        that have no such name by their number.
    """
    import matplotlib

    wanted = {character for text in texts for character in _composed(text)}
    # It says of each font that lacks a weight that it takes another.
    log = logging.getLogger("matplotlib.font_manager")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        fonts = _fonts_for(frozenset(wanted))
        known = frozenset().union(*map(_characters, fonts))
        settings = {
            "font.family": list(fonts),
            "text.usetex": False,
            "text.parse_math": False,
        }
        with matplotlib.rc_context(settings):
            yield functools.partial(_readable, known=known)
    finally:
        log.setLevel(level)


@contextlib.contextmanager
def stacked(
    rows: int,
    height: float,
    path: str | os.PathLike[str],
    title: str,
    texts: Iterable[str] = (),
) -> Iterator[tuple[list[Axes], Callable[[str], str]]]:
    """A block that draws into axes below each other, which are saved at its end.

    Args:
        rows: Number of axes.
        height: Of the figure, in inches.
        path: File to write, as PNG, PDF or SVG by its suffix.
        title: Said above the axes.
        texts: As of `plain_text`.

    Yields:
        The axes, and what `plain_text` yields.
    """
    with plain_text([title, *texts]) as readable:
        figure = new_figure((WIDTH, height))
        axes = figure.subplots(rows, 1, squeeze=False)[:, 0].tolist()
        yield axes, readable
        for axis in axes:
            tidy(axis)
        title = wrapped(readable(title), WIDTH)
        figure.suptitle(title, fontsize="medium", fontweight="bold")
        save(figure, path)


def _composed(text: str) -> str:
    # An accent that is a character of its own joins its letter, which fonts have.
    return unicodedata.normalize("NFC", text)


@functools.lru_cache(maxsize=8)
def _fonts_for(wanted: frozenset[str]) -> tuple[str, ...]:
    """Names of fonts that together have these characters, as far as any font does."""
    chosen = [FONT]
    missing = {c for c in wanted if not c.isspace()} - _characters(FONT)
    for name in _upright() if missing else ():
        found = missing & _characters(name)
        if found:
            chosen.append(name)
            missing -= found
    return tuple(chosen)


@functools.cache
def _upright() -> list[str]:
    """The names of the upright fonts here, in their order."""
    import matplotlib
    from matplotlib import font_manager

    own = matplotlib.get_data_path()
    return sorted(
        {
            face.name
            for face in font_manager.fontManager.ttflist
            # matplotlib's others are for formulas; a "last resort" has only boxes.
            if face.style == "normal"
            and not face.fname.startswith(own)
            and not face.name.lower().startswith("last")
        }
    )


@functools.cache
def _characters(name: str) -> frozenset[str]:
    """The characters that a font has in normal and in bold, or what it has for bold."""
    from matplotlib import font_manager
    from matplotlib.ft2font import FT2Font

    both = []
    for weight in ("normal", "bold"):
        wanted = font_manager.FontProperties(family=[name], weight=weight)
        try:
            face = FT2Font(font_manager.findfont(wanted, fallback_to_default=False))
        except (OSError, RuntimeError, ValueError):
            return frozenset()  # A damaged file, or one of a kind it can't read.
        # Pictures of glyphs, as of emoji, can't be drawn at any size.
        both.append(set(face.get_charmap()) if face.scalable else set())
    return frozenset(map(chr, set.intersection(*both)))


def _readable(text: str, known: frozenset[str]) -> str:
    return "".join(
        character if character in known else _in_latin(character, known)
        for character in _composed(text)
    )


def _in_latin(character: str, known: frozenset[str]) -> str:
    """A character in others that are known, by its decomposition or by its name."""
    if character.isspace():
        return " "
    plain = unicodedata.normalize("NFKD", character)
    if all(part in known for part in plain):
        return plain
    name = unicodedata.name(character, "")
    if unicodedata.category(character) in ("Cc", "Cf") or "VARIATION" in name:
        return ""
    if not name or "IDEOGRAPH" in name:  # It has no reading in Unicode.
        return f"U+{ord(character):04X}"
    letter = unicodedata.category(character)[0] in "LM"
    return (name.rpartition(" ")[2] if letter else name).lower()
