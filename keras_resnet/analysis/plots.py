"""Curves of training: errors, losses and learning rates against updates."""

from __future__ import annotations

import csv
import math
import os
import pathlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeAlias

from keras_resnet.analysis import figures
from keras_resnet.config.words import UNKNOWN
from keras_resnet.files import local_path

# Path of a history.csv, or its rows.
History: TypeAlias = str | os.PathLike[str] | Iterable[Mapping[str, Any]]
Rows: TypeAlias = list[dict[str, float]]
# How the two errors of a run are drawn beside those of other runs.
TRAINING: dict[str, Any] = {"linestyle": "--", "linewidth": 1.1}
VALIDATION: dict[str, Any] = {"linestyle": "-", "linewidth": 1.8}


def training_curves(
    history: History,
    path: str | os.PathLike[str],
    *,
    title: str,
    rates: Sequence[tuple[int, float]] | None = None,
) -> pathlib.Path:
    """Draws error, loss and, under both, the learning rate against updates.

    Args:
        history: Path of a ``history.csv``, or its rows as dicts: ``step``, ``loss``,
            ``accuracy``, ``learning_rate`` and, where validated, ``val_loss`` and
            ``val_accuracy``; accuracies from 0 to 1, what is missing ``""`` or None.
        path: File to write, as PNG, PDF or SVG by its suffix.
        title: Said above the curves.
        rates: Pairs of an update and its learning rate, where a schedule tells them;
            else those of the history are drawn, which begin at the first validation.

    Returns:
        `pathlib.Path` of the file, written in one move.

    Raises:
        ValueError: If the history has no rows, or is damaged.
    """
    rows = rows_of(history)
    if not rows:
        raise ValueError(f"The history must have rows. Received: history={history!r}.")
    with figures.plain_text([title]) as readable:
        figure = figures.new_figure((10, 5.4))
        axes = figure.subplots(2, 2, sharex=True, height_ratios=(3, 1))
        (errors, losses), below = axes
        curves(errors, rows, "accuracy", "{:.1f} %", lambda value: 100 * (1 - value))
        curves(losses, rows, "loss", "{:.3f}", lambda value: value)
        errors.set(title="Top-1 error", ylabel="%")
        losses.set(title="Cross-entropy loss", ylabel="nats")
        points = rates or list(zip(*points_of(rows, "learning_rate"), strict=True))
        for axis in below:
            draw_learning_rate(axis, points)
            updates_axis(axis, max(row["step"] for row in rows))
        for axis in axes.flat:
            figures.tidy(axis)
        figure.suptitle(figures.wrapped(readable(title), 10), fontweight="bold")
        return figures.save(figure, path)


def training_errors(
    histories: Mapping[str, History], path: str | os.PathLike[str], *, title: str
) -> pathlib.Path:
    """Draws the training errors of several networks, as He et al. 2016a, fig. 6, do.

    Args:
        histories: By label, what `training_curves` takes.
        path: File to write, as PNG, PDF or SVG by its suffix.
        title: Said above the curves.

    Returns:
        `pathlib.Path` of the file, written in one move.

    Raises:
        ValueError: If there are more than four histories, or none, or one is damaged.
    """
    styles = [(c, s) for s in ("--", "-") for c in (figures.BLUE, figures.VERMILLION)]
    if not 1 <= len(histories) <= len(styles):
        raise ValueError(
            f"`histories` must be 1 to {len(styles)}. Received: {list(histories)}."
        )
    with figures.plain_text([title, *histories]) as readable:
        figure = figures.new_figure((6.4, 4.6))
        axis = figure.subplots()
        texts, last = [], 0
        for (label, history), (color, line) in zip(
            histories.items(), styles, strict=False
        ):
            steps, values = points_of(
                rows_of(history), "accuracy", lambda v: 100 * (1 - v)
            )
            if not values:
                raise ValueError(
                    f"The history of {label!r} must hold accuracies. Received: none."
                )
            last = max(last, *steps)
            texts.append(f"{readable(label)}: {values[-1]:.1f} %")
            axis.plot(steps, values, color=color, linestyle=line, marker="o")
        axis.set(ylabel="training error, %")
        updates_axis(axis, last)
        # The texts come afterwards: a label that begins with _ is left out.
        legend = axis.legend(
            axis.lines, map(str, range(len(texts))), title="at the end",
            alignment="left", edgecolor="none",
        )  # fmt: skip
        for place, text in zip(legend.get_texts(), texts, strict=True):
            place.set_text(text)
        figures.tidy(axis)
        figure.suptitle(figures.wrapped(readable(title), 6.4), fontweight="bold")
        return figures.save(figure, path)


def learning_curves(
    histories: Mapping[str, History], path: str | os.PathLike[str], *, title: str
) -> pathlib.Path:
    """Draws training and validation errors of several runs on one axis, by update.

    As in He et al. 2016a, fig. 4 and 6, a dashed line is the training error and a solid one
    the validation error; each run has its colour.

    Args:
        histories: By label, what `training_curves` takes. A run without any accuracy has no
            line.
        path: File to write, as PNG, PDF or SVG by its suffix.
        title: Said above the curves.

    Returns:
        `pathlib.Path` of the file, written in one move.

    Raises:
        ValueError: If there is no history, or one is damaged.
    """
    if not histories:
        raise ValueError("There must be at least one history. Received: none.")
    width = 7.4
    with figures.plain_text([title, *histories]) as readable:
        figure = figures.new_figure((width, 4.4 + 0.2 * len(histories)))
        axis = figure.subplots()
        lines, last = {}, 1.0
        styles = figures.run_styles()
        for (label, history), style in zip(histories.items(), styles, strict=False):
            rows = rows_of(history)
            last = max([last, *(row["step"] for row in rows)])
            said = []
            for column, kind in (("accuracy", TRAINING), ("val_accuracy", VALIDATION)):
                steps, values = points_of(rows, column, lambda value: 100 * (1 - value))
                said.append(f"{values[-1]:.1f} %" if values else UNKNOWN)
                alone = {"marker": "o"} if len(values) < 3 else {}  # Lines need points.
                (line,) = axis.plot(steps, values, **style | kind | alone)
            text = f"training {said[0]}, validation {said[1]} at the end"
            lines[f"{readable(label)}: {text}"] = line
        axis.set(ylabel="top-1 error, %", ylim=(0, None))
        updates_axis(axis, last)
        figures.tidy(axis)
        for text, kind in (("training", TRAINING), ("validation", VALIDATION)):
            axis.plot([], [], color=figures.GREY, label=text, **kind)
        axis.add_artist(axis.legend(loc="upper right", edgecolor="none"))
        figures.legend_below(figure, lines)
        figure.suptitle(figures.wrapped(readable(title), width), fontweight="bold")
        return figures.save(figure, path)


def rows_of(history: History) -> Rows:
    """Rows with their values as numbers, without those that are missing."""
    if not isinstance(history, (str, os.PathLike)):
        return [_numbers(row) for row in history]
    path = local_path(history)
    try:
        with open(path, newline="", encoding="utf-8") as file:
            return [_numbers(row) for row in csv.DictReader(file)]
    except (ValueError, csv.Error) as error:
        raise ValueError(
            f"{path} must be a history as training writes it. Reading it failed: {error}"
        ) from error


def _numbers(row):
    numbers = {}
    for name, value in row.items():
        if value in (None, ""):
            continue
        try:
            numbers[name] = float(value)
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"`{name}` must be a number. Received: {value!r}."
            ) from error
    if "step" not in numbers:
        raise ValueError(f"Each row must have a `step`. Received: {row}.")
    return numbers


def points_of(
    rows: Rows, name: str, transform: Callable[[float], float] = lambda value: value
) -> tuple[list[int], list[float]]:
    """Gives the steps at which a quantity is known, and its values there."""
    known = [
        (int(row["step"]), transform(row[name]))
        for row in rows
        if math.isfinite(row.get(name, math.nan))
    ]
    return [step for step, _ in known], [value for _, value in known]


def updates_axis(axis: Any, last: float) -> None:
    """Labels the axis of the updates, which are whole and begin at 0."""
    from matplotlib.ticker import MaxNLocator

    axis.set(xlabel="updates", xlim=(0, 1.03 * max(1, last)))
    axis.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
    axis.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")


def curves(
    axis: Any,
    rows: Rows,
    name: str,
    form: str,
    transform: Callable[[float], float],
) -> None:
    """Draws a quantity of training, if there is one, and of validation, with its end.

    Args:
        axis: Matplotlib's.
        rows: As of `rows_of`.
        name: Of the quantity; that of validation begins with ``val_``.
        form: Of its last value, as of `str.format`.
        transform: Function from the value to what is drawn.
    """
    kinds = (
        (
            "training",
            name,
            {"color": figures.BLUE, "linestyle": "--", "linewidth": 1.3},
        ),
        ("validation", f"val_{name}", {"color": figures.VERMILLION, "linewidth": 1.8}),
    )
    for label, column, style in kinds:
        steps, values = points_of(rows, column, transform)
        if values:
            last = form.format(values[-1])
            marker = "o" if len(values) < 3 else None  # A line needs points.
            axis.plot(steps, values, label=f"{label}: {last}", marker=marker, **style)
    if axis.lines:
        axis.legend(title="at the end", alignment="left", edgecolor="none")
        highest = max(max(line.get_ydata()) for line in axis.lines)
        axis.set_ylim(0, 1.05 * highest or 1)


def draw_learning_rate(axis: Any, points: Sequence[tuple[int, float]]) -> None:
    """Draws learning rates, pairs of an update and its rate, on matplotlib's axis."""
    steps, values = zip(*points, strict=True) if points else ((), ())
    marker = "o" if len(values) < 3 else None
    axis.plot(steps, values, color=figures.GREY, linewidth=1.5, marker=marker)
    axis.set(ylabel="learning\nrate")
    highest = max(values, default=0)
    if highest > 8 * min(values, default=0):
        # Rates a hundredth apart are told apart, and one that goes to 0 does not plunge.
        axis.set_yscale("symlog", linthresh=highest / 100, linscale=0.5)
        axis.set_ylim(0)
        # Below these the axis is linear: a mark there would lie on that of 0.
        lowest, top = math.ceil(math.log10(highest) - 2), round(math.log10(highest))
        axis.set_yticks([0, *(10.0**k for k in range(lowest, top + 1))])
        axis.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    else:
        axis.set_ylim(0, 1.1 * highest or 1)
