"""Curves of a detector's training: average precision, losses and learning rate."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Sequence

from keras_resnet.analysis import figures
from keras_resnet.analysis.plots import (
    History,
    curves,
    draw_learning_rate,
    points_of,
    rows_of,
    updates_axis,
)


def detector_curves(
    history: History,
    path: str | os.PathLike[str],
    *,
    title: str,
    rates: Sequence[tuple[int, float]] | None = None,
) -> pathlib.Path:
    """Draws average precision, loss and, under both, the learning rate against updates.

    Args:
        history: As of `plots.training_curves`, with ``val_average_precision``, from 0
            to 1, in place of accuracies.
        path: File to write, as PNG, PDF or SVG by its suffix.
        title: Said above the curves.
        rates: As of `plots.training_curves`.

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
        (precision, losses), below = axes
        curves(
            precision, rows, "average_precision", "{:.1f} %", lambda value: 100 * value
        )
        curves(losses, rows, "loss", "{:.3f}", lambda value: value)
        precision.set(title="Average precision at an IoU of 0.5", ylabel="%")
        losses.set(title="Loss: the sum of four", ylabel="loss")
        points = rates or list(zip(*points_of(rows, "learning_rate"), strict=True))
        for axis in below:
            draw_learning_rate(axis, points)
            updates_axis(axis, max(row["step"] for row in rows))
        for axis in axes.flat:
            figures.tidy(axis)
        figure.suptitle(figures.wrapped(readable(title), 10), fontweight="bold")
        return figures.save(figure, path)
