"""docs/ledger.md and its curves, from the records of the ledger's finished runs."""

import json
import pathlib

from benchmarks.catalogue import markdown
from benchmarks.circumstances import RESULTS
from benchmarks.ledger_rows import ROWS

DOCS = pathlib.Path(__file__).parents[1] / "docs"


def page():
    """docs/ledger.md: what the runs of the ledger came to."""
    lines = []
    for row in ROWS:
        path = RESULTS / "ledger" / f"{row.name}.json"
        first = f"`{row.name}`", row.published or "–"
        if not path.exists():
            lines.append((*first, "–", "–", row.compared_with, "waiting"))
            continue
        kept = json.loads(path.read_text())
        record = kept["record"]
        updates = record.get("updates") or record["steps"]
        hours = sum(stretch["seconds"] or 0 for stretch in kept["stretches"]) / 3600
        differs = " ".join([f"{row.compared_with}.", *record.get("deviations", ())])
        lines.append(
            (
                *first,
                f"{kept['test_error']:.2f}",
                f"{updates:,}",
                differs,
                f"[curve]({picture(row).relative_to(DOCS)}), "
                f"{hours:.1f} h in {len(kept['stretches'])} stretches, {kept['date']}",
            )
        )
    head = (
        "run",
        "published, %",
        "test error, %",
        "updates",
        "compared with, and what differs",
        "state",
    )
    return f"""# The ledger

Runs of the papers' recipes at their full length, or as far as two cores carry. They are
made in idle processor time by `python -m benchmarks.ledger` (its first lines say how) and
kept when they finish. This page is generated from the records in
`benchmarks/results/ledger/`.

Errors are of the final weights on the whole test split, which nothing was selected on.
CIFAR-10 here has been through JPEG, so an error beside a published one is no comparison;
what can be compared is the order of the networks, and other trainers on the same copy.
All runs are in float32. They are computed in stretches, each of which the record names
with its commit, versions, hardware and seconds.

{markdown(head, lines)}"""


def picture(row):
    """Where the curve of a row of the ledger is drawn."""
    return DOCS / "ledger" / f"{row.name}.png"


def draw():
    """Draws the curves that are missing."""
    from keras_resnet.analysis import plots
    from keras_resnet.training.history import read_history

    for row in ROWS:
        history = RESULTS / "ledger" / f"{row.name}.csv"
        if history.exists() and not picture(row).exists():
            picture(row).parent.mkdir(exist_ok=True)
            plots.training_curves(read_history(history), picture(row), title=row.name)
