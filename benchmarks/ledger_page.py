"""docs/ledger.md and its curves, from the records of the ledger's runs."""

import json
import pathlib

from benchmarks.catalogue import markdown
from benchmarks.circumstances import RESULTS
from benchmarks.ledger_rows import ROWS

DOCS = pathlib.Path(__file__).parents[1] / "docs"
FINISHED = RESULTS / "ledger"
UNFINISHED = FINISHED / "unfinished"


def page():
    """docs/ledger.md: what the runs of the ledger came to."""
    lines = [line(row) for row in ROWS]
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
made in idle processor time by `python -m benchmarks.ledger` (its first lines say how). Of
a run that was stopped, updates and curve are those of its last stop. This page is
generated from the records in `benchmarks/results/ledger/`.

Errors are of the final weights on the whole test split, which nothing was selected on.
CIFAR-10 here has been through JPEG, so an error beside a published one is no comparison;
what can be compared is the order of the networks, and other trainers on the same copy.
All runs are in float32. They are computed in stretches, each of which the record names
with its commit, versions, hardware and seconds.

{markdown(head, lines)}"""


def line(row):
    """The table's line for a row of the ledger."""
    first = f"`{row.name}`", row.published or "–"
    folder = folder_of(row)
    if folder is None:
        return (*first, "–", "–", row.compared_with, "waiting")
    kept = json.loads((folder / f"{row.name}.json").read_text())
    hours = sum(stretch["seconds"] or 0 for stretch in kept["stretches"]) / 3600
    count = len(kept["stretches"])
    stretches = "1 stretch" if count == 1 else f"{count} stretches"
    state = f"{hours:.1f} h in {stretches}, {kept['date']}"
    if history(row, folder).exists():
        state = f"[curve]({picture(row, folder).relative_to(DOCS)}), {state}"
    if folder == UNFINISHED:
        updates = f"{kept['updates']:,} of {kept['of']:,}"
        return (*first, "–", updates, row.compared_with, f"unfinished: {state}")
    record = kept["record"]
    updates = record.get("updates") or record["steps"]
    differs = " ".join([f"{row.compared_with}.", *record.get("deviations", ())])
    return (*first, f"{kept['test_error']:.2f}", f"{updates:,}", differs, state)


def folder_of(row):
    """Where record and history of a row lie, or `None` if there are none."""
    for folder in (FINISHED, UNFINISHED):
        if (folder / f"{row.name}.json").exists():
            return folder
    return None


def history(row, folder):
    """Where the history of a row lies."""
    return folder / f"{row.name}.csv"


def picture(row, folder):
    """Where the curve of a row is drawn whose record lies in a folder."""
    return DOCS / folder.relative_to(RESULTS) / f"{row.name}.png"


def draw():
    """Draws the curves of unfinished runs, and those of finished ones that are missing."""
    from keras_resnet.analysis import plots
    from keras_resnet.training.history import read_history

    for row in ROWS:
        folder = folder_of(row)
        if folder != UNFINISHED:
            picture(row, UNFINISHED).unlink(missing_ok=True)
        if folder is None or not history(row, folder).exists():
            continue
        path = picture(row, folder)
        if folder == UNFINISHED or not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            rows = read_history(history(row, folder))
            plots.training_curves(rows, path, title=row.name)
