"""HTML from text and numbers: all that comes from users is escaped here."""

from __future__ import annotations

import html
import json
from collections.abc import Iterable, Sequence
from typing import Any

from keras_resnet.config import words


def text(value: Any) -> str:
    """Text as HTML shows it, whatever characters it has; also in attributes."""
    # A lone half of a pair of code units can't be written as UTF-8.
    return html.escape(str(value).encode("utf-8", "replace").decode(), quote=True)


def name(value: Any) -> str:
    """A name of a class, file or run, which may be written from right to left."""
    return f"<bdi>{text(value)}</bdi>"


def number(value: float | None, form: str, source: str, unit: str = "") -> str:
    """A number, with its exact value and where that stands for whoever reads the page.

    Args:
        value: The number; `None` and NaN become a dash.
        form: How it is shown, as for `format`.
        source: File and key, such as ``0/evaluation.json#/results/0/loss``; the first
            part is the position of the run.
        unit: That follows it.
    """
    shown = words.known(value, form)
    if shown == words.UNKNOWN:
        return shown
    shown += f"\N{NO-BREAK SPACE}{unit}" if unit else ""
    return (
        f'<data value="{text(json.dumps(value))}" data-from="{text(source)}">{shown}'
        "</data>"
    )


def percent(value: float | None, source: str) -> str:
    """A percentage with two decimals, as `number`."""
    return number(value, ".2f", source, "%")


def count(value: int | None, source: str) -> str:
    """A whole number, as `number`."""
    return number(value, ",", source)


def table(
    caption: str,
    header: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    kind: str = "",
    heads: bool = True,
) -> str:
    """A table that scrolls within itself where the page is narrow.

    Args:
        caption: HTML.
        header: HTML of the columns' heads; empty for none.
        rows: HTML of the cells; the first of each row is its head.
        kind: Name of a style.
        heads: Whether the first cell of each row is its head.
    """
    top = "".join(f'<th scope="col">{one}</th>' for one in header)
    top = f"<thead><tr>{top}</tr></thead>" if header else ""
    body = []
    for first, *others in rows:
        head = f'<th scope="row">{first}</th>' if heads else f"<td>{first}</td>"
        body.append(f"<tr>{head}{''.join(f'<td>{one}</td>' for one in others)}</tr>")
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{_plain(caption)}">'
        f'<table class="{kind}"><caption>{caption}</caption>{top}'
        f"<tbody>{''.join(body)}</tbody></table></div>"
    )


def _plain(markup: str) -> str:
    """The text of simple HTML, for an attribute."""
    parts = markup.replace(">", "<").split("<")[::2]
    return "".join(parts).strip()


def details(summary: str, content: str, *, open_: bool = False) -> str:
    """What is shown on demand."""
    return (
        f"<details{' open' if open_ else ''}><summary>{summary}</summary>{content}"
        "</details>"
    )


def embedded(identifier: str, value: Any) -> str:
    """Values for the page's script: JSON that no text in it can end."""
    written = json.dumps(value, allow_nan=False, separators=(",", ":"))
    written = written.replace("<", "\\u003c").replace("&", "\\u0026")
    return f'<script type="application/json" id="{identifier}">{written}</script>'
