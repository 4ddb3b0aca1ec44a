"""Detectors as they are tested: refined, at several scales, several of them together."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import keras

from keras_resnet.config.box_batches import BoxBatches
from keras_resnet.config.words import counted
from keras_resnet.detection import Ensemble, MultiScale, Refined
from keras_resnet.runs import detector_evaluate
from keras_resnet.runs.detector_run import DetectorRun
from keras_resnet.runs.evaluate import evaluate_detector
from keras_resnet.runs.load import load


class Tested(NamedTuple):
    """A detector as it is tested.

    Attributes:
        model: What detects.
        settings: How images are resized for it.
        how: What it is tested by, in words; empty where it is as it was trained.
    """

    model: keras.Model
    settings: BoxBatches
    how: str


def as_tested(
    runs: Sequence[DetectorRun],
    *,
    refine: bool = False,
    scales: Sequence[int] | None = None,
) -> Tested:
    """Detectors with what He et al. 2016a, appendix B, improve them by.

    Args:
        runs: One or, of an ensemble, several, with images of one size.
        refine: Whether boxes are refined and vote, by `detection.Refined`.
        scales: Shorter sides of the images in pixels, for `detection.MultiScale`; regions
            are proposed at the size of training.

    Raises:
        ValueError: If the runs have other classes, or resize images otherwise.
    """
    settings = runs[0].batches
    sides = {(run.batches.shorter_sides[-1], run.batches.longer_side) for run in runs}
    if len(sides) > 1:
        raise ValueError(
            "The detectors of an ensemble must see images of one size. Received: shorter "
            f"and longer sides of {sorted(sides)}."
        )
    own, models, parts = settings.shorter_sides[-1], [run.model for run in runs], []
    if scales:
        scales = sorted({*scales})
        largest = scales[-1]
        shares = [side / largest for side in scales]
        models = [
            MultiScale(model, shares, proposals=own / largest) for model in models
        ]
        longer = round(settings.longer_side * largest / own)
        settings = replace(settings, shorter_sides=(largest,), longer_side=longer)
        parts.append(f"scales {' '.join(map(str, scales))}")
    model = models[0] if len(models) == 1 else Ensemble(models)
    if refine:
        model = Refined(model)
        parts.append("refinement and voting")
    return Tested(model, settings, ", ".join(parts))


def evaluate_detectors(
    runs: Sequence[str | os.PathLike[str]],
    *,
    refine: bool = False,
    scales: Sequence[int] | None = None,
    **options: Any,
) -> list[dict[str, Any]]:
    """Measures detectors and, of several, their ensemble.

    Args:
        runs: Folders.
        refine: As of `as_tested`.
        scales: As of `as_tested`.
        **options: As of `runs.evaluate.evaluate`.

    Returns:
        A result for each run, which is kept in its ``evaluation.json``, and that of the
        ensemble, which is returned alone. What they are tested by is their ``tested_by``.

    Raises:
        ValueError: As of `as_tested` and `runs.evaluate.evaluate`.
    """
    loaded = [load(run) for run in runs]
    changes = {"refine": refine, "scales": scales}
    alone = [as_tested([run], **changes) for run in loaded]
    together = as_tested(loaded, **changes) if len(loaded) > 1 else None
    found = [
        evaluate_detector(run, tested=tested, **options)
        for run, tested in zip(loaded, alone, strict=True)
    ]
    if together is not None:
        how = ", ".join(
            filter(None, (f"ensemble of {counted(len(runs), 'run')}", together.how))
        )
        result, _ = detector_evaluate.measure(
            loaded[0], tested=together._replace(how=how), **options
        )
        found.append(result)
    if len({result["sha256"] for result in found}) > 1:
        raise ValueError(
            "All runs must be measured on the same images. Received: runs that were "
            "trained on different ones. Name what to measure on with `data` (--data)."
        )
    return found
