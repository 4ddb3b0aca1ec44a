"""Figures of images with what a network says of them."""

from __future__ import annotations

import math
import os
import pathlib
import textwrap
from collections.abc import Sequence

import numpy as np

from keras_resnet.analysis import figures


def example_predictions(
    images: np.ndarray,
    labels: Sequence[int] | np.ndarray,
    probabilities: np.ndarray,
    class_names: Sequence[str],
    path: str | os.PathLike[str],
    *,
    title: str = "Predictions",
    mistakes: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None,
) -> pathlib.Path:
    """Draws images with what was predicted, how surely, and what is true.

    Args:
        images: uint8 of shape ``(n, height, width, channels)``, 1 or 3 channels.
        labels: Integers of shape ``(n,)``, the true classes.
        probabilities: Floats of shape ``(n, classes)``.
        class_names: Names (str), one per class.
        path: File to write, as PNG, PDF or SVG by its suffix.
        title: Said above the images, for example whose they are.
        mistakes: Images, labels and probabilities of further images, which were chosen
            because the prediction is wrong; drawn below the others, and said to be so.

    Returns:
        `pathlib.Path` of the file, written in one move.

    Raises:
        ValueError: If the arguments don't fit each other.
    """
    _check_examples(images, labels, probabilities, class_names)
    groups = [(images, np.asarray(labels), probabilities)]
    if mistakes is not None and len(mistakes[0]):
        _check_examples(*mistakes, class_names)
        groups.append(mistakes)
    columns = math.ceil(math.sqrt(1.6 * len(images)))  # A little wider than high.
    heights = [math.ceil(len(group[0]) / columns) for group in groups]
    with figures.plain_text([title, *class_names]) as readable:
        names = [_short(readable(name)) for name in class_names]
        right = int((probabilities.argmax(axis=1) == groups[0][1]).sum())
        count = f"{right} of {len(images)} right"
        whole = f"{readable(title)} ({count})" if len(groups) == 1 else readable(title)
        width = max(3.4, 1.7 * columns)
        whole = figures.wrapped(whole, width)
        lines = whole.count("\n") + len(groups)
        figure = figures.new_figure((width, 2.15 * sum(heights) + 0.4 + 0.3 * lines))
        figure.suptitle(whole, fontweight="bold")
        parts = figure.subfigures(len(groups), 1, height_ratios=heights, squeeze=False)
        for part, rows, group in zip(parts.flat, heights, groups, strict=True):
            _examples(part.subplots(rows, columns, squeeze=False), *group, names)
        if len(groups) > 1:
            wrong = len(groups[1][0])
            parts[0, 0].suptitle(count)
            parts[1, 0].suptitle(f"{wrong} of the mistakes on other images")
        return figures.save(figure, path)


def _check_examples(images, labels, probabilities, class_names):
    shape = (len(images), len(class_names))
    if not len(images) or len(labels) != len(images) or probabilities.shape != shape:
        raise ValueError(
            "There must be one label and one row of probabilities for each image, and "
            f"one name for each class. Received: {len(images)} images, {len(labels)} "
            f"labels, probabilities of shape {probabilities.shape}, "
            f"{len(class_names)} names."
        )


def _examples(axes, images, labels, probabilities, names):
    for axis in axes.flat:
        axis.set_axis_off()
    for axis, image, label, scores in zip(
        axes.flat, images, labels, probabilities, strict=False
    ):
        predicted = int(scores.argmax())
        _image(axis, image, framed=predicted != label)
        _caption(axis, names, predicted, int(label), scores[predicted])


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
    axis.spines[:].set(
        color=figures.VERMILLION if framed else "0.8", linewidth=4 * framed + 1
    )


def _caption(axis, names, predicted, label, probability):
    right = predicted == label
    line = f"{'✓' if right else '✗'} {names[predicted]} {probability:.0%}"
    axis.set_title(
        line if right else f"{line}\ntrue: {names[label]}",
        fontsize=9,
        color="black" if right else figures.VERMILLION,
        fontweight="normal" if right else "bold",
    )


def _short(name):
    return textwrap.shorten(name, 18, placeholder="…") if " " in name else name[:18]
