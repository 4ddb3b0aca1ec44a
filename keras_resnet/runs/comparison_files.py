"""The files of a comparison of runs: JSON, CSV, and the learning curves."""

from __future__ import annotations

import csv
import pathlib
import warnings
from collections.abc import Mapping
from typing import Any

from keras_resnet.analysis import plots
from keras_resnet.files import replaced, write_json

SIGN = "comparison.json"  # What tells that a folder holds a comparison.
TABLE = "comparison.csv"
CURVES = ("curves.png", "curves.svg")
ONE_VALUE = (
    "run", "folder", "recipe", "seed", "network", "depth", "order", "shortcut", "data",
    "sha256", "updates", "parameters", "multiply_adds", "seconds", "images_per_second",
    "trained_on",
)  # fmt: skip


def write_comparison(
    folder: pathlib.Path,
    comparison: Mapping[str, Any],
    histories: Mapping[str, pathlib.Path],
) -> None:
    """Writes a comparison into a folder, which appears when it is complete.

    Curves that can't be drawn are a warning.

    Args:
        folder: Is replaced if it exists.
        comparison: As of `compare`.
        histories: The ``history.csv`` of each run that has one, by its name.
    """
    with replaced(folder, SIGN) as new:
        new.mkdir()
        write_json(new / SIGN, comparison)
        _write_table(new / TABLE, [row_of(run) for run in comparison["runs"]])
        for name in CURVES if histories else ():
            try:
                plots.learning_curves(histories, new / name, title="Learning curves")
            except Exception as error:  # Fonts, disks and matplotlib fail in many ways.
                warnings.warn(
                    f"{folder / name} can't be drawn ({type(error).__name__}: {error}).",
                    stacklevel=3,
                )


def row_of(run: Mapping[str, Any]) -> dict[str, Any]:
    """A run of a comparison in a row, of names and single values alone.

    Args:
        run: As of `compare.described`, with ``forward``.

    Returns:
        Its single values; ``image`` and ``blocks`` as text; ``error``, ``error_low``,
        ``error_high``, ``split``, ``protocol``, ``images``, ``measured_on`` and
        ``measured_sha256``, name and fingerprint of the data, measured by the target's
        protocol where that was measured, else by a single crop; ``best_error`` and
        ``best_protocol``, the lowest; ``target``, ``target_protocol`` and
        ``target_where``; ``forward_images_per_second``. `None` where
        something isn't known.
    """
    target, errors = run["target"] or {}, run["errors"]
    first = errors[0] if errors else {}
    low, high = first.get("top1_interval", (None, None))
    best = min(errors, key=lambda one: one["top1_error"], default={})
    return {
        **{name: run[name] for name in ONE_VALUE},
        "image": "x".join(
            "any" if side is None else str(side) for side in run["image"]
        ),
        "blocks": run["blocks"] and ", ".join(run["blocks"]),
        "error": first.get("top1_error"),
        "error_low": low,
        "error_high": high,
        "split": first.get("split"),
        "protocol": first.get("protocol"),
        "images": first.get("n"),
        "measured_on": first.get("data"),
        "measured_sha256": first.get("sha256"),
        "best_error": best.get("top1_error"),
        "best_protocol": best.get("protocol"),
        "target": target.get("error"),
        "target_protocol": target.get("protocol"),
        "target_where": target.get("where"),
        "forward_images_per_second": (run.get("forward") or {}).get(
            "images_per_second"
        ),
    }


def _write_table(path: pathlib.Path, rows: list[dict[str, Any]]) -> None:
    with open(
        path, "w", newline="", encoding="utf-8", errors="backslashreplace"
    ) as file:
        table = csv.DictWriter(file, list(rows[0]))
        table.writeheader()
        table.writerows(rows)
