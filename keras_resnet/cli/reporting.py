"""``keras-resnet report``: writes a report of runs, and says where it is."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from keras_resnet.cli.options import add_common, command


def add_report(subparsers: Any) -> None:
    """Adds ``report``."""
    sub = command(
        subparsers,
        "report",
        report,
        "Write a report of runs: one HTML file to send, which needs no server.",
        "keras-resnet report runs/quickstart_seed0\n"
        "  keras-resnet report runs/seed0 runs/seed1 --output seeds.html",
        frameworks=("keras", "tensorflow"),
    )
    sub.add_argument(
        "runs",
        nargs="+",
        metavar="RUN",
        help="folder of a run; several are shown side by side",
    )
    sub.add_argument(
        "--output",
        metavar="FILE",
        help=".html file to write (report.html in the run's folder or, of several runs, "
        "in the current one)",
    )
    sub.add_argument(
        "--data", help="folder of images or data set to report on (the run's own)"
    )
    sub.add_argument("--data-dir", help="where TensorFlow Datasets keeps its data")
    sub.add_argument(
        "--split",
        choices=("test", "validation"),
        help="split to report on (test, where there is one); not with another folder",
    )
    sub.add_argument(
        "--no-images", action="store_true", help="leave out the images of the data"
    )
    sub.add_argument(
        "--seconds",
        type=float,
        default=60.0,
        metavar="N",
        help="longest time to compute what is missing, for each run (60); 0 for nothing",
    )
    sub.add_argument(
        "--overwrite",
        action="store_true",
        help="replace the file also if it is no report",
    )
    add_common(sub)


def report(options: argparse.Namespace) -> None:
    """``keras-resnet report``: prints the name and the size of the file."""
    from keras_resnet.runs.report import report

    with progress("Reading the runs") as said:
        path = report(
            options.runs,
            options.output,
            data=options.data,
            data_dir=options.data_dir,
            split=options.split,
            images=not options.no_images,
            seconds=options.seconds,
            overwrite=options.overwrite,
            progress=said,
        )
    print(f"{path}: {path.stat().st_size / 1e6:.2f} MB")


@contextlib.contextmanager
def progress(first: str) -> Iterator[Callable[[str], object]]:
    """Shows on a terminal what is done.

    Args:
        first: What is done first, such as "Reading the runs".

    Yields:
        A function to be called with what is done next.
    """
    from rich.console import Console
    from rich.markup import escape

    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda said: None
        return
    with console.status(escape(first)) as status:
        yield lambda said: status.update(escape(said))
