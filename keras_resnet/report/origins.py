"""Where a run comes from, and what a report of it lacks."""

from __future__ import annotations

from collections.abc import Sequence

from keras_resnet.config.words import UNKNOWN, counted, duration
from keras_resnet.report.facts import Facts, RunFacts
from keras_resnet.report.markup import count, details, name, number, table, text


def recipe(position: int, run: RunFacts) -> str:
    """The recipe's fields, what was asked for otherwise, and its deviations."""
    record = run.record
    if "recipe" not in record:
        return f"<p>A converted network, from {name(record.get('source'))}.</p>"
    asked = [(str(key), str(value)) for key, value in record["overrides"].items()]
    said = ", ".join(f"<code>{text(key)}={text(value)}</code>" for key, value in asked)
    changes = (
        f"<p>Options that changed it: {said}.</p>"
        if asked
        else "<p>No option changed it.</p>"
    )
    source = dict(run.recipe).get("source")
    deviations = record["deviations"]
    listed = "".join(f"<li>{text(one)}</li>" for one in deviations)
    differs = ""
    if listed:
        differs = f"<p>Known deviations from its source:</p><ul>{listed}</ul>"
    elif source:
        differs = "<p>No deviation from its source is known.</p>"
    fields = [
        [text(key), text(value)]
        for key, value in run.recipe
        if key not in ("deviation", "deviations")
    ]
    shown = (
        details(
            "Every field of the recipe", table("Recipe", ("field", "value"), fields)
        )
        if fields
        else "<p>The run's files don't hold the recipe's fields.</p>"
    )
    of = f", from {text(source)}" if source else ""
    return f"<p><strong>{name(record['recipe'])}</strong>{of}.</p>{changes}{differs}{shown}"


def provenance(position: int, run: RunFacts) -> str:
    """Seed, data, versions, hardware and time."""
    record, at = run.record, f"{position}/record.json#"
    rows = [["network", name(record.get("network"))]]
    if "parameters" in record:
        rows.append(["parameters", count(record["parameters"], f"{at}/parameters")])
    if "dataset" in record:
        rows += _trained(run, at)
    else:
        rows.append(["source", name(record.get("source"))])
        digest = record.get("sha256")
        rows += [["SHA-256", f"<code>{text(digest)}</code>"]] if digest else []
    return table("Where the run comes from", (), rows)


def _trained(run: RunFacts, at: str) -> list[list[str]]:
    record = run.record
    data = record["dataset"]
    skipped = data.get("skipped")
    sizes = ", ".join(
        f"{count(size, f'{at}/dataset/splits/{split}')} {text(split)}"
        for split, size in data["splits"].items()
    )
    commit = UNKNOWN
    if record["commit"]:
        changed = ", with changes" if record["dirty"] else ""
        commit = f"<code>{text(record['commit'])}</code>{changed}"
    hardware = record["hardware"]
    machine = f"{hardware['cores']} cores, {hardware['cpu']}"
    if hardware["memory_gib"]:
        machine += f", {hardware['memory_gib']:g} GiB"
    return [
        ["seed", count(record["seed"], f"{at}/seed")],
        ["data", f"{name(data['name'])}, version {text(data['version'])}: {sizes}"],
        ["fingerprint of the data", f"<code>{text(data['sha256'])}</code>"],
        # Earlier records don't say what was left out.
        *([["left out", counted(len(skipped), "image")]] if skipped else []),
        ["updates", count(record["steps"], f"{at}/steps")],
        [
            "time",
            f'<data value="{record["wall_seconds"]}" data-from="{at}/wall_seconds">'
            f"{duration(record['wall_seconds'])}</data>, "
            + number(
                record["images_per_second"],
                ",.0f",
                f"{at}/images_per_second",
                "images/s",
            ),
        ],
        ["hardware", text(machine)],
        ["devices", text(_several(record["devices"], hardware["accelerators"]))],
        ["backend", text(_computed(run))],
        [
            "versions",
            text(", ".join(f"{k} {v}" for k, v in record["versions"].items())),
        ],
        ["commit", commit],
    ]


def _several(devices: Sequence[str], accelerators: Sequence[str]) -> str:
    kinds = ", ".join(dict.fromkeys(accelerators))
    return ", ".join(devices) + (f" ({kinds})" if kinds else "")


def _computed(run: RunFacts) -> str:
    record = run.record
    parts = [record["backend"], record["precision"]]
    parts += ["XLA"] if record["xla"] else []
    if record["onednn"] is not None:
        parts.append("oneDNN" if record["onednn"] else "without oneDNN")
    return ", ".join(parts)


def missing(facts: Facts) -> str:
    """What the report doesn't show, and the commands that make it."""
    several = len(facts.runs) > 1
    items = []
    for run in facts.runs:
        for one in run.missing:
            of = f" of {name(run.name)}" if several else ""
            command = (
                f"<pre><code>{text(one.command)}</code></pre>" if one.command else ""
            )
            items.append(
                f"<li><strong>{text(one.what)}</strong>{of}. {text(one.why)}{command}</li>"
            )
    if not items:
        return ""
    again = (
        "<p>The report shows them when it is made again after the commands that are "
        "named.</p>"
        if any(one.command for run in facts.runs for one in run.missing)
        else ""
    )
    return f'<ul class="missing">{"".join(items)}</ul>{again}'
