"""Every figure of the package; the only module that imports matplotlib."""

from __future__ import annotations

import csv
import math
import os
import pathlib
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from keras_resnet.files import local_path, replaced

# Path of a history.csv, or its rows.
History: TypeAlias = str | os.PathLike[str] | Iterable[Mapping[str, Any]]
# Okabe and Ito's colours, told apart by colour-blind readers too. Nothing is said by
# colour alone: lines also differ in style, wrong predictions carry a mark.
BLUE, VERMILLION, GREY = "#0072B2", "#D55E00", "#595959"


def training_curves(
    history: History, path: str | os.PathLike[str], *, title: str
) -> pathlib.Path:
    """Draws error, loss and, under both, the learning rate against updates.

    Args:
        history: Path of a ``history.csv``, or its rows as dicts: ``step``, ``loss``,
            ``accuracy``, ``learning_rate`` and, where validated, ``val_loss`` and
            ``val_accuracy``; accuracies from 0 to 1, what is missing ``""`` or None.
        path: File to write, as PNG, PDF or SVG by its suffix.
        title: Said above the curves.

    Returns:
        `pathlib.Path` of the file, written in one move.

    Raises:
        ValueError: If the history has no rows.
    """
    rows = _rows(history)
    if not rows:
        raise ValueError(f"The history must have rows. Received: history={history!r}.")
    figure = _figure((10, 5.4))
    axes = figure.subplots(2, 2, sharex=True, height_ratios=(3, 1))
    (errors, losses), rates = axes
    _curves(errors, rows, "accuracy", "{:.1f} %", lambda value: 100 * (1 - value))
    _curves(losses, rows, "loss", "{:.3f}", lambda value: value)
    errors.set(title="Top-1 error", ylabel="%")
    losses.set(title="Cross-entropy loss", ylabel="nats")
    for axis in rates:
        _learning_rate(axis, rows)
    for axis in axes.flat:
        axis.grid(color="0.9")
        axis.set_axisbelow(True)
        axis.spines[["top", "right"]].set_visible(False)
    figure.suptitle(title, fontweight="bold")
    return _save(figure, path)


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
        ValueError: If there are more than four histories, or none.
    """
    styles = [(c, s) for s in ("--", "-") for c in (BLUE, VERMILLION)]
    if not 1 <= len(histories) <= len(styles):
        raise ValueError(
            f"`histories` must be 1 to {len(styles)}. Received: {list(histories)}."
        )
    figure = _figure((6.4, 4.6))
    axis = figure.subplots()
    for (label, history), (color, line) in zip(histories.items(), styles, strict=False):
        steps, values = _points(_rows(history), "accuracy", lambda v: 100 * (1 - v))
        if not values:
            raise ValueError(
                f"The history of {label!r} must hold accuracies. Received: none."
            )
        label = f"{label}: {values[-1]:.1f} %"
        axis.plot(steps, values, color=color, linestyle=line, marker="o", label=label)
    axis.set(xlabel="updates", ylabel="training error, %")
    axis.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axis.legend(title="at the end", alignment="left", edgecolor="none")
    axis.grid(color="0.9")
    axis.set_axisbelow(True)
    axis.spines[["top", "right"]].set_visible(False)
    figure.suptitle(title, fontweight="bold")
    return _save(figure, path)


def example_predictions(
    images: np.ndarray,
    labels: Sequence[int] | np.ndarray,
    probabilities: np.ndarray,
    class_names: Sequence[str],
    path: str | os.PathLike[str],
) -> pathlib.Path:
    """Draws images with what was predicted, how surely, and what is true.

    Args:
        images: uint8 of shape ``(n, height, width, channels)``, 1 or 3 channels.
        labels: Integers of shape ``(n,)``, the true classes.
        probabilities: Floats of shape ``(n, classes)``.
        class_names: Names (str), one per class.
        path: File to write, as PNG, PDF or SVG by its suffix.

    Returns:
        `pathlib.Path` of the file, written in one move.

    Raises:
        ValueError: If the arguments don't fit each other.
    """
    shape = (len(images), len(class_names))
    if not len(images) or len(labels) != len(images) or probabilities.shape != shape:
        raise ValueError(
            "There must be one label and one row of probabilities for each image, and "
            f"one name for each class. Received: {len(images)} images, {len(labels)} "
            f"labels, probabilities of shape {probabilities.shape}, "
            f"{len(class_names)} names."
        )
    rows = max(1, round(math.sqrt(len(images) / 1.6)))  # A little wider than high.
    columns = math.ceil(len(images) / rows)
    figure = _figure((max(3.4, 1.7 * columns), 2.15 * rows + 0.5))
    for axis in figure.subplots(rows, columns, squeeze=False).flat:
        axis.set_axis_off()
    wrong = 0
    for axis, image, label, scores in zip(
        figure.axes, images, labels, probabilities, strict=False
    ):
        predicted = int(scores.argmax())
        wrong += predicted != label
        _image(axis, image, framed=predicted != label)
        _caption(axis, class_names, predicted, int(label), scores[predicted])
    count = f"{len(images) - wrong} of {len(images)} right"
    figure.suptitle(f"Predictions ({count})", fontweight="bold")
    return _save(figure, path)


def image_grid(
    images: np.ndarray, path: str | os.PathLike[str], *, columns: int
) -> pathlib.Path:
    """Puts images side by side, pixel by pixel, 4 white pixels apart.

    Args:
        images: uint8 of shape ``(n, height, width, channels)``, 1 or 3 channels.
        path: File to write, JPEG or PNG by its suffix.
        columns: Images in a row.

    Returns:
        `pathlib.Path` of the file, written in one move.
    """
    rows = math.ceil(len(images) / columns)
    height, width = images.shape[1:3]
    grid = np.full(
        (rows * (height + 4) - 4, columns * (width + 4) - 4, 3), 255, "uint8"
    )
    for number, image in enumerate(images):
        row, column = divmod(number, columns)
        top, left = row * (height + 4), column * (width + 4)
        grid[top : top + height, left : left + width] = image  # Grey in all three.
    from matplotlib.image import imsave

    path = local_path(path)
    with replaced(path) as new:
        imsave(new, grid, pil_kwargs={"quality": 90})
    return path


def _rows(history):
    if isinstance(history, (str, os.PathLike)):
        with open(local_path(history), newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))
    return list(history)


def _figure(size):
    # Not pyplot, which would choose a backend for the whole process and keep the
    # figure alive.
    from matplotlib.figure import Figure

    return Figure(figsize=size, layout="constrained")


def _points(rows, name, transform):
    """Gives the steps at which a quantity is known, and its values there."""
    known = [
        (int(float(row["step"])), transform(float(row[name])))
        for row in rows
        if row.get(name) not in (None, "") and math.isfinite(float(row[name]))
    ]
    return [step for step, _ in known], [value for _, value in known]


def _curves(axis, rows, name, form, transform):
    kinds = (
        ("training", name, {"color": BLUE, "linestyle": "--", "linewidth": 1.3}),
        ("validation", f"val_{name}", {"color": VERMILLION, "linewidth": 1.8}),
    )
    for label, column, style in kinds:
        steps, values = _points(rows, column, transform)
        if values:
            last = form.format(values[-1])
            marker = "o" if len(values) < 3 else None  # A line needs points.
            axis.plot(steps, values, label=f"{label}: {last}", marker=marker, **style)
    if axis.lines:
        axis.legend(title="at the end", alignment="left", edgecolor="none")
        highest = max(max(line.get_ydata()) for line in axis.lines)
        axis.set_ylim(0, 1.05 * highest or 1)


def _learning_rate(axis, rows):
    steps, values = _points(rows, "learning_rate", lambda value: value)
    marker = "o" if len(values) < 3 else None
    axis.plot(steps, values, color=GREY, linewidth=1.5, marker=marker)
    axis.set(xlabel="updates", ylabel="learning\nrate")
    highest = max(values, default=0)
    if highest > 8 * min(values, default=0):
        # Rates a hundredth apart are told apart, and one that goes to 0 does not plunge.
        axis.set_yscale("symlog", linthresh=highest / 100, linscale=0.5)
        axis.set_ylim(0)
        # Below these the axis is linear: a mark there would lie on that of 0.
        lowest, top = math.ceil(math.log10(highest) - 2), round(math.log10(highest))
        axis.set_yticks([0, *(10.0**k for k in range(lowest, top + 1))])
    axis.locator_params(axis="x", nbins=6)
    axis.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")


def _image(axis, image, *, framed):
    side = max(image.shape[:2])
    axis.imshow(
        image[..., 0] if image.shape[-1] == 1 else image,
        cmap="gray",
        vmin=0,
        vmax=255,
        # Small images are shown as the pixels that they are.
        interpolation="nearest" if side <= 64 else "antialiased",
    )
    axis.set_axis_on()
    axis.set(xticks=[], yticks=[])
    axis.spines[:].set(color=VERMILLION if framed else "0.8", linewidth=4 * framed + 1)


def _caption(axis, names, predicted, label, probability):
    right = predicted == label
    line = f"{'✓' if right else '✗'} {_short(names[predicted])} {probability:.0%}"
    axis.set_title(
        line if right else f"{line}\ntrue: {_short(names[label])}",
        fontsize=9,
        color="black" if right else VERMILLION,
        fontweight="normal" if right else "bold",
        parse_math=False,  # A class may be called "$".
    )


def _short(name):
    return textwrap.shorten(name, 18, placeholder="…") if " " in name else name[:18]


def _save(figure, path):
    path = local_path(path)
    with replaced(path) as new:
        figure.savefig(new, dpi=150)
    return path
