"""Figures of responses and gradients in a network, as in the papers they follow.

Each function writes one file, as PNG, PDF or SVG by the path's suffix, in one move.
"""

from __future__ import annotations

import os
import pathlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from keras_resnet.analysis import figures

if TYPE_CHECKING:  # Their modules import Keras, which a figure doesn't need.
    from keras_resnet.analysis.gradients import GradientNorms, GradientsAlong
    from keras_resnet.analysis.propagation import SignalPropagation
    from keras_resnet.analysis.responses import Responses

Path: TypeAlias = str | os.PathLike[str]


def layer_responses(
    networks: Mapping[str, Responses], path: Path, *, title: str
) -> pathlib.Path:
    """Draws the standard deviations of layer responses, as He et al. 2016a, fig. 7.

    Above in the order of the layers, below sorted by size. Where no batch norm follows a
    convolution, its own output is measured, and its point is hollow.

    Args:
        networks: What `analysis.layer_responses` returns, by the name of the network.
        path: File to write, as PNG, PDF or SVG by its suffix.
        title: Said above the figure.

    Returns:
        `pathlib.Path` of the file.
    """
    with figures.stacked(2, 4.8, path, title, networks) as (axes, readable):
        (ordered, descending), lines = axes, {}
        styles = figures.line_styles()
        for (name, found), style in zip(networks.items(), styles, strict=False):
            numbers = np.arange(1, len(found.deviation) + 1)
            largest = np.argsort(-found.deviation, kind="stable")
            (lines[readable(name)],) = ordered.plot(numbers, found.deviation, **style)
            descending.plot(numbers, found.deviation[largest], **style)
            bare = ~found.after_norm()
            for axis, order in ((ordered, numbers - 1), (descending, largest)):
                for kind, own in (
                    (figures.POINT | {"linestyle": "none"}, ~bare[order]),
                    (figures.HOLLOW, bare[order]),
                ):
                    values = found.deviation[order][own]
                    axis.plot(numbers[own], values, color=style["color"], **kind)
        ordered.set(xlabel="3×3 layer, in the order of the network")
        descending.set(xlabel="3×3 layer, sorted by size")
        for axis in (ordered, descending):
            axis.set(ylabel="standard deviation", ylim=(0, 1.08 * axis.get_ylim()[1]))
            figures.whole_numbers(axis)
        figures.legend(ordered, lines)
    return pathlib.Path(path)


def gradient_norms(
    norms: Mapping[str, GradientNorms],
    signal: SignalPropagation | None,
    path: Path,
    *,
    title: str,
    along: GradientsAlong | None = None,
) -> pathlib.Path:
    """Draws the norms of gradients by layer and, below, the growth of the signal.

    Both axes are logarithmic. Points of dense layers are hollow. Below is the variance at
    the additions, as in the plots of Brock et al. 2021, fig. 1.

    Args:
        norms: What `analysis.gradient_norms` returns of one network with different
            weights, by what is said of these.
        signal: What `analysis.signal_propagation` returns; `None` of a network without
            residual additions, which has one diagram only.
        path: As of `layer_responses`.
        title: As of `layer_responses`.
        along: What `analysis.gradient_norms_along` returns of the same network, for a
            diagram between the two with a line for each moment of training.

    Returns:
        `pathlib.Path` of the file.
    """
    rows = 1 + (along is not None) + (signal is not None)
    height = 2.5 * rows + 0.3
    with figures.stacked(rows, height, path, title, norms) as (axes, readable):
        lines, styles = {}, figures.line_styles()
        for (name, found), style in zip(norms.items(), styles, strict=False):
            numbers = np.arange(1, len(found.norms) + 1)
            values = np.where(found.norms > 0, found.norms, np.nan)
            style |= figures.POINT | {"markersize": 4 if len(values) < 30 else 2.5}
            (lines[readable(name)],) = axes[0].plot(numbers, values, **style)
            dense = ~found.convolutions
            style |= figures.HOLLOW
            axes[0].plot(numbers[dense], values[dense], **style)
        axes[0].set(
            xlabel="layer with a kernel, in the order of the network",
            ylabel="norm of the gradient",
        )
        figures.whole_numbers(axes[0])
        figures.logarithmic(axes[0])
        figures.legend(axes[0], lines)
        if along is not None:
            _along(axes[1], along)
        if signal is not None:
            _signal(axes[-1], signal)
    return pathlib.Path(path)


def _along(axis: Any, along: GradientsAlong) -> None:
    """A line for each moment of training, dark for the first and light for the last."""
    from matplotlib import colormaps
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import ListedColormap, Normalize

    # Without its lightest colours, which can't be seen on white.
    colors = ListedColormap(colormaps["viridis"](np.linspace(0, 0.85, 256)))
    scale = ScalarMappable(Normalize(0, max(1, along.updates[-1])), colors)
    numbers = np.arange(1, len(along.layers) + 1)
    for update, norms in zip(along.updates, along.norms, strict=True):
        values = np.where(norms > 0, norms, np.nan)
        axis.plot(numbers, values, color=scale.to_rgba(update), linewidth=1)
    axis.set(
        xlabel="layer with a kernel, along the training", ylabel="norm of the gradient"
    )
    figures.whole_numbers(axis)
    figures.logarithmic(axis)
    axis.figure.colorbar(scale, ax=axis, label="update", format="{x:,.0f}")


def _signal(axis: Any, signal: SignalPropagation) -> None:
    numbers = np.arange(1, len(signal.names) + 1)
    kinds = {
        "output of the addition": signal.variance,
        "residual": signal.residual_variance,
    }
    styles = figures.line_styles()
    for (name, values), style in zip(kinds.items(), styles, strict=False):
        values = np.where(values > 0, values, np.nan)  # Of zeros there is no logarithm.
        axis.plot(numbers, values, label=name, **style, **figures.POINT)
    axis.set(xlabel="block, as initialised", ylabel="variance of a channel")
    figures.whole_numbers(axis)
    figures.logarithmic(axis)
    figures.separate_stages(axis, signal.stages)
    axis.legend(fontsize="small", edgecolor="none")
