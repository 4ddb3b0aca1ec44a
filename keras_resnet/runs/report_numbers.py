"""What a report tells of a run's predictions, and of those of two runs."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from keras_resnet.analysis.results import as_json
from keras_resnet.evaluation.calibration import (
    fit_temperature,
    reliability,
    with_temperature,
)
from keras_resnet.evaluation.statistics import (
    confusion_matrix,
    most_confident_errors,
    paired_test,
)
from keras_resnet.report.facts import Measured, Pair, RunFacts
from keras_resnet.runs.measure import SINGLE
from keras_resnet.runs.predictions import Predictions

WORST = 12  # Images.
SPLITS = ("test", "all", "validation")


def chosen(
    results: Sequence[Mapping[str, Any]], sha256: str | None, split: str | None
) -> Mapping[str, Any] | None:
    """The result that a report's pictures are made of.

    Args:
        results: As `runs.evaluate.read_evaluations` gives them.
        sha256: Fingerprint of the data that is looked for; `None` takes any.
        split: Name of a split, or `None` for the first of `SPLITS` that was measured.

    Returns:
        That of one central crop, else the last; `None` where there is none of the data
        and the split.
    """
    found = [one for one in results if sha256 in (None, one["sha256"])]
    splits = SPLITS if split is None else (split,)
    for name in splits:
        there = [one for one in found if one["split"] == name]
        if there:
            return next((one for one in there if one["protocol"] == SINGLE), there[-1])
    return None


def measured(
    result: Mapping[str, Any],
    predictions: Predictions,
    validation: Predictions | None,
) -> Measured:
    """What predictions say.

    Args:
        result: What ``evaluation.json`` has of them.
        predictions: Of the images that are reported on.
        validation: Of validation images, other ones, to fit the temperature on.
    """
    probabilities, labels = predictions.probabilities, predictions.labels
    return Measured(
        result=result,
        names=predictions.names,
        labels=labels,
        predicted=probabilities.argmax(axis=1),
        confidence=probabilities.max(axis=1),
        confusion=confusion_matrix(probabilities, labels),
        reliability=as_json(reliability(probabilities, labels)),
        worst=most_confident_errors(probabilities, labels, WORST),
        **_mended(predictions, validation),
    )


def _mended(predictions: Predictions, validation: Predictions | None) -> dict[str, Any]:
    """The temperature, and the calibration error with it."""
    if validation is None:
        return {}
    try:
        temperature = fit_temperature(validation.probabilities, validation.labels)
    except ValueError:  # All validation images are right, or as good as none.
        return {}
    mended = with_temperature(predictions.probabilities, temperature)
    return {
        "temperature": temperature,
        "fitted_on": len(validation.labels),
        "mended": reliability(mended, predictions.labels).ece,
    }


def pairs(runs: Sequence[RunFacts]) -> list[Pair]:
    """McNemar's test of each two runs with predictions for the same images."""
    found = []
    for (i, first), (j, second) in itertools.combinations(enumerate(runs), 2):
        one, other = first.measured, second.measured
        if one is not None and other is not None and _alike(one, other):
            test = asdict(paired_test(one.correct, other.correct))
            found.append(Pair(first=i, second=j, test=test))
    return found


def _alike(first: Measured, second: Measured) -> bool:
    """Whether two runs were measured on the same images, in the same way."""
    keys = ("sha256", "split", "protocol", "n")
    same = all(first.result[key] == second.result[key] for key in keys)
    return same and bool(
        np.array_equal(first.names, second.names)
        and np.array_equal(first.labels, second.labels)
    )
