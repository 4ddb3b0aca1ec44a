"""``keras-resnet analyze``: makes an analysis of a run, and says what it shows."""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Iterator
from dataclasses import fields
from typing import Any

from keras_resnet.cli.options import add_common, command
from keras_resnet.config.words import counted
from keras_resnet.runs.analyses import ANALYSES
from keras_resnet.runs.subjects import AnalysisOptions, Progress


def add_analyze(subparsers: Any) -> None:
    """Adds ``analyze``, whose defaults are those of `AnalysisOptions` and `ANALYSES`."""
    sub = command(
        subparsers,
        "analyze",
        analyze,
        "Measure what happens inside a run's network, and draw it.",
        "keras-resnet analyze runs/quickstart_seed0 lesions\n"
        "  keras-resnet analyze runs/resnet20 responses --beside runs/resnet56",
        frameworks=("keras", "tensorflow"),
    )
    sub.add_argument("run", metavar="RUN", help="folder of a run")
    sub.add_argument(
        "analysis",
        choices=tuple(ANALYSES),
        metavar="ANALYSIS",
        help=f"one of {', '.join(ANALYSES)}",
    )
    width = max(map(len, ANALYSES))
    rows = (f"  {name:{width}}  {row.about}" for name, row in ANALYSES.items())
    sub.description = "\n".join((f"{sub.description}\n", "analyses:", *rows))
    one = {"default": argparse.SUPPRESS}
    compare = ", ".join(name for name, row in ANALYSES.items() if row.compares)
    sub.add_argument(
        "--beside",
        action="append",
        metavar="RUN",
        help=f"another run to show beside, in analyses that compare ({compare}); can be "
        "repeated",
        **one,
    )
    sub.add_argument(
        "--data", help="folder of images or data set (the run's own)", **one
    )
    sub.add_argument(
        "--data-dir", help="where TensorFlow Datasets keeps its data", **one
    )
    sub.add_argument(
        "--split",
        choices=("train", "validation", "test"),
        help="split to draw images from (as the analysis has it); not with another folder",
        **one,
    )
    _add_numbers(sub)
    add_common(sub)


def _add_numbers(sub: argparse.ArgumentParser) -> None:
    """Adds how much is measured; what is not given is left to `AnalysisOptions`."""
    counts = ", ".join(f"{row.images} for {name}" for name, row in ANALYSES.items())
    numbers = {
        "images": f"images to draw ({counts})",
        "samples": "draws of each kind: of lesions, permutations (5), paths (10)",
        "seed": "seed of all draws and of initial weights (0)",
        "batch-size": "images computed at a time (128), where no gradients are",
        "points": "points of each axis of a landscape, an odd number (25)",
        "dimensions": "of a landscape: 2 for a surface, 1 for a line (2)",
    }
    for name, help_ in numbers.items():
        sub.add_argument(
            f"--{name}", type=int, metavar="N", help=help_, default=argparse.SUPPRESS
        )
    sub.add_argument(
        "--range",
        type=float,
        metavar="LENGTH",
        help="how far a landscape goes each way, in lengths of the filters (1.0)",
        default=argparse.SUPPRESS,
    )


def analyze(options: argparse.Namespace) -> None:
    """``keras-resnet analyze``: prints what an analysis shows, and where it is kept."""
    from keras_resnet.runs.analyze import analyze_and_keep

    names = {option.name for option in fields(AnalysisOptions)}
    given = {name: value for name, value in vars(options).items() if name in names}
    with progress(f"Analyzing {options.run}: {options.analysis}") as shown:
        record, files = analyze_and_keep(
            options.run, options.analysis, AnalysisOptions(**given), progress=shown
        )
    print(
        f"{record['run']}: {options.analysis} on {counted(record['images'], 'image')} of "
        f"{record['data']} ({record['split']}), {record['seconds']:.1f} s"
    )
    for line in ANALYSES[options.analysis].lines(record["results"]):
        print(line)
    if files:
        print(", ".join(map(str, files)))


@contextlib.contextmanager
def progress(what: str) -> Iterator[Progress]:
    """Shows on a terminal how much of a part of an analysis is done.

    Args:
        what: Is done, such as "Analyzing runs/quickstart_seed0: lesions".

    Yields:
        A function to be called with what is done, and how much it is in all.
    """
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda done, total: None
        return
    with Progress(
        TextColumn("{task.description}", markup=False),  # A folder may be named "[b]".
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        redirect_stdout=sys.stdout.isatty(),
    ) as shown:
        task = shown.add_task(what, total=None)

        def show(done: int, total: int) -> None:
            if done == 1:  # Of another part, whose steps take another time.
                shown.reset(task, total=total)
            shown.update(task, completed=done, total=total)

        yield show
