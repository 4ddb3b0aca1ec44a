"""Measures a run on a split of its own data, or on other data; keeps the results."""

from __future__ import annotations

import os
import pathlib
import warnings
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from keras_resnet.config.checks import check_positive
from keras_resnet.config.protocols import Protocol
from keras_resnet.data.bit_depth import (
    depths_of,
    warn_of_equal_images,
    warn_of_lost_levels,
)
from keras_resnet.devices import onednn
from keras_resnet.devices.find import warn_of_unused_card
from keras_resnet.devices.precision import computing_in
from keras_resnet.evaluation.calibration import reliability
from keras_resnet.evaluation.statistics import accuracy_interval
from keras_resnet.files import read_json, write_json
from keras_resnet.runs import detector_evaluate, environment
from keras_resnet.runs.detector_load import is_detector
from keras_resnet.runs.detector_run import DetectorRun
from keras_resnet.runs.examples import (
    count_of_training,
    examples_of,
    with_labels_of,
)
from keras_resnet.runs.load import Run, load
from keras_resnet.runs.measure import SINGLE, measure, protocol_named
from keras_resnet.runs.predictions import (
    Predictions,
    names_of,
    path_of,
    write_predictions,
)

NUMBERS = ("top1_error", "loss", "n")  # Of each result of a classifier.
BATCH = 256  # Images at a time of a classifier, where nobody says how many.


def evaluate(
    run: str | os.PathLike[str] | Run,
    *,
    data: str | os.PathLike[str] | None = None,
    data_dir: str | os.PathLike[str] | None = None,
    split: str | None = None,
    protocol: str | Protocol = SINGLE,
    batch_size: int | None = None,
    seen: Callable[[float], Any] | None = None,
) -> dict[str, Any]:
    """Measures a run on a split, and keeps the result in ``evaluation.json``.

    The file lies beside the run's record. It holds one result for each data set, split
    and protocol; measuring the same again replaces that result. What is predicted of
    each image is kept in the folder ``predictions``: see `runs.predictions`. Where a result
    or its predictions can't be written, a warning says so.

    Args:
        run: The run's folder, or the run as `load` returns it.
        data: Folder of images or name of a data set, if not the one that the run was
            trained on: of a folder all images are measured on, or those of its folder
            ``test``. A folder that holds the images that the run was trained on is the
            run's own, wherever it lies now, and has the run's splits. A converted
            network needs one. Its classes are the run's or, where those are ImageNet's,
            some of them, called by their WordNet numbers.
        data_dir: Where TensorFlow Datasets keeps its data.
        split: ``"test"`` (the default) or ``"validation"``; not with another folder.
        protocol: Name of a row of `config.PROTOCOLS`, or a `Protocol`: crops, sizes and
            scales. Of a detector ``"voc"`` (the default), ``"voc07"`` or ``"coco"``.
        batch_size: Images at a time, of the network's own size (256, of a detector as many
            as in training); fewer where the memory holds fewer.
        seen: Called after each batch with the number of images in it, a fraction where
            each has several views.

    Returns:
        The result: ``data`` and ``sha256``, its name and fingerprint; ``split``
        (``"all"`` for all of a folder); ``protocol``; ``trained_on``, the number of
        images of another folder that the run was trained on, of which a warning tells
        too (`None` where that isn't known, or it is the run's own data);
        ``top1_error`` and ``top5_error`` (percent; the latter `None` of five classes
        and fewer), ``loss``, ``n``; ``top1_interval``, within which the top-1 error
        lies in 95 % of bootstrap resamples; ``ece``, the expected calibration error (15
        bins, from 0 to 1); ``predictions_sha256``, of what is predicted of each image;
        ``versions``. Of a detector it is what `detector_evaluate.measure` gives.

    Raises:
        ValueError: If the data has other classes than the run, or no such split, if
            ``evaluation.json`` is damaged, or if ``batch_size`` isn't positive.
    """
    if batch_size is not None:
        check_positive("batch_size", batch_size)
    is_path = isinstance(run, str | os.PathLike)
    if isinstance(run, DetectorRun) or (is_path and is_detector(run)):
        return evaluate_detector(
            load(run) if is_path else run,
            data=data,
            data_dir=data_dir,
            split=split,
            protocol=protocol,
            batch_size=batch_size,
            seen=seen,
        )
    return evaluate_and_keep(
        run,
        data=data,
        data_dir=data_dir,
        split=split,
        protocol=protocol,
        batch_size=BATCH if batch_size is None else batch_size,
        seen=seen,
    )[0]


def evaluate_detector(run: DetectorRun, **options: Any) -> dict[str, Any]:
    """Measures a detector's run, and keeps the result and what is detected.

    Args:
        run: The run.
        **options: As of `detector_evaluate.measure`.
    """
    path = run.folder / "evaluation.json"
    _earlier(path)  # As below.
    result, detections = detector_evaluate.measure(run, **options)
    if _keep_result(path, result):
        file = detector_evaluate.path_of(run.folder, result)
        _keep("What is detected", detector_evaluate.write_results, file, detections)
    return result


@computing_in("float32")
def evaluate_and_keep(
    run: str | os.PathLike[str] | Run,
    *,
    data: str | os.PathLike[str] | None,
    data_dir: str | os.PathLike[str] | None,
    split: str | None,
    protocol: str | Protocol,
    batch_size: int,
    seen: Callable[[float], Any] | None,
) -> tuple[dict[str, Any], Predictions]:
    """Measures a run as `evaluate` does; gives its predictions too."""
    onednn.warn_if_late()
    warn_of_unused_card()
    name, protocol = protocol_named(protocol)
    run = run if hasattr(run, "model") else load(run)
    if isinstance(run, DetectorRun):
        raise ValueError(
            f"{run.folder} holds a detector, which has no probabilities of classes: it is "
            "measured alone, by `keras-resnet evaluate`, and has no report yet."
        )
    path = run.folder / "evaluation.json"
    _earlier(path)  # Raises an error where it is damaged, before minutes of measuring.
    splits, split, examples = examples_of(run, data, data_dir, split)
    examples = with_labels_of(run, splits, examples)
    if examples is None:
        raise ValueError(f"{splits.name} has no {split} split: use --split validation.")
    trained_on = count_of_training(run, splits, examples)
    warn_of_lost_levels("measured", depths_of(examples), run.preprocessing.bit_depth)
    warn_of_equal_images("measured", examples, run.preprocessing)
    measured, probabilities, labels = measure(
        run, examples, protocol, batch_size=batch_size, seen=seen
    )
    predictions = Predictions(
        names=names_of(splits, examples),
        labels=labels,
        probabilities=probabilities,
        sha256=splits.sha256,
    )
    result = {
        "data": splits.name,
        "sha256": splits.sha256,
        "split": split,
        "protocol": name,
        "trained_on": trained_on,
        **asdict(measured),
        "top1_interval": error_interval(predictions),
        "ece": reliability(probabilities, labels).ece,
        "predictions_sha256": predictions.digest(),
        "versions": environment.versions(),
    }
    if _keep_result(path, result):
        path = path_of(run.folder, result)
        _keep("What is predicted of each image", write_predictions, path, predictions)
    return result, predictions


def _earlier(path):
    """The results of a run that are kept already."""
    return read_evaluations(path) if path.exists() else []


def _keep_result(path, result):
    """Puts a result in the place of an earlier one of the same; whether it could."""
    # Read now: another process may have measured the run meanwhile.
    others = [one for one in _earlier(path) if _what(one) != _what(result)]
    return _keep("The result", write_json, path, {"results": [*others, result]})


def _keep(what, write, path, values):
    """Writes a file; a read-only or a full disk must not lose what was measured.

    Returns:
        Whether it could be written.
    """
    try:
        write(path, values)
    except OSError as error:
        warnings.warn(f"{what} isn't kept in {path}: {error}", stacklevel=6)
        return False
    return True


def error_interval(predictions: Predictions) -> list[float]:
    """Computes the 95 % bootstrap interval of the top-1 error, in percent."""
    low, high = accuracy_interval(
        int(predictions.correct.sum()), len(predictions.labels)
    )
    return [100 - high, 100 - low]


def read_evaluations(path: pathlib.Path) -> list[dict[str, Any]]:
    """Reads the results in an ``evaluation.json``, oldest first.

    Earlier versions of this package wrote one result alone, without a protocol.

    Args:
        path: The file.

    Raises:
        FileNotFoundError: If there is none.
        ValueError: If it is damaged.
    """
    try:
        found = read_json(path)
        results = found["results"] if "results" in found else [found]
        results = [{"protocol": SINGLE, **one} for one in results]
        for one in results:
            _what(one)
            for key in ("n",) if "by_class" in one else NUMBERS:
                if not isinstance(one[key], int | float):
                    raise TypeError(
                        f"{key!r} must be a number. Received: {one[key]!r}."
                    )
        return results
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(
            f"{path} must hold results as `keras-resnet evaluate` writes them, and it "
            f"doesn't ({error!r}). Remove it, and measure again."
        ) from error


def _what(result):
    """What a result is of: another one of the same takes its place."""
    keys = ("data", "sha256", "split", "protocol")
    return *(result[key] for key in keys), result.get("tested_by")
