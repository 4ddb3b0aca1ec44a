"""What all figures share: colours, files, and text that is drawn as it is."""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import pathlib
import textwrap
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

from keras_resnet.files import local_path, replaced

if TYPE_CHECKING:  # Importing it takes half a second.
    from matplotlib.figure import Figure

# Okabe and Ito's colours, told apart by colour-blind readers too. Nothing is said by
# colour alone: lines also differ in style, wrong predictions carry a mark.
BLUE, VERMILLION, GREY = "#0072B2", "#D55E00", "#595959"
FONT = "DejaVu Sans"  # It comes with matplotlib.


def new_figure(size: tuple[float, float]) -> Figure:
    """An empty figure of this width and height in inches."""
    # Not pyplot, which would choose a backend for the whole process and keep the
    # figure alive.
    from matplotlib.figure import Figure

    return Figure(figsize=size, layout="constrained")


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
