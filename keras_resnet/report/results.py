"""The results of runs by protocol, beside their recipes' targets and each other's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from keras_resnet.config.protocols import NOISE, PROTOCOLS
from keras_resnet.config.words import UNKNOWN
from keras_resnet.report.facts import Facts, Pair, RunFacts
from keras_resnet.report.markup import count, name, number, percent, table, text

SPLITS = ("train", "validation", "test")


def headline(facts: Facts) -> str:
    """What each run comes to, in a sentence or two."""
    return "".join(
        f'<p class="lead">{_sentence(i, run, several=len(facts.runs) > 1)}</p>'
        for i, run in enumerate(facts.runs)
    )


def _sentence(position: int, run: RunFacts, *, several: bool) -> str:
    who = f"<strong>{name(run.name)}</strong>: " if several else ""
    if run.measured is None:
        split = "validation" if run.record.get("test") is None else "test"
        found = run.record.get(split)
        if found is None:
            return f"{who}not measured yet."
        at = f"{position}/record.json#/{split}"
        return (
            f"{who}<strong>{percent(found['top1_error'], f'{at}/top1_error')}</strong> "
            f"top-1 error on {count(found['n'], f'{at}/n')} {split} images"
        )
    result = run.measured.result
    at = place(position, run, result)
    said = (
        f"{who}<strong>{percent(result['top1_error'], f'{at}/top1_error')}</strong> top-1 "
        f"error on {count(result['n'], f'{at}/n')} {_split(result)} images of "
        f"{name(result['data'])}"
    )
    if result.get("top1_interval"):
        said += f", {interval(result, at)} in 95\N{NO-BREAK SPACE}% of resamples"
    return f"{said}. {_beside_target(run, result, position)}"


def _beside_target(run: RunFacts, result: Mapping[str, Any], position: int) -> str:
    """How a result lies to the recipe's target, where both are measured alike."""
    target = run.target
    if target is None or not result.get("top1_interval"):
        return ""
    alike = target["protocol"] == result["protocol"] and result["split"] == "test"
    if not alike or result["sha256"] != run.record.get("dataset", {}).get("sha256"):
        return ""
    low, high = result["top1_interval"]
    lies = (
        "lies within it"
        if low <= target["error"] <= high
        else f"is {'lower' if target['error'] < low else 'higher'} than that"
    )
    error = percent(target["error"], f"{position}/record.json#/target")
    return f"The recipe's target, {error}, {lies}."


def _split(result: Mapping[str, Any]) -> str:
    return "" if result["split"] == "all" else text(result["split"])


def place(position: int, run: RunFacts, result: Mapping[str, Any]) -> str:
    """Where a result stands: the run's position, the file, and the key in it."""
    return f"{position}/evaluation.json#/results/{list(run.results).index(result)}"


def interval(result: Mapping[str, Any], at: str) -> str:
    """The interval of a result's top-1 error."""
    low, high = result.get("top1_interval") or (None, None)
    if low is None:
        return UNKNOWN
    return (
        f"{number(low, '.2f', f'{at}/top1_interval/0')} to "
        f"{percent(high, f'{at}/top1_interval/1')}"
    )


def results(facts: Facts) -> str:
    """All results of all runs in one table."""
    several = len(facts.runs) > 1
    rows = []
    for i, run in enumerate(facts.runs):
        rows += [
            ([name(run.name)] if several else []) + row
            for row in _measured_rows(i, run) + _recorded_rows(i, run) + _target(i, run)
        ]
    header = [
        *(["<span>run</span>"] if several else []),
        "<span>data</span>",
        "<span>protocol</span>",
        "top-1 error",
        "95\N{NO-BREAK SPACE}% interval",
        "top-5 error",
        "loss",
        "calibration error",
        "images",
    ]
    notes = (
        "<p>Errors are shares of images. Intervals are those of 95\N{NO-BREAK SPACE}% of "
        "bootstrap resamples of the images; the calibration error is that of 15 bins. "
        "Results of other data, splits or protocols can't be compared.</p>"
    )
    caption = "Results by data, split and protocol"
    return table(caption, header, rows, kind="numbers") + notes


def _measured_rows(position: int, run: RunFacts) -> list[list[str]]:
    rows = []
    for result in run.results:
        at = place(position, run, result)
        ece = result.get("ece")
        rows.append(
            [
                f"<span>{name(result['data'])} {text(result['split'])}</span>",
                _protocol(result["protocol"]),
                percent(result["top1_error"], f"{at}/top1_error"),
                interval(result, at),
                percent(result.get("top5_error"), f"{at}/top5_error"),
                number(result.get("loss"), ".4f", f"{at}/loss"),
                number(ece, ".4f", f"{at}/ece"),
                count(result["n"], f"{at}/n"),
            ]
        )
    return rows


def _protocol(key: str) -> str:
    row = PROTOCOLS.get(key)
    title = f' title="{text(row.source)}"' if row else ""
    # Narrow pages break it after its parts.
    parts = text(key).replace("_", "_<wbr>")
    return f"<span{title}>{parts}</span>"


def _recorded_rows(position: int, run: RunFacts) -> list[list[str]]:
    """What the record tells of splits that haven't been measured since."""
    data = run.record.get("dataset", {})
    since = {
        one["split"]
        for one in run.results
        if one["sha256"] == data.get("sha256") and one["protocol"] == "single_crop"
    }
    rows = []
    for split in SPLITS:
        found, at = run.record.get(split), f"{position}/record.json#/{split}"
        if found is None or split in since:
            continue
        how = "while training" if split == "train" else "at the end of training"
        rows.append(
            [
                f"<span>{name(data.get('name'))} {split}</span>",
                f"<span>{how}</span>",
                percent(found["top1_error"], f"{at}/top1_error"),
                UNKNOWN,
                percent(found["top5_error"], f"{at}/top5_error"),
                number(found["loss"], ".4f", f"{at}/loss"),
                UNKNOWN,
                count(found["n"], f"{at}/n"),
            ]
        )
    return rows


def _target(position: int, run: RunFacts) -> list[list[str]]:
    if run.target is None:
        return []
    where = f" ({text(run.target['where'])})" if run.target.get("where") else ""
    error = percent(run.target["error"], f"{position}/record.json#/target")
    protocol = run.target.get("protocol")
    how = _protocol(protocol) if protocol else f"<span>{UNKNOWN}</span>"
    return [[f"<span>target of the recipe{where}</span>", how, error, *[UNKNOWN] * 5]]


def comparison(facts: Facts) -> str:
    """Each pair of runs that was measured on the same images, and what runs differ in."""
    if len(facts.runs) < 2:
        return ""
    if not facts.pairs:
        return (
            "<p>No two runs have predictions for the same images by the same protocol: "
            "whether their difference is more than noise can't be tested.</p>"
        ) + _differing(facts.runs)
    rows = [_pair_row(facts, i, pair) for i, pair in enumerate(facts.pairs)]
    header = ("runs", "first alone right", "second alone right", "p", "the difference")
    note = ""
    if len(rows) > 1:
        note = (
            f" Of {len(rows)} tests, each counts as more than noise where p is below "
            f"{_threshold(facts):.2g}."
        )
    return (
        table("McNemar's paired test on the same images", header, rows)
        + "<p>The test looks at images that only one of two runs has right; p is the "
        "probability of a difference at least as large between runs that are equally "
        f"good.{note} It tells nothing of other seeds of the same recipes.</p>"
        + _differing(facts.runs)
    )


def _threshold(facts: Facts) -> float:
    """Of p: of several tests, a difference counts where it would if all were one."""
    return NOISE / len(facts.pairs)


def _pair_row(facts: Facts, position: int, pair: Pair) -> list[str]:
    first, second = facts.runs[pair.first], facts.runs[pair.second]
    at, test = f"pairs#/{position}", pair.test
    noise = test["p_value"] > _threshold(facts)
    verdict = "is within noise" if noise else "is more than noise"
    return [
        f"{name(first.name)} and {name(second.name)}",
        count(test["first_alone"], f"{at}/first_alone"),
        count(test["second_alone"], f"{at}/second_alone"),
        number(test["p_value"], ".2g", f"{at}/p_value"),
        verdict if noise else f"<strong>{verdict}</strong>",
    ]


def _differing(runs: Sequence[RunFacts]) -> str:
    """A table of what isn't the same in all runs: network, seed, recipe, data."""
    told = [dict(_told(run)) for run in runs]
    keys = dict.fromkeys(key for one in told for key in one)
    rows = [
        [text(key), *(text(one.get(key, UNKNOWN)) for one in told)]
        for key in keys
        if len({one.get(key) for one in told}) > 1
    ]
    if not rows:
        return "<p>The runs have the same network, recipe, data and seed.</p>"
    header = ["", *(name(run.name) for run in runs)]
    return table("What the runs differ in", header, rows)


def _told(run: RunFacts) -> list[tuple[str, str]]:
    record = run.record
    data = record.get("dataset", {})
    return [
        ("network", str(record.get("network"))),
        (
            "parameters",
            f"{record['parameters']:,}" if "parameters" in record else UNKNOWN,
        ),
        ("data", f"{data.get('name', UNKNOWN)} {data.get('sha256', '')[:8]}"),
        ("seed", str(record.get("seed", UNKNOWN))),
        *((key, value) for key, value in run.recipe if key != "deviation"),
    ]
