"""Figures of the loss around a network's weights, as in Li et al. 2018.

Each function writes one file, as PNG, PDF or SVG by the path's suffix, in one move.
"""

from __future__ import annotations

import math
import os
import pathlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from keras_resnet.analysis import figures

if TYPE_CHECKING:  # Their modules import Keras, which a figure doesn't need.
    from keras_resnet.analysis.curvature import Curvature
    from keras_resnet.analysis.landscape import Surface
    from keras_resnet.analysis.trajectory import TrainingPath

Path: TypeAlias = str | os.PathLike[str]
LEVELS: tuple[float, ...] = tuple(np.arange(0.1, 10, 0.5).tolist())  # Li et al.'s.
ABREAST = 3  # Surfaces beside each other, before the next row begins.


def surfaces(
    networks: Mapping[str, Surface], path: Path, *, title: str
) -> pathlib.Path:
    """Draws surfaces on one scale, as contours and in 3-D, and loss and error on a line.

    Contours lie at 0.1 to 9.6 in steps of 0.5, as Li et al. 2018, fig. 5; a cross is the
    network. The line is that in the middle of the surface, along the first direction.

    Args:
        networks: What `analysis.surface` returns, by the name of the network. Those whose
            ``y`` is one number have a line alone.
        path: File to write, as PNG, PDF or SVG by its suffix.
        title: Said above the figure.

    Returns:
        `pathlib.Path` of the file.
    """
    planes = {name: one for name, one in networks.items() if len(one.y) > 1}
    columns = min(ABREAST, len(planes)) or 1
    rows = math.ceil(len(planes) / columns)
    width = max(figures.WIDTH, 3.4 * columns)
    height = 0.87 * width / max(columns, 1.1)
    with figures.plain_text([title, *networks]) as readable:
        heights = [height * rows, 0.8 * height * rows, 4.2] if planes else [4.2]
        figure = figures.new_figure((width, sum(heights)))
        whole = figures.wrapped(readable(title), width)
        figure.suptitle(whole, fontsize="medium", fontweight="bold")
        *upper, lower = figure.subfigures(
            len(heights), 1, height_ratios=heights, squeeze=False
        )[:, 0]
        if upper:
            axes = upper[0].subplots(rows, columns, squeeze=False)
            _planes(upper[0], axes, planes, readable)
            _mountains(upper[1], (rows, columns), planes, readable)
        _lines(lower.subplots(2, 1, sharex=True), networks, readable)
        return figures.save(figure, path)


def _planes(figure: Any, axes: Any, planes: Mapping[str, Surface], said: Any) -> None:
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import LogNorm

    scale = ScalarMappable(LogNorm(LEVELS[0], LEVELS[-1]), "viridis")
    for axis in axes.flat[len(planes) :]:
        axis.set_axis_off()
    for axis, (name, found) in zip(axes.flat, planes.items(), strict=False):
        drawn = axis.contour(
            found.x, found.y, found.loss, LEVELS, cmap=scale.cmap, norm=scale.norm,
            linewidths=1,
        )  # fmt: skip
        axis.clabel(drawn, LEVELS[::2], fontsize=6, fmt="%.1f")
        axis.plot(0, 0, "+", color="black", markersize=6)
        axis.set(aspect="equal", xlabel="first direction", ylabel="second direction")
        axis.set_title(said(name), fontsize="small")
    figure.colorbar(
        scale, ax=axes, label="loss", shrink=0.8, ticks=[0.1, 0.2, 0.5, 1, 2, 5],
        format="%g",
    )  # fmt: skip


def _mountains(
    figure: Any, shape: tuple[int, int], planes: Mapping[str, Surface], said: Any
) -> None:
    """The same surfaces in 3-D, in the order and colours of the contours."""
    from matplotlib.colors import LogNorm

    scale = LogNorm(LEVELS[0], LEVELS[-1], clip=True)
    for number, (name, found) in enumerate(planes.items(), start=1):
        axis = figure.add_subplot(*shape, number, projection="3d")
        axis.plot_surface(
            *np.meshgrid(found.x, found.y), found.loss, cmap="viridis", norm=scale,
            rstride=1, cstride=1, linewidth=0,
        )  # fmt: skip
        axis.view_init(elev=40)
        axis.set_zlim(bottom=0, top=found.clip or axis.get_zlim()[1])
        axis.tick_params(labelsize=6)
        axis.set_zlabel("loss", fontsize="small")
        axis.set_title(said(name), fontsize="small")


def _lines(axes: Any, networks: Mapping[str, Surface], readable: Any) -> None:
    lines, styles = {}, figures.line_styles()
    for (name, found), style in zip(networks.items(), styles, strict=False):
        middle = len(found.y) // 2
        (lines[readable(name)],) = axes[0].plot(found.x, found.loss[middle], **style)
        axes[1].plot(found.x, found.error[middle], **style)
    axes[0].set(ylabel="loss", ylim=(0, 1.05 * axes[0].get_ylim()[1]))
    axes[1].set(xlabel="first direction", ylabel="top-1 error, %", ylim=(0, 105))
    for axis in axes:
        figures.tidy(axis)
    figures.legend(axes[0], lines)


def trajectories(
    networks: Mapping[str, Surface],
    paths: Mapping[str, TrainingPath],
    path: Path,
    *,
    title: str,
) -> pathlib.Path:
    """Draws the way of the weights in training over contours of the loss.

    Each network has a plane of its own. Contours are those of `surfaces`. A ring is where
    training begins, a cross the network at its end; some points have their number of
    updates beside them. The axes tell the share of the variance that lies along them.

    Args:
        networks: What `analysis.surface` returns in the plane of a trajectory, by the name
            of the network.
        paths: Of each network, where its weights were in the plane.
        path: As of `surfaces`.
        title: As of `surfaces`.

    Returns:
        `pathlib.Path` of the file.
    """
    columns = min(ABREAST, len(networks))
    rows = math.ceil(len(networks) / columns)
    width = max(figures.WIDTH, 4.2 * columns)
    with figures.plain_text([title, *networks]) as readable:
        figure = figures.new_figure((width, 4.2 * rows + 0.5))
        whole = figures.wrapped(readable(title), width)
        figure.suptitle(whole, fontsize="medium", fontweight="bold")
        axes = figure.subplots(rows, columns, squeeze=False)
        _planes(figure, axes, networks, readable)
        for axis, found in zip(axes.flat, paths.values(), strict=False):
            _path(axis, found)
        return figures.save(figure, path)


def _path(axis: Any, found: TrainingPath) -> None:
    x, y = found.positions.T
    color = figures.VERMILLION
    axis.plot(x, y, color=color, linewidth=1.3, marker=".", markersize=5, zorder=3)
    axis.plot(x[0], y[0], **figures.HOLLOW, color=color, zorder=4)
    axis.plot(x[-1], y[-1], "+", color="black", markersize=10, zorder=4)
    for number in {0, len(x) // 4, len(x) // 2, len(x) - 1}:
        axis.annotate(
            f"{found.updates[number]:,}",
            (x[number], y[number]),
            xytext=(4, 4),
            textcoords="offset points",
            fontsize=7,
        )
    first, second = (
        f"{100 * share:.0f} % of the variance" for share in found.explained
    )
    axis.set(
        aspect="auto",
        xlabel=f"first principal component ({first})",
        ylabel=f"second principal component ({second})",
    )


def eigenvalues(
    networks: Mapping[str, Curvature], path: Path, *, title: str
) -> pathlib.Path:
    """Draws the estimates of the Hessian's top eigenvalue, by iteration.

    Args:
        networks: What `analysis.top_hessian_eigenvalue` returns, by the name of the
            network.
        path: As of `surfaces`.
        title: As of `surfaces`.

    Returns:
        `pathlib.Path` of the file.
    """
    with figures.stacked(1, 3.0, path, title, networks) as ((axis,), readable):
        lines, styles = {}, figures.line_styles()
        for (name, found), style in zip(networks.items(), styles, strict=False):
            numbers = np.arange(1, found.iterations + 1)
            said = f"{readable(name)}: {found.eigenvalue:.4g}"
            style |= figures.POINT
            (lines[said],) = axis.plot(numbers, found.estimates, **style)
        low, high = axis.get_ylim()
        axis.set(
            xlabel="iteration",
            ylabel="top eigenvalue of the Hessian",
            ylim=(min(0, 1.05 * low), max(0, 1.05 * high)),
        )
        figures.whole_numbers(axis)
        figures.legend(axis, lines)
    return pathlib.Path(path)
