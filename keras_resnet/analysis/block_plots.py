"""Figures of lesions, permutations and paths, as in Veit et al. 2016.

Each function writes one file, as PNG, PDF or SVG by the path's suffix, in one move.
"""

from __future__ import annotations

import itertools
import os
import pathlib
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from keras_resnet.analysis import figures

if TYPE_CHECKING:  # Their modules import Keras, which a figure doesn't need.
    from keras_resnet.analysis.lesions import Deletions, RandomDeletions
    from keras_resnet.analysis.paths import PathGradients
    from keras_resnet.analysis.permutations import Permutations

Path: TypeAlias = str | os.PathLike[str]
MOST_NAMED = 16  # Blocks whose names have room below an axis.


def deletions(
    each: Deletions, several: RandomDeletions, path: Path, *, title: str
) -> pathlib.Path:
    """Draws errors without one block and without several, as Veit et al. 2016 do.

    Above as fig. 3, with the first block of each stage hatched, unless such blocks are
    skipped; below as fig. 5a.

    Args:
        each: What `analysis.delete_each` returns.
        several: What `analysis.delete_random` returns.
        path: File to write, as PNG, PDF or SVG by its suffix.
        title: Said above the figure.

    Returns:
        `pathlib.Path` of the file.
    """
    with figures.stacked(2, 5.4, path, title) as ((one, many), _):
        numbers = np.arange(1, len(each.names) + 1)
        first = (np.diff(each.stages, prepend=0) > 0) & (not each.skipped)
        for own, color, hatch, label in (
            (~first, figures.BLUE, "", "block"),
            (first, figures.VERMILLION, "////", "first block of its stage"),
        ):
            if not own.any():
                continue
            one.bar(
                numbers[own], each.error[own], width=0.7, color=color, hatch=hatch,
                edgecolor="white", label=label,
            )  # fmt: skip
        one.set(ylabel="top-1 error, %")
        _name_blocks(one, each.names)
        figures.separate_stages(one, each.stages)
        places = np.repeat(several.counts, several.error.shape[1])
        many.plot(
            places,
            several.error.ravel(),
            color=figures.BLUE,
            label="a draw",
            **figures.HOLLOW,
        )
        many.plot(
            several.counts, several.error.mean(axis=1), color=figures.BLUE, label="mean"
        )
        many.set(xlabel="number of blocks deleted at random", ylabel="top-1 error, %")
        figures.whole_numbers(many)
        for axis in (one, many):
            _baseline(axis, each.whole_error, "whole network")
            highest = max(each.error.max(), several.error.max(), each.whole_error)
            axis.set(ylim=(0, 1.25 * highest or 1))
            axis.legend(
                loc="upper center", ncols=3, fontsize="small", edgecolor="none",
                columnspacing=1.2, handlelength=1.6,
            )  # fmt: skip
    return pathlib.Path(path)


def permutations(found: Permutations, path: Path, *, title: str) -> pathlib.Path:
    """Draws errors against the rank correlation of the order, as Veit et al., fig. 5b.

    Args:
        found: What `analysis.permute` returns.
        path: As of `deletions`.
        title: As of `deletions`.

    Returns:
        `pathlib.Path` of the file.
    """
    with figures.stacked(1, 3.4, path, title) as ((axis,), _):
        styles = zip(found.swaps, itertools.cycle("os^Dv"), strict=False)
        for row, (swaps, marker) in enumerate(styles):
            label = "1 swap" if swaps == 1 else f"{swaps} swaps"
            axis.plot(
                found.kendall_tau[row], found.error[row], linestyle="none",
                marker=marker, markersize=5, markerfacecolor="white", label=label,
                color=figures.COLORS[row % 5],
            )  # fmt: skip
        _baseline(axis, found.whole_error, "own order")
        lowest = float(found.kendall_tau.min())
        margin = 0.05 * (1 - lowest) or 0.05
        highest = max(found.error.max(), found.whole_error)
        axis.set(
            xlabel="Kendall's τ of the order of blocks (1: their own)",
            ylabel="top-1 error, %",
            xlim=(1 + margin, lowest - margin),
            ylim=(0, 1.1 * highest or 1),
        )
        axis.legend(fontsize="small", edgecolor="none", ncols=2)
    return pathlib.Path(path)


def path_gradients(found: PathGradients, path: Path, *, title: str) -> pathlib.Path:
    """Draws path lengths, gradients by one path and by all, as Veit et al., fig. 6.

    The shortest range of lengths that has 95 % of the gradient is hatched.

    Args:
        found: What `analysis.gradient_by_path` returns.
        path: As of `deletions`.
        title: As of `deletions`.

    Returns:
        `pathlib.Path` of the file.
    """
    with figures.stacked(3, 6.0, path, title) as ((lengths, single, together), _):
        share = {"width": 0.7, "edgecolor": "white"}
        lengths.bar(found.lengths, 100 * found.frequency, color=figures.GREY, **share)
        lengths.set(ylabel="of all paths, %")
        some = found.norm > 0
        low = np.minimum(found.deviation, 0.99 * found.norm)  # Above 0, for logarithms.
        single.errorbar(
            found.lengths[some], found.norm[some],
            yerr=(low[some], found.deviation[some]),
            color=figures.BLUE, linewidth=1.3, elinewidth=1, capsize=2, **figures.POINT,
        )  # fmt: skip
        figures.logarithmic(single)
        single.set(ylabel="gradient by one path")
        first, last = found.covering(0.95)
        inside = (first <= found.lengths) & (found.lengths <= last)
        for own, color, hatch, label in (
            (inside, figures.VERMILLION, "////", f"95 %: {first} to {last} blocks"),
            (~inside, figures.BLUE, "", None),
        ):
            together.bar(
                found.lengths[own], 100 * found.share[own], color=color, hatch=hatch,
                label=label, **share,
            )  # fmt: skip
        together.set(ylabel="of the gradient, %")
        together.legend(fontsize="small", edgecolor="none")
        for axis in (lengths, single, together):
            figures.whole_numbers(axis)
            axis.set(xlim=(-0.6, found.lengths[-1] + 0.6))
        together.set(xlabel="blocks that a path goes through")
    return pathlib.Path(path)


def _name_blocks(axis: Any, names: Sequence[str]) -> None:
    """Names blocks as ours are, by stage and number, where there is room; else counts."""
    found = [re.search(r"stage(\d+)_block(\d+)", name) for name in names]
    if len(names) <= MOST_NAMED and all(found):
        labels = [f"{one[1]}.{one[2]}" for one in found if one]
        axis.set_xticks(range(1, len(names) + 1), labels)
        axis.set_xlabel("block that is deleted (stage.block)")
    else:
        figures.whole_numbers(axis)
        axis.set_xlabel("block that is deleted")


def _baseline(axis: Any, error: float, name: str) -> None:
    axis.axhline(
        error, color="black", linewidth=1, linestyle=":", label=f"{name}: {error:.1f} %"
    )
