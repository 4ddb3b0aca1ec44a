"""Curves of training: loss, error and learning rate against updates."""

from __future__ import annotations

import math
from collections.abc import Callable

from keras_resnet.report import charts
from keras_resnet.report.charts import Series
from keras_resnet.report.facts import Facts, RunFacts


def curves(facts: Facts) -> str:
    """Three charts, with the lines of all runs."""
    runs = [run for run in facts.runs if run.history]
    if not runs:
        return ""
    loss = _pairs_of_series(facts, "loss", "val_loss", lambda value: value)
    error = _pairs_of_series(
        facts, "accuracy", "val_accuracy", lambda value: 100 * (1 - value)
    )
    rate = [
        Series(
            name=run.name if len(facts.runs) > 1 else "learning rate",
            points=run.rates or _column(run, "learning_rate"),
            colour=i,
            marked=run.rates is None,
        )
        for i, run in enumerate(facts.runs)
        if run.history
    ]
    drawn = [
        charts.lines(
            f"<strong>{title}</strong>",
            series,
            x_label="updates",
            label=f"{title} by updates. {_ends(series)}",
            unit=unit,
        )
        for title, series, unit in (
            ("Loss", loss, ""),
            ("Top-1 error, %", error, " %"),
            ("Learning rate", rate, ""),
        )
    ]
    return (
        charts.legend(loss)
        + f'<div class="charts">{"".join(drawn)}</div>'
        + "<p>Training values are means over the updates since the last point, on "
        "augmented images and while the weights change; validation values are those of "
        "the network at the point.</p>"
    )


def _pairs_of_series(
    facts: Facts, training: str, validation: str, as_shown: Callable[[float], float]
) -> list[Series]:
    """Of each run the line of its training and that of its validation."""
    several = len(facts.runs) > 1
    series = []
    for i, run in enumerate(facts.runs):
        for column, what, dashed in (
            (training, "training", True),
            (validation, "validation", False),
        ):
            points = [(x, as_shown(y)) for x, y in _column(run, column)]
            name = f"{run.name}, {what}" if several else what
            if points:
                series.append(Series(name=name, points=points, colour=i, dashed=dashed))
    return series


def _column(run: RunFacts, name: str) -> list[tuple[float, float]]:
    return [(row["step"], row.get(name, math.nan)) for row in run.history]


def _ends(series: list[Series]) -> str:
    """The first and last value of each line, in words."""
    told = []
    for one in series:
        there = [value for _, value in one.points if math.isfinite(value)]
        if there:
            told.append(
                f"{one.name}: from {charts.said(there[0])} to {charts.said(there[-1])}"
            )
    return "; ".join(told) + "."
