"""Writes the tables of README.md, docs/ and saved_models/README.md from their sources.

    python -m benchmarks.tables

The sources are results/*.json (`*_tables.py`, `ledger_page.py`), the records in
saved_models/ and the rows of networks and recipes (`catalogue.py`).
`tests/test_readme.py` checks that the files are current.
"""

import functools
import pathlib
import re

from benchmarks import (
    accuracy_tables,
    catalogue,
    detection_tables,
    guide_examples,
    ledger_page,
    many_images_tables,
    speed_tables,
)
from keras_resnet.runs.record import read_record
from keras_resnet.runs.tables import table as table_of

REPOSITORY = pathlib.Path(__file__).parents[1]


def examples(*names):
    """Parts of a page: commands with their output."""
    return {name: functools.partial(guide_examples.block, name) for name in names}


# The generated parts of each page, by the names in its `<!-- begin NAME -->`.
PARTS = {
    "README.md": {
        "results": accuracy_tables.results,
        "families": catalogue.family_table,
    },
    "docs/benchmarks.md": {
        "quickstart": accuracy_tables.precisions,
        "runs": accuracy_tables.runs,
        "figure 6": accuracy_tables.figure6,
        "benchmarks": speed_tables.benchmarks,
        "serving": speed_tables.serving,
        "shards": many_images_tables.shards,
        "many images": many_images_tables.predicted,
        "landscape": speed_tables.landscape,
        "blood cells": detection_tables.bccd,
        "detection": detection_tables.detection,
        "gpu": speed_tables.gpu,
        "cifar on a gpu": accuracy_tables.cifar_gpu,
    },
    "docs/guides/evaluation.md": {
        "protocols": accuracy_tables.protocols,
        "ensemble": accuracy_tables.ensemble,
        **examples("evaluate", "several"),
    },
    "docs/guides/analysis.md": examples("lesions", "paths"),
    "docs/guides/report.md": examples("report"),
    "docs/serving.md": examples("int8"),
    "docs/networks.md": {"networks": catalogue.networks},
    "docs/recipes.md": {
        "recipes": catalogue.recipes,
        "defaults": catalogue.defaults,
        "each recipe": catalogue.each_recipe,
        "detection recipes": catalogue.detection_recipes,
        "each detection recipe": catalogue.each_detection_recipe,
    },
    "docs/citing.md": {"papers": catalogue.papers},
    "docs/reference/detection.md": {"detectors": catalogue.detectors},
}


def renewed(text, parts):
    """A page with its generated parts renewed.

    Args:
        text: The page, which holds ``<!-- begin NAME -->`` and ``<!-- end NAME -->`` once
            for each part.
        parts: Functions that make the parts, by name.
    """
    for name, part in parts.items():
        marks = f"<!-- begin {name} -->", f"<!-- end {name} -->"
        # A function, since a string's backslashes would be read as groups.
        text, count = re.subn(
            f"{marks[0]}\n.*?{marks[1]}",
            lambda _, m=marks, p=part: f"{m[0]}\n{p()}{m[1]}",
            text,
            flags=re.DOTALL,
        )
        if count != 1:
            raise ValueError(f"The page must hold {marks[0]!r} and {marks[1]!r} once.")
    return text


def pages():
    """The generated files: their contents by path in the repository."""
    marked = {
        name: renewed((REPOSITORY / name).read_text(), parts)
        for name, parts in PARTS.items()
    }
    return {
        **marked,
        "docs/ledger.md": ledger_page.page(),
        "saved_models/README.md": saved_models(),
    }


def saved_models():
    """saved_models/README.md."""
    found = sorted((REPOSITORY / "saved_models").glob("*/record.json"))
    table = table_of(read_record(path) for path in found)
    return f"""# Trained networks

What `keras-resnet train` left, without checkpoints. Each folder holds `model.keras`
(`keras_resnet.load`, or plain Keras from 3.10 on), `saved_model/1` in the layout of
TensorFlow Serving, and the record of the run. This page is generated from the records
by `benchmarks/tables.py`.

{table}
Errors are on the bundled test images. The images are Fashion-MNIST's (MIT, Zalando SE).
"""


def main():
    """Renews the files."""
    for name, text in pages().items():
        (REPOSITORY / name).write_text(text)
    ledger_page.draw()


if __name__ == "__main__":
    main()
