"""Figures of what a network sees in images, and of its features.

Each function writes one file, as PNG, PDF or SVG by the path's suffix, in one move.
"""

from __future__ import annotations

import itertools
import math
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from keras_resnet.analysis import figures

if TYPE_CHECKING:  # Their modules import Keras, which a figure doesn't need.
    from keras_resnet.analysis.embeddings import Embedding
    from keras_resnet.analysis.features import Similarity
    from keras_resnet.analysis.receptive_field import ReceptiveField

Path: TypeAlias = str | os.PathLike[str]
MOST_NAMED = 20  # Classes that can be told apart by colour and marker.
MARKERS = "os^Dv"
ABREAST = 32  # Filters in a row.


def attributions(
    pixels: np.ndarray,
    heats: Mapping[str, np.ndarray],
    answers: tuple[Sequence[str], Sequence[str], np.ndarray],
    filters: np.ndarray,
    path: Path,
    *,
    title: str,
) -> pathlib.Path:
    """Draws images, beside each what speaks for the predicted class, and filters below.

    Args:
        pixels: uint8 ``(n, height, width, channels)``, 1 or 3 channels.
        heats: From 0 to 1, ``(n, height, width)``, as of `asked.Attribution.heat`, by the
            name of the method, in their order from left to right.
        answers: Names of the predicted and of the true classes, and the probability of
            the predicted ones, each of length ``n``.
        filters: Of the first layer, as `analysis.FirstFilters` has them.
        path: File to write, as PNG, PDF or SVG by its suffix.
        title: Said above the figure.

    Returns:
        `pathlib.Path` of the file.
    """
    parts = 1 + len(heats)
    # So many rows and columns that the whole is about half as high again as it is wide.
    columns = max(1, round(math.sqrt(2 * len(pixels) / parts)))
    rows = math.ceil(len(pixels) / columns)
    width = max(figures.WIDTH, 1.15 * parts * columns)
    above = (width / columns / parts + 0.4) * rows
    below = 0.5 + width * math.ceil(len(filters) / ABREAST) / ABREAST
    with figures.plain_text([title, *answers[0], *answers[1]]) as readable:
        figure = figures.new_figure((width, above + below + 0.7))
        methods = f"image, {', '.join(heats)}"
        whole = figures.wrapped(f"{readable(title)}: {methods}", width)
        figure.suptitle(whole, fontsize="medium", fontweight="bold")
        upper, lower = figure.subfigures(2, 1, height_ratios=[above, below])
        axes = upper.subplots(rows, columns, squeeze=False)
        for axis in axes.flat:
            axis.set_axis_off()
        each = zip(
            axes.flat, pixels, zip(*heats.values(), strict=True), *answers, strict=False
        )
        for axis, image, own, predicted, true, probability in each:
            axis.imshow(_beside(image, own))
            right = predicted == true
            said = f"{'✓' if right else '✗'} {readable(predicted)} {probability:.0%}"
            axis.set_title(
                said if right else f"{said}\ntrue: {readable(true)}",
                fontsize=8,
                color="black" if right else figures.VERMILLION,
            )
        axis = lower.subplots()
        axis.imshow(_in_rows(filters), interpolation="nearest")
        axis.set_axis_off()
        axis.set_title("the filters of the first layer", fontsize=8)
        return figures.save(figure, path)


def _beside(image: np.ndarray, heats: Sequence[np.ndarray]) -> np.ndarray:
    """An image and, on its right, the same in grey under the colours of each heat."""
    from matplotlib import colormaps

    image = np.broadcast_to(image, (*image.shape[:2], 3)) / 255
    grey = np.broadcast_to(image.mean(axis=-1, keepdims=True), image.shape)
    gap = np.ones((len(image), max(1, image.shape[1] // 20), 3))
    parts = [image]
    for heat in heats:
        colored = colormaps["inferno"](heat)[..., :3]
        parts += [gap, 0.35 * grey + 0.65 * colored]
    return np.concatenate(parts, axis=1)


def _in_rows(filters: np.ndarray) -> np.ndarray:
    """Filters as one image of three channels, with white between them."""
    count, height, width, _ = filters.shape
    filters = np.broadcast_to(filters, (count, height, width, 3))
    rows = math.ceil(count / ABREAST)
    columns = min(count, ABREAST)
    whole = np.ones((rows * (height + 1), columns * (width + 1), 3))
    for number, one in enumerate(filters):
        row, column = divmod(number, ABREAST)
        y, x = row * (height + 1), column * (width + 1)
        whole[y : y + height, x : x + width] = one
    return whole


def features(
    embedding: Embedding,
    classes: Sequence[str],
    similarity: Mapping[str, Similarity],
    path: Path,
    *,
    title: str,
) -> pathlib.Path:
    """Draws images as points in the plane by class, and CKA between layers.

    Args:
        embedding: What `analysis.embed` returns.
        classes: The name of each image's class.
        similarity: What `analysis.cka_by_layer` returns, by the name of the network whose
            layers are the columns.
        path: As of `attributions`.
        title: As of `attributions`.

    Returns:
        `pathlib.Path` of the file.
    """
    with figures.plain_text([title, *classes, *similarity]) as readable:
        width, count = 6.8, len(similarity)
        columns = min(2, count)
        rows = math.ceil(count / columns)
        heights = [4.4, 3.4 * rows]
        figure = figures.new_figure((width, sum(heights) + 0.3))
        whole = figures.wrapped(readable(title), width)
        figure.suptitle(whole, fontsize="medium", fontweight="bold")
        upper, lower = figure.subfigures(2, 1, height_ratios=heights)
        _points(upper.subplots(), embedding, np.array(classes), readable)
        axes = lower.subplots(rows, columns, squeeze=False)
        for axis in axes.flat[count:]:
            axis.set_axis_off()
        for axis, (name, found) in zip(axes.flat, similarity.items(), strict=False):
            height, width = found.cka.shape
            drawn = axis.imshow(
                found.cka, vmin=0, vmax=1, origin="lower", aspect="auto",
                extent=(0.5, width + 0.5, 0.5, height + 0.5),
            )  # fmt: skip
            axis.set(xlabel=f"layer of {readable(name)}", ylabel="layer")
            figures.whole_numbers(axis)
        lower.colorbar(drawn, ax=axes, label="linear CKA")
        return figures.save(figure, path)


def _points(axis: Any, embedding: Embedding, classes: np.ndarray, said: Any) -> None:
    from matplotlib import colormaps

    names = sorted(set(classes.tolist()))
    named = len(names) <= MOST_NAMED
    colors = colormaps["tab10" if named else "hsv"]
    styles = zip(names, itertools.cycle(MARKERS), strict=False)
    for number, (name, marker) in enumerate(styles):
        color = colors(number % 10) if named else colors(number / len(names))
        axis.plot(
            *embedding.points[classes == name].T, linestyle="none", marker=marker,
            markersize=3.5, color=color, alpha=0.8, label=said(name) or " ",
        )  # fmt: skip
    method = {"tsne": "t-SNE", "umap": "UMAP"}[embedding.method]
    axis.set(xticks=[], yticks=[])
    axis.set_title(f"{method} of the features, by class", fontsize="small")
    if named:
        axis.legend(
            loc="center left",
            bbox_to_anchor=(1, 0.5),
            fontsize="small",
            edgecolor="none",
        )


def receptive_fields(
    fields: Mapping[str, Sequence[ReceptiveField]], path: Path, *, title: str
) -> pathlib.Path:
    """Draws how much the centre of feature maps depends on each pixel.

    Colours show the root of the gradient; a frame is what the layer can see by its
    kernels and strides.

    Args:
        fields: What `analysis.effective_receptive_field` returns of some layers, by what
            is said of the network's weights.
        path: As of `attributions`.
        title: As of `attributions`.

    Returns:
        `pathlib.Path` of the file.
    """
    columns = max(map(len, fields.values()))
    width = max(figures.WIDTH, 1.9 * columns)
    texts = [one.layer for row in fields.values() for one in row]
    with figures.plain_text([title, *texts]) as readable:
        side = width / max(columns, 2)
        figure = figures.new_figure((width, (side + 0.5) * len(fields) + 0.4))
        whole = figures.wrapped(readable(title), width)
        figure.suptitle(whole, fontsize="medium", fontweight="bold")
        axes = figure.subplots(len(fields), columns, squeeze=False)
        for row, (name, found) in zip(axes, fields.items(), strict=True):
            row[0].set_ylabel(name)
            for axis, one in zip(row, found, strict=True):
                axis.imshow(np.sqrt(one.gradient), cmap="inferno", vmin=0, vmax=1)
                axis.set(xticks=[], yticks=[])
                said = f"{readable(one.layer)}\nradius {one.radius:.1f} pixels"
                axis.set_title(said, fontsize=7)
                _frame(axis, one)
        return figures.save(figure, path)


def _frame(axis: Any, found: ReceptiveField) -> None:
    """The rectangle that the unit can see, unless it is beyond the image on all sides."""
    from matplotlib.patches import Rectangle

    if found.theoretical is None:
        return
    (height, width), (rows, columns) = found.theoretical, found.gradient.shape
    if height < rows or width < columns:
        corner = (columns // 2 - width / 2, rows // 2 - height / 2)
        axis.add_patch(
            Rectangle(
                corner, width, height, fill=False, edgecolor="white", linestyle=":"
            )
        )
