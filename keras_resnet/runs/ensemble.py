"""Measures several runs on the same images, together and against each other."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from keras_resnet.config.checks import check_positive
from keras_resnet.config.protocols import Protocol
from keras_resnet.evaluation.calibration import reliability
from keras_resnet.evaluation.metrics import from_probabilities
from keras_resnet.evaluation.statistics import paired_test
from keras_resnet.runs.beside import naming
from keras_resnet.runs.evaluate import BATCH, error_interval, evaluate_and_keep
from keras_resnet.runs.load import Run
from keras_resnet.runs.load import load_classifier as load
from keras_resnet.runs.measure import SINGLE
from keras_resnet.runs.predictions import Predictions


def evaluate_several(
    runs: Sequence[str | os.PathLike[str] | Run],
    *,
    data: str | os.PathLike[str] | None = None,
    data_dir: str | os.PathLike[str] | None = None,
    split: str | None = None,
    protocol: str | Protocol = SINGLE,
    batch_size: int | None = None,
    seen: Callable[[float], Any] | None = None,
) -> dict[str, Any]:
    """Measures runs, their ensemble, and of two runs whether they differ.

    An ensemble predicts the mean of its members' probabilities. Each run's own result is
    kept as `evaluate` keeps it; the ensemble's is returned alone.

    Args:
        runs: At least two, as `evaluate` takes them, of the same classes.
        data: Folder of images or name of a data set, if not the runs' own.
        data_dir: Where TensorFlow Datasets keeps its data.
        split: ``"test"`` (the default) or ``"validation"``; not with another folder.
        protocol: Name of a row of `config.PROTOCOLS`, or a `Protocol`.
        batch_size: Images at a time, of the network's own size (256); fewer where the
            memory holds fewer.
        seen: Called after each batch with the number of images in it.

    Returns:
        ``runs``, the results of `evaluate`; ``ensemble``, one of the same form without
        the data's name; ``paired_test`` of two runs, a `PairedTest` as a dict, else
        `None`.

    Raises:
        ValueError: If there is one run only, or they have other classes or, where no data
            is named, other data.
    """
    if batch_size is not None:
        check_positive("batch_size", batch_size)
    runs = [run if hasattr(run, "model") else load(run) for run in runs]
    _check(runs)
    results, predictions = [], []
    for run in runs:
        with naming(run):
            result, predicted = evaluate_and_keep(
                run,
                data=data,
                data_dir=data_dir,
                split=split,
                protocol=protocol,
                batch_size=BATCH if batch_size is None else batch_size,
                seen=seen,
            )
        results.append(result)
        predictions.append(predicted)
    if len({result["sha256"] for result in results}) > 1:
        raise ValueError(
            "All runs must be measured on the same images. Received: runs of the data "
            f"{', '.join(sorted({result['data'] for result in results}))}, each trained on "
            "its own. Name what to measure on with `data` (--data)."
        )
    both = [one.correct for one in predictions]
    return {
        "runs": results,
        "ensemble": _of_ensemble(predictions),
        "paired_test": asdict(paired_test(*both)) if len(runs) == 2 else None,
    }


def _check(runs: Sequence[Run]) -> None:
    if len(runs) < 2:
        raise ValueError(
            f"An ensemble must have at least two runs. Received: {len(runs)}."
        )
    for run in runs[1:]:
        if run.classes != runs[0].classes:
            raise ValueError(
                "The runs of an ensemble must have the same classes, in the same order. "
                f"Received: {runs[0].classes[:5]}… of {runs[0].folder}, "
                f"{run.classes[:5]}… of {run.folder}."
            )


def _of_ensemble(predictions: Sequence[Predictions]) -> dict[str, Any]:
    probabilities = np.mean([one.probabilities for one in predictions], axis=0)
    labels = predictions[0].labels
    together = Predictions(
        names=predictions[0].names,
        labels=labels,
        probabilities=probabilities,
        sha256=predictions[0].sha256,
    )
    return {
        **asdict(from_probabilities(probabilities, labels)),
        "top1_interval": error_interval(together),
        "ece": reliability(probabilities, labels).ece,
    }
