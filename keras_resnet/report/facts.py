"""What a report is made of: the facts of each run, as `keras_resnet.runs` gathers them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass(frozen=True, kw_only=True)
class Missing:
    """Something that a report could show, and how to get it.

    Attributes:
        what: A noun, such as "Loss landscape".
        why: A sentence on why it isn't there.
        command: The commands that make it, one a line; `None` where none does.
    """

    what: str
    why: str
    command: str | None = None


@dataclass(frozen=True, kw_only=True)
class Picture:
    """An image in the page.

    Attributes:
        source: A ``data:`` address.
        width, height: In pixels.
    """

    source: str
    width: int
    height: int


@dataclass(frozen=True, kw_only=True, eq=False)
class Measured:
    """What one result's predictions say.

    Attributes:
        result: The result, as in ``evaluation.json``.
        names: Of the images, ``(n,)``.
        labels: Their classes, integers ``(n,)``.
        predicted: The classes that they are taken for, integers ``(n,)``.
        confidence: The probabilities of these, ``(n,)``.
        confusion: Numbers of images: true classes in rows, predicted ones in columns.
        reliability: As JSON, of `evaluation.Reliability`.
        worst: Positions of the most confident mistakes, the worst first.
        temperature: Fitted on validation images; `None` where there is none.
        fitted_on: Number of validation images that it was fitted on.
        mended: Calibration error after division by the temperature, from 0 to 1.
    """

    result: Mapping[str, Any]
    names: np.ndarray
    labels: np.ndarray
    predicted: np.ndarray
    confidence: np.ndarray
    confusion: np.ndarray
    reliability: Mapping[str, Any]
    worst: np.ndarray
    temperature: float | None = None
    fitted_on: int | None = None
    mended: float | None = None

    @property
    def correct(self) -> np.ndarray:
        """Whether each image is predicted rightly, ``(n,)``."""
        return self.predicted == self.labels


@dataclass(frozen=True, kw_only=True)
class AnalysisFacts:
    """One analysis of a run.

    Attributes:
        record: The contents of its JSON file.
        lines: What it shows, in sentences.
        picture: As ``analyze`` drew it; `None` where that failed.
        about: What it measures.
    """

    record: Mapping[str, Any]
    lines: Sequence[str]
    picture: Picture | None
    about: str


@dataclass(frozen=True, kw_only=True, eq=False)
class RunFacts:
    """All that a report tells of one run.

    Attributes:
        name: Of the run; no two runs of a report have the same.
        record: The contents of ``record.json``, or of a converted network's
            ``source.json``.
        classes: Names of the classes.
        recipe: Every field of the recipe, with its value as text.
        target: Error (``error``, percent), protocol (``protocol``) and source (``where``)
            that the recipe's source reports, or `None`.
        history: The rows of ``history.csv``; empty if there is none.
        rates: Numbers of updates with the learning rate; `None` where only the history
            knows it.
        results: All of ``evaluation.json``, oldest first.
        measured: Of the result that pictures are made of; `None` where there are no
            predictions.
        analyses: By their names.
        cells: Positions of the images to show, by true and predicted class.
        thumbnails: Small pictures, by the position of their image.
        worst: Of the most confident mistakes the image and its class activation map, by
            position.
        missing: What isn't there.
    """

    name: str
    record: Mapping[str, Any]
    classes: Sequence[str]
    recipe: Sequence[tuple[str, str]] = ()
    target: Mapping[str, Any] | None = None
    history: Sequence[Mapping[str, float]] = ()
    rates: Sequence[tuple[int, float]] | None = None
    results: Sequence[Mapping[str, Any]] = ()
    measured: Measured | None = None
    analyses: Mapping[str, AnalysisFacts] = field(default_factory=dict)
    cells: Mapping[tuple[int, int], Sequence[int]] = field(default_factory=dict)
    thumbnails: Mapping[int, Picture] = field(default_factory=dict)
    worst: Mapping[int, tuple[Picture, Picture | None]] = field(default_factory=dict)
    missing: Sequence[Missing] = ()


@dataclass(frozen=True, kw_only=True)
class Pair:
    """McNemar's test of two runs on the same images.

    Attributes:
        first, second: Positions of the runs in the report.
        test: As JSON, of `evaluation.PairedTest`.
    """

    first: int
    second: int
    test: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Facts:
    """All that a report tells.

    Attributes:
        runs: At least one.
        pairs: Of runs that have predictions for the same images.
        made_by: Name and version of what makes the report.
        made_on: The day, such as ``2026-11-29``.
    """

    runs: Sequence[RunFacts]
    pairs: Sequence[Pair]
    made_by: str
    made_on: str
