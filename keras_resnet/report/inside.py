"""What analyses of a run show: lesions, the loss landscape, and the others' pictures."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from keras_resnet.config.words import counted
from keras_resnet.report import charts
from keras_resnet.report.charts import Series
from keras_resnet.report.facts import AnalysisFacts, Facts, RunFacts
from keras_resnet.report.markup import name, number, text
from keras_resnet.report.mistakes import picture

ABOUT_LESIONS = (
    "Where blocks can be left out at little cost, the network acts as an ensemble of paths "
    "(Veit et al. 2016)."
)
ABOUT_LANDSCAPE = (
    "The weights are moved in two random directions, whose filters are as long as the "
    "network's own (Li et al. 2018); in the middle is the network. Turn the surface with "
    "the mouse, a finger or the arrow keys."
)
DRAWN_HERE = ("lesions", "landscape")  # The others keep the pictures of `analyze`.


def how(found: AnalysisFacts) -> str:
    """What an analysis was made on."""
    record = found.record
    return (
        f'<p class="how">{counted(record["images"], "image")} of {name(record["data"])} '
        f"({text(record['split'])}), seed {text(record['seed'])}, batch norm as in "
        f"{text(record['batch_norm'])}.</p>"
    )


def lesions(position: int, run: RunFacts) -> str:
    """Errors without one block, and without several."""
    found = run.analyses.get("lesions")
    if found is None:
        return ""
    each = found.record["results"]["each"]
    several = found.record["results"]["random"]
    at = f"{position}/analysis/lesions.json#/results/each"
    middle = statistics.median(each["error"])
    drawn = charts.bars(
        "<strong>Top-1 error without one block, %</strong> (dashed: the whole network)",
        each["error"],
        each["names"],
        groups=[f"stage {stage}" for stage in each["stages"]],
        line=each["whole_error"],
        x_label="block that is deleted",
        label=f"Top-1 error without each of {len(each['error'])} blocks, from "
        f"{min(each['error']):.1f} to {max(each['error']):.1f} %; of the whole network "
        f"{each['whole_error']:.1f} %.",
    ) + _several(several)
    return (
        f'<div class="charts">{drawn}</div><p>Without one block the top-1 error of '
        f"{number(each['whole_error'], '.1f', f'{at}/whole_error', '%')} becomes "
        f"{number(middle, '.1f', f'{at}/median', '%')} in the median.</p>{how(found)}"
    )


def _several(several: Mapping[str, Any]) -> str:
    """Errors without several blocks that are drawn at random."""
    if not several["counts"]:
        return ""
    means = [statistics.mean(errors) for errors in several["error"]]
    draws = [
        (count, error)
        for count, errors in zip(several["counts"], several["error"], strict=True)
        for error in errors
    ]
    return charts.lines(
        "<strong>Top-1 error without several blocks, %</strong> (mean and draws)",
        [
            Series(
                name="mean",
                points=list(zip(several["counts"], means, strict=True)),
                marked=False,
            ),
            *(Series(name="draw", points=[draw]) for draw in draws),
        ],
        x_label="number of blocks deleted at random",
        label=f"Mean top-1 error from {means[0]:.1f} % without "
        f"{several['counts'][0]} to {means[-1]:.1f} % without {several['counts'][-1]}.",
        unit=" %",
    )


def surfaces(found: AnalysisFacts) -> dict[str, Mapping[str, Any]]:
    """The landscape of each network in an analysis, the run's own first."""
    networks = found.record["results"]["networks"]
    own = found.record["run"]
    return dict(sorted(networks.items(), key=lambda item: item[0] != own))


def landscape(position: int, run: RunFacts) -> str:
    """The loss around the weights, as a surface that turns."""
    found = run.analyses.get("landscape")
    if found is None:
        return ""
    drawn = []
    for i, (key, one) in enumerate(surfaces(found).items()):
        values = [value for row in one["loss"] for value in row if value is not None]
        said = (
            f"Loss around the weights of {key}: {min(values):.3g} to {max(values):.3g}"
        )
        caption = f"<strong>Loss around {name(key)}</strong>"
        if len(one["y"]) < 2:
            drawn.append(_line(caption, one, said))
            continue
        drawn.append(
            f'<figure class="chart"><figcaption>{caption}</figcaption>'
            f'<canvas class="surface" data-run="{position}" data-surface="{i}" '
            f'tabindex="0" role="img" aria-label="{text(said)}. Arrow keys turn it.">'
            f'</canvas><p class="scale" data-run="{position}"></p></figure>'
        )
    lines = "".join(f"<li>{text(line)}</li>" for line in found.lines)
    kept = ""
    if found.picture is not None:
        shown = picture(
            found.picture, "Contours of the loss, and the loss along a line"
        )
        kept = f'<details class="kept"><summary>Contours</summary>{shown}</details>'
    return (
        f'<div class="charts">{"".join(drawn)}</div><ul>{lines}</ul>{kept}{how(found)}'
    )


def _line(caption: str, one: Mapping[str, Any], said: str) -> str:
    return charts.lines(
        caption,
        [Series(name="loss", points=list(zip(one["x"], one["loss"][0], strict=True)))],
        x_label="multiples of the direction",
        label=said,
    )


def others(facts: Facts) -> list[tuple[str, str]]:
    """Titles and contents of the other analyses that any run has."""
    names = dict.fromkeys(key for run in facts.runs for key in run.analyses)
    return [
        (
            key.replace("-", " ").capitalize(),
            side_by_side(facts, lambda _, run, key=key: _kept(run.analyses.get(key))),
        )
        for key in names
        if key not in DRAWN_HERE
    ]


def _kept(found: AnalysisFacts | None) -> str:
    if found is None:
        return ""
    lines = "".join(f"<li>{text(line)}</li>" for line in found.lines)
    title = f"{found.about[0].upper()}{found.about[1:]}"
    drawn = ""
    if found.picture is not None:
        shown = picture(found.picture, f"{title}: {'; '.join(found.lines)}")
        drawn = f'<div class="kept">{shown}</div>'
    return f"<p>{text(title)}.</p><ul>{lines}</ul>{drawn}{how(found)}"


def side_by_side(
    facts: Facts, shown: Callable[[int, RunFacts], str], about: str = ""
) -> str:
    """What a function of a run's position and its facts gives, for each run.

    Args:
        facts: Of the report.
        shown: Gives HTML, empty where there is nothing to show.
        about: What is said of all, as text.
    """
    parts = [(run, shown(i, run)) for i, run in enumerate(facts.runs)]
    if not any(content for _, content in parts):
        return ""
    said = f"<p>{text(about)}</p>" if about else ""
    if len(parts) == 1:
        return said + parts[0][1]
    nothing = "<p>Not there: see what is missing.</p>"
    columns = "".join(
        f"<div><h3>{name(run.name)}</h3>{content or nothing}</div>"
        for run, content in parts
    )
    return f'{said}<div class="beside">{columns}</div>'


def values(run: RunFacts) -> Sequence[Mapping[str, Any]]:
    """The surfaces of a run, for the page's script."""
    found = run.analyses.get("landscape")
    if found is None:
        return []
    keys = ("x", "y", "loss", "clip")
    return [
        {"name": one, **{key: surface[key] for key in keys}}
        for one, surface in surfaces(found).items()
    ]
