"""The page: sections in their order, the style, the script and the values that it draws."""

from __future__ import annotations

import importlib.resources
import string
from collections.abc import Callable
from typing import Any

from keras_resnet.analysis.results import plain
from keras_resnet.report import inside, mistakes, origins, results, training
from keras_resnet.report.facts import Facts, RunFacts
from keras_resnet.report.inside import side_by_side
from keras_resnet.report.markup import details, embedded, name, text
from keras_resnet.report.pixels import COLOURS

# By which it is known that a file is a report, and may be replaced by another.
GENERATOR = "keras-resnet report"
SIGN = f'<meta name="generator" content="{GENERATOR}">'


def page(facts: Facts) -> str:
    """The whole file, of facts alone: it needs no server and no network."""
    shown = [
        (title, content)
        for title, content in _sections(facts)
        if content and not content.isspace()
    ]
    links = "".join(
        f'<li><a href="#s{i}">{title}</a></li>' for i, (title, _) in enumerate(shown)
    )
    sections = "".join(
        f'<section id="s{i}"><h2>{title}</h2>{content}</section>'
        for i, (title, content) in enumerate(shown)
    )
    names = [run.name for run in facts.runs]
    title = names[0] if len(names) == 1 else f"{len(names)} runs"
    return _template("page.html").substitute(
        sign=SIGN,
        title=text(", ".join(names)),
        heading=name(title),
        about=_about(facts),
        links=links,
        headline=results.headline(facts),
        sections=sections,
        made=f"Made by {text(facts.made_by)} on {text(facts.made_on)}.",
        style=_read("style.css"),
        data=embedded("report-data", values(facts)),
        images=embedded("report-images", _images(facts)),
        script=_read("script.js"),
    )


def _sections(facts: Facts) -> list[tuple[str, str]]:
    def each(shown: Callable[[int, RunFacts], str], about: str = "") -> str:
        return side_by_side(facts, shown, about)

    mapped = any(cam for run in facts.runs for _, cam in run.worst.values())
    maps = mistakes.ABOUT_MAPS if mapped else ""
    more = inside.others(facts)
    rest = "".join(details(text(title), content) for title, content in more)
    return [
        ("Results", results.results(facts)),
        ("The runs beside each other", results.comparison(facts)),
        ("Training", training.curves(facts)),
        ("Which classes are confused", each(mistakes.confusion, mistakes.ABOUT_MATRIX)),
        ("Most confident mistakes", each(mistakes.worst, maps)),
        ("Calibration", each(mistakes.calibration, mistakes.ABOUT_CALIBRATION)),
        ("Lesions", each(inside.lesions, inside.ABOUT_LESIONS)),
        ("Loss landscape", each(inside.landscape, inside.ABOUT_LANDSCAPE)),
        ("More analyses", rest),
        ("Recipe", each(origins.recipe)),
        ("Provenance", each(origins.provenance)),
        ("What is missing", origins.missing(facts)),
    ]


def _about(facts: Facts) -> str:
    """A line on what the networks are and what they were trained on."""
    told = []
    for run in facts.runs:
        record = run.record
        data = record.get("dataset")
        on = f" on {name(data['name'])}" if data else ""
        told.append(f"{name(record.get('network'))}{on}, {len(run.classes):,} classes")
    return "; ".join(dict.fromkeys(told))


def values(facts: Facts) -> dict[str, Any]:
    """The numbers behind the page's pictures, which its script reads as well.

    NaN, which JSON hasn't, becomes null.
    """
    return plain(
        {
            "runs": [_of_run(run) for run in facts.runs],
            "pairs": [
                {"first": pair.first, "second": pair.second, **pair.test}
                for pair in facts.pairs
            ],
            "colours": COLOURS,
        }
    )


def _of_run(run: RunFacts) -> dict[str, Any]:
    measured = run.measured
    lesions = run.analyses.get("lesions")
    return {
        "name": run.name,
        "classes": list(run.classes),
        "history": [dict(row) for row in run.history],
        "results": [dict(one) for one in run.results],
        "confusion": None if measured is None else measured.confusion,
        "reliability": None if measured is None else dict(measured.reliability),
        "temperature": None if measured is None else measured.temperature,
        "lesions": None if lesions is None else lesions.record["results"],
        "surfaces": inside.values(run),
    }


def _images(facts: Facts) -> list[dict[str, Any]]:
    """Of each run the images of each cell: name, confidence in percent, and picture."""
    found = []
    for run in facts.runs:
        measured, cells = run.measured, {}
        for (true, predicted), positions in run.cells.items():
            cells[f"{true},{predicted}"] = [
                [
                    str(measured.names[one]),
                    round(100 * float(measured.confidence[one]), 1),
                    *_source(run, one),
                ]
                for one in positions
                if measured is not None
            ]
        found.append(cells)
    return found


def _source(run: RunFacts, position: int) -> list[Any]:
    one = run.thumbnails.get(position)
    return [] if one is None else [one.source, one.width, one.height]


def _read(file: str) -> str:
    folder = importlib.resources.files("keras_resnet.report")
    return folder.joinpath(file).read_text(encoding="utf-8")


def _template(file: str) -> string.Template:
    return string.Template(_read(file))
