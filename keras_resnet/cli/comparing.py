"""``keras-resnet compare``: its options, and the tables that it prints."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from typing import Any

from keras_resnet.cli.measuring import NOISE
from keras_resnet.cli.options import add_common, command
from keras_resnet.cli.steps import step
from keras_resnet.config.words import UNKNOWN, counted, duration, known, percent
from keras_resnet.files import local_path


def add_compare(subparsers: Any) -> None:
    """Adds ``compare``."""
    sub = command(
        subparsers,
        "compare",
        compare,
        "Set runs beside each other: curves, errors, targets, size and time.",
        "keras-resnet compare runs/resnet20_seed0 runs/plain20_seed0 --output comparison",
        frameworks=("keras", "tensorflow"),
    )
    sub.add_argument(
        "runs", nargs="+", metavar="RUN", help="folder of a run; at least two"
    )
    sub.add_argument(
        "--output",
        metavar="FOLDER",
        default="comparison",
        help="folder to write: comparison.json, comparison.csv, curves.png, curves.svg "
        "(comparison)",
    )
    sub.add_argument(
        "--overwrite", action="store_true", help="replace an earlier comparison there"
    )
    sub.add_argument(
        "--no-time",
        dest="time",
        action="store_false",
        help="don't measure how many images per second each network classifies here",
    )
    add_common(sub)


def compare(options: argparse.Namespace) -> None:
    """``keras-resnet compare``: prints tables of runs, and where the files lie."""
    from keras_resnet.runs.compare import compare
    from keras_resnet.runs.comparison_files import row_of

    with step(f"Comparing {counted(len(options.runs), 'run')}"):
        found = compare(
            options.runs,
            output=options.output,
            overwrite=options.overwrite,
            time=options.time,
        )
    rows = [row_of(run) for run in found["runs"]]
    for lines in (networks(rows), errors(rows), costs(rows)):
        print("\n".join(lines), end="\n\n")
    if options.time:
        print(_measured_here(found))
    print("\n".join(differences(found)))
    folder = local_path(options.output)
    print(", ".join(str(path) for path in sorted(folder.iterdir())))


def networks(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """A table of the runs' networks and data."""
    header = (
        "run", "network", "depth", "order", "shortcuts", "blocks", "parameters",
        "multiply-adds", "trained on", "updates",
    )  # fmt: skip
    return columns(
        header,
        [
            (
                row["run"],
                row["network"],
                known(row["depth"], "d"),
                known(row["order"]),
                # A plain network has none, where that of an unknown one isn't known.
                known(row["shortcut"] or (row["order"] and "none")),
                known(row["blocks"]),
                f"{row['parameters']:,}",
                UNKNOWN
                if row["multiply_adds"] is None
                else f"{row['multiply_adds'] / 1e6:,.1f} M",
                _data(row),
                known(row["updates"], ",d"),
            )
            for row in rows
        ],
    )


def _data(row: Mapping[str, Any]) -> str:
    """The data's name with the beginning of its fingerprint: two may have one name."""
    return UNKNOWN if row["data"] is None else f"{row['data']} ({row['sha256'][:6]})"


def errors(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """A table of the runs' errors beside those that their recipes' sources report."""
    header = (
        "run", "top-1 error", "95 % interval", "protocol", "images", "best", "by",
        "target", "protocol",
    )  # fmt: skip
    lines = columns(
        header,
        [
            (
                row["run"],
                percent(row["error"]),
                UNKNOWN
                if row["error"] is None
                else f"{row['error_low']:.2f} to {row['error_high']:.2f} %",
                known(row["protocol"]),
                UNKNOWN
                if row["images"] is None
                else f"{row['images']:,} {row['split']}",
                percent(row["best_error"]),
                known(row["best_protocol"]),
                percent(row["target"]),
                known(row["target_protocol"]),
            )
            for row in rows
        ],
    )
    told = {row["target_where"]: row["target"] for row in rows if row["target_where"]}
    lines += [f"target {error:g} %: {where}" for where, error in told.items()]
    measured = {row["measured_sha256"]: row for row in rows if row["measured_sha256"]}
    if len(measured) > 1:
        names = [
            f"{one['measured_on']} ({known[:6]})" for known, one in measured.items()
        ]
        lines.append(
            f"The errors are those on different data, {', '.join(names)}: they don't "
            "compare."
        )
    return lines


def costs(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """A table of the time that training took, and that images take here."""
    header = ("run", "training", "images/s", "on", "images/s here")
    return columns(
        header,
        [
            (
                row["run"],
                UNKNOWN if row["seconds"] is None else duration(row["seconds"]),
                known(row["images_per_second"], ",.0f"),
                known(row["trained_on"]),
                known(row["forward_images_per_second"], ",.0f"),
            )
            for row in rows
        ],
    )


def _measured_here(found: Mapping[str, Any]) -> str:
    hardware = found["hardware"]
    batch = next(
        (run["forward"]["batch"] for run in found["runs"] if run["forward"]), 0
    )
    return (
        f"Here: {hardware['cores']} cores of {hardware['cpu']}, {found['backend']}; "
        f"batches of {batch} images, the networks in turn."
    )


def differences(found: Mapping[str, Any]) -> list[str]:
    """What McNemar's test says of each two runs with predictions of the same images.

    Of several tests, a difference counts where it would if all were one (Bonferroni).
    """
    tests = found["paired_tests"]
    if not tests:
        return [
            "No two runs have predictions of the same images, so there is no paired test: "
            "`keras-resnet evaluate RUN RUN` keeps them."
        ]
    lines = []
    for test in tests:
        noise = test["p_value"] > NOISE / len(tests)
        lines.append(
            f"{test['first']} alone is right on {test['first_alone']:,}, {test['second']} "
            f"alone on {test['second_alone']:,} of {test['images']:,} {test['split']} "
            f"images ({test['data']}, {test['protocol']}): the difference is "
            f"{'within' if noise else 'more than'} noise (p = {test['p_value']:.2g})."
        )
    threshold = f"p < {NOISE / len(tests):.2g}"
    if len(tests) > 1:
        threshold += f", since there are {len(tests)} tests"
    return [*lines, f"McNemar's test; more than noise is {threshold}."]


def columns(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a table, each column as wide as what is in it."""
    table = [header, *rows]
    widths = [max(len(row[place]) for row in table) for place in range(len(header))]
    return [
        "  ".join(
            text.ljust(width) for text, width in zip(row, widths, strict=True)
        ).rstrip()
        for row in table
    ]
