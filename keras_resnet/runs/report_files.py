"""Reads what lies in a run's folder, for a report of it."""

from __future__ import annotations

import pathlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

from keras_resnet.config.recipe_files import described
from keras_resnet.files import read_json
from keras_resnet.report import inside
from keras_resnet.report.facts import AnalysisFacts, Picture, RunFacts
from keras_resnet.report.pixels import address
from keras_resnet.runs.analyses import ANALYSES
from keras_resnet.runs.analyze import FOLDER, PICTURES
from keras_resnet.runs.evaluate import read_evaluations
from keras_resnet.runs.from_record import (
    check_is_classifiers,
    recipe_of,
    record_of,
    target_of,
)
from keras_resnet.runs.pictures import rates
from keras_resnet.training.history import read_history

KEYS = ("run", "data", "split", "images", "seed", "batch_norm", "results")
DRAWN = {"lesions": inside.lesions, "landscape": inside.landscape}
MEDIA_TYPES = {"png": "image/png", "svg": "image/svg+xml"}


def read_facts(folder: pathlib.Path) -> dict[str, Any]:
    """Reads all of a run's folder but its predictions and its network.

    Args:
        folder: The run's, or that of a converted network.

    Returns:
        Fields of `report.facts.RunFacts`, by their names.

    Raises:
        FileNotFoundError: If there is no finished run.
        ValueError: If a file is damaged; it names the file.
    """
    record = record_of(folder)
    check_is_classifiers(record, folder)
    recipe = recipe_of(record, folder)
    history = folder / "history.csv"
    results = folder / "evaluation.json"
    return {
        "record": record,
        "recipe": [] if recipe is None else described(recipe),
        "target": target_of(record, recipe),
        "history": read_history(history) if history.exists() else [],
        "rates": None if recipe is None else rates(recipe),
        "results": read_evaluations(results) if results.exists() else [],
        "analyses": _analyses(folder / FOLDER),
    }


def _analyses(folder: pathlib.Path) -> dict[str, AnalysisFacts]:
    """The analyses in a folder, in the order of `ANALYSES`."""
    found = {}
    for name in ANALYSES:
        path = folder / f"{name}.json"
        if not path.exists():
            continue
        try:
            found[name] = analysis_facts(read_json(path), folder.parent)
            _check_drawn(name, found[name])
        except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
            raise ValueError(
                f"{path} must be as `keras-resnet analyze` writes it, and it isn't "
                f"({error!r}). Remove it, and analyze again."
            ) from error
    return found


def _check_drawn(name: str, found: AnalysisFacts) -> None:
    """Draws what the page draws itself: what it lacks is an error that names the file."""
    if name in DRAWN:
        DRAWN[name](0, RunFacts(name="", record={}, classes=(), analyses={name: found}))


def analysis_facts(record: Mapping[str, Any], folder: pathlib.Path) -> AnalysisFacts:
    """What a report tells of an analysis.

    Args:
        record: As `runs.analyze.analyze` returns it.
        folder: The run's.

    Raises:
        KeyError, TypeError: If the record isn't one.
    """
    name = record["analysis"]
    row = ANALYSES[name]
    paths = [folder / FOLDER / f"{name}.{one}" for one in PICTURES]
    return AnalysisFacts(
        record={key: record[key] for key in KEYS},
        lines=row.lines(record["results"]),
        picture=_picture(paths),
        about=row.about,
    )


def _picture(paths: Sequence[pathlib.Path]) -> Picture | None:
    """The smallest of the files that hold a picture."""
    there = [path for path in paths if path.exists()]
    if not there:
        return None
    path = min(there, key=lambda one: one.stat().st_size)
    contents = path.read_bytes()
    kind = path.suffix.removeprefix(".")
    if kind == "png":  # Its header has the two lengths at a fixed place.
        sides = (int.from_bytes(contents[i : i + 4], "big") for i in (16, 20))
    else:
        box = re.search(rb'viewBox="0 0 ([\d.]+) ([\d.]+)"', contents)
        # In points, of which three make four pixels.
        sides = (round(float(one) * 4 / 3) for one in (box.groups() if box else (1, 1)))
    width, height = sides
    return Picture(
        source=address(contents, MEDIA_TYPES[kind]), width=width, height=height
    )


def own_data(facts: Mapping[str, Any]) -> Mapping[str, Any]:
    """What the record tells of the data; nothing of a converted network."""
    return facts["record"].get("dataset", {})
