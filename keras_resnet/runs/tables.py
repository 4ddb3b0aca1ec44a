"""Makes Markdown tables of the records of runs."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from keras_resnet.config.words import UNKNOWN, duration, known
from keras_resnet.runs.record import is_detectors


def table(records: Iterable[Mapping[str, Any]]) -> str:
    """Makes a Markdown table of results, with a row for each recipe and circumstances.

    Runs of one recipe that differ in nothing but the seed make one row: mean test
    top-1 error with the sample standard deviation, mean time and speed.

    Args:
        records: As `record.read_record` returns them, of classifiers.

    Raises:
        ValueError: If two runs of a row have the same seed, which would make the
            result look surer than it is.
    """
    header = (
        "recipe", "network", "data set", "seeds", "test top-1 error, %",
        "target, %", "steps", "wall time", "images/s", "backend", "hardware",
    )  # fmt: skip
    groups = {}
    for record in records:
        groups.setdefault(_group(record), []).append(record)
    rows = [header, ("---",) * len(header)]
    rows += [_row(groups[key]) for key in sorted(groups)]
    return "".join(f"| {' | '.join(map(_cell, row))} |\n" for row in rows)


def _group(record):
    return (
        record["recipe"],
        json.dumps(_without_place(record["overrides"]), sort_keys=True),
        record["network"],
        record["dataset"]["name"],
        record["dataset"]["sha256"],
        record["backend"],
        record["precision"],
        record["xla"],
        len(record["devices"]),
        hardware_in(record),
    )


def _without_place(overrides):
    """What was asked for, but for the data: its fingerprint tells it, wherever it lay."""
    return {name: value for name, value in overrides.items() if name != "data"}


def _row(runs):
    runs = sorted(runs, key=lambda record: record["seed"])
    seeds = [record["seed"] for record in runs]
    first = runs[0]
    if len(set(seeds)) < len(seeds):
        raise ValueError(
            "The runs of a recipe must have different seeds. "
            f"Received: recipe={first['recipe']!r}, seeds={seeds}."
        )
    changes = ", ".join(f"{k}={v}" for k, v in sorted(first["overrides"].items()))
    seconds = statistics.mean(record["wall_seconds"] for record in runs)
    speed = statistics.mean(record["images_per_second"] for record in runs)
    steps = sorted({record["steps"] for record in runs})
    return (
        f"{first['recipe']} ({changes})" if changes else first["recipe"],
        first["network"],
        first["dataset"]["name"],
        len(seeds),
        _error(runs),
        known(first["target"], "g"),
        "–".join(f"{value:,}" for value in dict.fromkeys((steps[0], steps[-1]))),
        duration(seconds),
        f"{speed:,.0f}",
        _backend(first),
        hardware_in(first),
    )


def _backend(record):
    precision = record["precision"]
    parts = [
        record["backend"],
        *([precision] if precision != "float32" else []),
        *(["XLA"] if record["xla"] and record["backend"] != "jax" else []),
    ]
    return ", ".join(parts)


def _error(runs):
    errors = [run["test"]["top1_error"] for run in runs if run["test"] is not None]
    if len(errors) < len(runs):
        return UNKNOWN
    mean = f"{statistics.mean(errors):.2f}"
    return f"{mean} ± {statistics.stdev(errors):.2f}" if len(errors) > 1 else mean


def hardware_in(record: Mapping[str, Any]) -> str:
    """What a run was trained on, in a few words: its accelerators, else its processor."""
    hardware = record["hardware"]
    accelerators = hardware["accelerators"]
    if accelerators:
        kinds = dict.fromkeys(accelerators)
        return ", ".join(f"{accelerators.count(kind)} × {kind}" for kind in kinds)
    return f"{hardware['cores']} cores, {hardware['cpu']}"


def _cell(value):
    return str(value).replace("|", "\\|").replace("\n", " ")


def of_seeds(records: Sequence[Mapping[str, Any]]) -> str:
    """Mean and deviation, in one line, of runs that differ in nothing but the seed.

    Args:
        records: As of `table`.
    """
    split = "validation" if any(r["test"] is None for r in records) else "test"
    what, said = "top1_error", "top-1 error"
    if is_detectors(records[0]):
        what, said = "average_precision", "average precision"
    values = [record[split][what] for record in records]
    spread = f" ± {statistics.stdev(values):.2f}" if len(values) > 1 else ""
    seeds = ", ".join(str(record["seed"]) for record in records)
    return (
        f"{records[0]['recipe']}, seeds {seeds}: {split} {said} "
        f"{statistics.mean(values):.2f}{spread} % (mean ± standard deviation)"
    )
