"""The facts of one run for a report: what is in its folder, and what is soon computed."""

from __future__ import annotations

import os
import pathlib
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from keras_resnet.data.listing import as_text
from keras_resnet.report.facts import Measured, Missing, RunFacts
from keras_resnet.runs import report_images
from keras_resnet.runs.analyses import ANALYSES
from keras_resnet.runs.analyze import analyze
from keras_resnet.runs.evaluate import evaluate_and_keep
from keras_resnet.runs.measure import SINGLE
from keras_resnet.runs.predictions import Predictions, kept_predictions
from keras_resnet.runs.report_files import analysis_facts, own_data
from keras_resnet.runs.report_inputs import Opened, opened
from keras_resnet.runs.report_numbers import chosen, measured
from keras_resnet.runs.subjects import AnalysisOptions

PREDICTED = "Confusion matrix, worst mistakes and calibration"
MENDED = "Temperature"  # Of calibration.
NAMED = ("lesions", "landscape")  # Analyses that have sections of their own.

Kept: TypeAlias = tuple[Mapping[str, Any], Predictions]


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What a report is made with: see `runs.report.report`.

    Attributes:
        data: Of what is reported on.
        data_dir: Where TensorFlow Datasets keeps its data.
        split: Name of the split, or `None`.
        images: Whether images are shown.
        seconds: That may be spent on what is missing, for each run.
        thumbnails: Number of them at most, for each run.
        progress: Called with what is done next.
    """

    data: str | os.PathLike[str] | None
    data_dir: str | os.PathLike[str] | None
    split: str | None
    images: bool
    seconds: float
    thumbnails: int
    progress: Callable[[str], object]


@dataclass(frozen=True, kw_only=True, eq=False)
class Making:
    """The facts of a run while they are gathered.

    Attributes:
        folder: The run's.
        name: What it is called in the report.
        asked: What was asked for.
        facts: Fields of `RunFacts` so far, by their names.
        missing: What isn't there so far.
        opened: Network and images; `None` where they can't be had, or aren't needed.
    """

    folder: pathlib.Path
    name: str
    asked: Asked
    facts: dict[str, Any]
    missing: list[Missing] = field(default_factory=list)
    opened: Opened | None = None

    def lacks(self, what: str, why: str, *commands: Sequence[str]) -> None:
        """Notes that something is missing.

        Args:
            what: A noun.
            why: A sentence.
            *commands: The words of each command that makes it, without the run's folder,
                which comes after the first word, and without the data.
        """
        options = []
        for name in ("data", "data_dir"):
            value = getattr(self.asked, name)
            if name == "data" and value is None and not own_data(self.facts):
                value = "FOLDER"  # A converted network has no data of its own.
            if value is not None:
                options += [f"--{name.replace('_', '-')}", as_text(value)]
        folder = as_text(self.folder)
        lines = [
            shlex.join(["keras-resnet", first, folder, *others, *options])
            for first, *others in commands
        ]
        command = "\n".join(lines) or None
        self.missing.append(Missing(what=what, why=why, command=command))


def facts_of(
    folder: pathlib.Path, name: str, read: Mapping[str, Any], asked: Asked
) -> RunFacts:
    """Gathers what a report tells of a run.

    Args:
        folder: The run's.
        name: What the run is called in the report.
        read: What `report_files.read_facts` gives of the folder.
        asked: What was asked for.

    Raises:
        OSError, ValueError, ImportError: If other data was asked for that can't be had.
    """
    making = Making(folder=folder, name=name, asked=asked, facts=dict(read))
    # Other data are known by what they hold: results of which are meant.
    if asked.images or asked.seconds > 0 or asked.data is not None:
        asked.progress(f"Reading {name} and its data")
        making = _with_opened(making)
    kept, why = _stored(making)
    kept = kept or _computed(making, why)
    if kept is not None:
        found = making.facts["measured"] = measured(*kept, _validation(making, kept[0]))
        _add_images(making, found, kept[1])
    _add_analyses(making)
    return RunFacts(
        name=name,
        classes=read["record"]["classes"],
        missing=making.missing,
        **making.facts,
    )


def _with_opened(making: Making) -> Making:
    """The same with the network and the images, if they can be had.

    Raises:
        OSError, ValueError, ImportError: If other images were asked for that can't be had:
            a report without them would show those of before.
    """
    asked = making.asked
    try:
        found = opened(
            making.folder,
            asked.data,
            asked.data_dir,
            asked.split,
            seconds=asked.seconds,
        )
    except (OSError, ValueError, ImportError) as error:
        if asked.data is not None:
            raise
        why = f"They, and all that is computed of them, are left out: {error}"
        making.lacks("Images", why)
        return making
    return Making(**{**vars(making), "opened": found})


def _stored(making: Making) -> tuple[Kept | None, str]:
    """The result to report on and its predictions, as of `_with_predictions`."""
    facts, found = making.facts, making.opened
    if found is not None:
        result = chosen(facts["results"], found.splits.sha256, found.split)
    else:
        own, split = own_data(facts).get("sha256"), making.asked.split
        # Else of images that lie elsewhere.
        result = chosen(facts["results"], own, split) or chosen(
            facts["results"], None, split
        )
    return _with_predictions(making, result)


def _with_predictions(
    making: Making, result: Mapping[str, Any] | None
) -> tuple[Kept | None, str]:
    """A result with its predictions; without these, a sentence on why not."""
    unkept = "No predictions are kept."
    if result is None:
        return None, unkept
    classes = len(making.facts["record"]["classes"])
    try:
        return (result, kept_predictions(making.folder, result, classes)), ""
    except FileNotFoundError:
        return None, unkept
    except ValueError as error:  # They can be made again, as nothing else of a run can.
        return None, str(error)


def _computed(
    making: Making, why: str, split: str | None = None, what: str = PREDICTED
) -> Kept | None:
    """Measures a split, if there is time; else tells by which command.

    Args:
        making: The facts so far; what is measured becomes one of the results.
        why: A sentence on why it isn't there.
        split: Its name; by default that of the images that are reported on.
        what: Is missing without.
    """
    found, asked = making.opened, making.asked
    split = split or (asked.split if found is None else found.split)
    option = ["--split", split] if split == "validation" else []
    if found is None or asked.seconds == 0:
        making.lacks(what, why, ["evaluate", *option])
        return None
    size = found.sizes[split]
    if not found.allows(size):
        why = f"It takes about {found.minutes(size)} here."
        making.lacks(what, why, ["evaluate", *option])
        return None
    asked.progress(f"Measuring {making.name} on {size:,} {split} images")
    try:
        result, predictions = evaluate_and_keep(
            found.run,
            data=asked.data,
            data_dir=asked.data_dir,
            # Of another folder no split is named.
            split=split if split == "validation" else asked.split,
            protocol=SINGLE,
            batch_size=256,
            seen=None,
        )
    except ValueError as error:  # As of NaN in the weights.
        making.lacks(what, str(error))
        return None
    keys = ("data", "sha256", "split", "protocol")
    others = [
        one
        for one in making.facts["results"]
        if any(one[key] != result[key] for key in keys)
    ]
    making.facts["results"] = [*others, result]
    return result, predictions


def _validation(making: Making, result: Mapping[str, Any]) -> Predictions | None:
    """Predictions of the run's validation images, unless these are reported on."""
    own = own_data(making.facts)
    if result["split"] == "validation" or "validation" not in own.get("splits", {}):
        return None
    protocol = result["protocol"]
    alike = [one for one in making.facts["results"] if one["protocol"] == protocol]
    known = chosen(alike, own["sha256"], "validation")
    kept, why = _with_predictions(making, known)
    found = making.opened
    if kept is None and protocol == SINGLE:
        if found is not None and found.splits.sha256 != own["sha256"]:
            return None
        kept = _computed(making, why, "validation", MENDED)
    return kept and kept[1]


def _add_images(making: Making, found: Measured, predictions: Predictions) -> None:
    """Adds what the cells of the matrix show, and the worst mistakes' pictures."""
    facts, asked, source = making.facts, making.asked, making.opened
    facts["cells"] = report_images.cells_to_show(found, asked.thumbnails)
    if not asked.images or source is None:
        return
    where = source.positions_of(predictions)
    if where is None:
        why = "The images that were measured aren't those that are there now."
        making.lacks("Images", why, ["evaluate"])
        return
    asked.progress(f"Reading images of {making.name}")
    shown = [one for cell in facts["cells"].values() for one in cell]
    run, examples = source.run, source.examples
    facts["thumbnails"] = report_images.thumbnails(run, examples, shown, where)
    facts["worst"] = report_images.worst(run, examples, found, where)


def _add_analyses(making: Making) -> None:
    """Computes the lesions, if there is time; names the commands of the others."""
    found = making.facts["analyses"] = dict(making.facts["analyses"])
    if "lesions" not in found:
        _add_lesions(making)
    if "landscape" not in found:
        _lacks_analysis(making, "landscape", "It takes some minutes.")
    others = [name for name in ANALYSES if name not in (*found, *NAMED)]
    if others:
        commands = [("analyze", name) for name in others]
        making.lacks("More analyses", "They haven't been made.", *commands)


def _add_lesions(making: Making) -> None:
    source = making.opened
    if source is None or not source.allows_lesions(ANALYSES["lesions"].images):
        _lacks_analysis(making, "lesions", "They haven't been measured.")
        return
    making.asked.progress(f"Analyzing {making.name}: lesions")
    options = AnalysisOptions(data=making.asked.data, data_dir=making.asked.data_dir)
    try:
        record = analyze(source.run, "lesions", options)
    except ValueError as error:
        making.lacks("Lesions", str(error))
        return
    making.facts["analyses"]["lesions"] = analysis_facts(record, making.folder)


def _lacks_analysis(making: Making, name: str, why: str) -> None:
    what = f"{name.capitalize()}: {ANALYSES[name].about}"
    making.lacks(what, why, ("analyze", name))
