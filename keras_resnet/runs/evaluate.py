"""Measures a run on a split of its own data, or on other data; keeps the results."""

from __future__ import annotations

import os
import pathlib
import re
import warnings
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from keras_resnet.config.datasets import DATASETS
from keras_resnet.data import folders, pipelines, sources
from keras_resnet.data.examples import Examples, Splits, StreamedExamples, join
from keras_resnet.data.listing import as_text
from keras_resnet.devices import onednn
from keras_resnet.evaluation import metrics
from keras_resnet.files import read_json, write_json
from keras_resnet.runs import environment
from keras_resnet.runs.load import Run, load
from keras_resnet.runs.request import where

PROTOCOL = "single_crop"  # The whole image, or its centre, once.


def evaluate(
    run: str | os.PathLike[str] | Run,
    *,
    data: str | os.PathLike[str] | None = None,
    data_dir: str | os.PathLike[str] | None = None,
    split: str | None = None,
    batch_size: int = 256,
) -> dict[str, Any]:
    """Measures a run on a split, and keeps the result in ``evaluation.json``.

    The file lies beside the run's record. It holds one result for each data set, split
    and protocol; measuring the same again replaces that result. Where it can't be
    written, a warning says so.

    Args:
        run: The run's folder, or the run as `load` returns it.
        data: Folder of images or name of a data set, if not the one that the run was
            trained on: of a folder all images are measured on, or those of its folder
            ``test``. A converted network needs one.
        data_dir: Where TensorFlow Datasets keeps its data.
        split: ``"test"`` (the default) or ``"validation"``; not with another folder.
        batch_size: Images at a time.

    Returns:
        The result: ``data`` and ``sha256``, its name and fingerprint; ``split``
        (``"all"`` for all of a folder); ``protocol``; ``top1_error`` and ``top5_error``
        (percent; the latter `None` of five classes and fewer), ``loss``, ``n``;
        ``versions``.

    Raises:
        ValueError: If the data has other classes than the run, or no such split, or
            ``evaluation.json`` is damaged.
    """
    onednn.warn_if_late()
    run = run if isinstance(run, Run) else load(run)
    path = run.folder / "evaluation.json"
    earlier = read_evaluations(path) if path.exists() else []
    splits, split, examples = examples_of(run, data, data_dir, split)
    if not labels_fit(run, splits):
        raise ValueError(
            f"The data must have the run's classes {run.classes[:5]}…. "
            f"Received: {splits.class_names[:5]}… in {splits.name}.{_unnamed(run)}"
        )
    if examples is None:
        raise ValueError(f"{splits.name} has no {split} split: use --split validation.")
    batches = pipelines.evaluation_batches(
        examples, run.preprocessing, batch_size=min(examples.size, batch_size)
    )
    result = {
        "data": splits.name,
        "sha256": splits.sha256,
        "split": split,
        "protocol": PROTOCOL,
        **asdict(metrics.evaluate(run.model, batches)),
        "versions": environment.versions(),
    }
    others = [one for one in earlier if _what(one) != _what(result)]
    try:
        write_json(path, {"results": [*others, result]})
    except OSError as error:  # A read-only or a full disk must not lose the result.
        warnings.warn(f"The result isn't kept in {path}: {error}", stacklevel=2)
    return result


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
        results = [{"protocol": PROTOCOL, **one} for one in results]
        for one in results:
            _what(one)
        return results
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(
            f"{path} must hold results as `keras-resnet evaluate` writes them, and it "
            f"doesn't ({error!r}). Remove it, and measure again."
        ) from error


def _unnamed(run):
    """What to do about a converted network whose classes have only numbers."""
    if run.classes != tuple(map(str, range(len(run.classes)))):
        return ""
    return (
        " The network's classes have no names: if they are those of the data, convert it "
        "again with `classes` (--classes), such as --classes imagenet."
    )


def _what(result):
    """What a result is of: another one of the same takes its place."""
    return tuple(result[key] for key in ("data", "sha256", "split", "protocol"))


def labels_fit(run: Run, splits: Splits) -> bool:
    """Tells whether the labels of data are those of a run's classes."""
    # The same data has the same classes, also where they got their names later.
    same = splits.sha256 == run.record.get("dataset", {}).get("sha256")
    return same or has_classes(run, splits.class_names)


def has_classes(run: Run, names: Sequence[str]) -> bool:
    """Tells whether these names are a run's classes, in their order."""
    # Runs of earlier versions may have names whose accents lie apart from the letters.
    if [as_text(name) for name in names] == [as_text(name) for name in run.classes]:
        return True
    # ImageNet's folders have WordNet numbers. Sorted, these are the classes of all
    # published weights but darknet's files, which have an order of their own.
    numbers = list(names) == sorted(names) and all(
        re.fullmatch(r"n\d{8}", name) for name in names
    )
    standard = not str(run.record.get("source", ".weights")).endswith(".weights")
    return standard and numbers and len(names) == len(run.classes) == 1000


def examples_of(
    run: Run,
    data: str | os.PathLike[str] | None,
    data_dir: str | os.PathLike[str] | None,
    split: str | None,
) -> tuple[Splits, str, Examples | StreamedExamples | None]:
    """Finds the examples to measure a run on.

    Args:
        run: The run.
        data: Folder of images or name of a data set, if not the run's own.
        data_dir: Where TensorFlow Datasets keeps its data.
        split: ``"test"`` (the default) or ``"validation"``; not with another folder.

    Returns:
        The splits of the data; name and examples of the one to measure on, `None` where
        the data has no such split.

    Raises:
        ValueError: If the run has no data of its own and none is named, the split goes
            with no other folder, or a folder has changed since the training.
    """
    if "dataset" in run.record:
        trained_on = run.record["overrides"].get("data", run.record["dataset"]["name"])
        own = data is None or where(data) == trained_on
    elif data is None:
        raise ValueError(
            f"{run.folder} was converted, not trained here: name the images or the data "
            "set to measure on with `data` (--data)."
        )
    else:
        trained_on, own = None, False
    data = trained_on if own else where(data)
    if split is not None and not own and data not in DATASETS:
        raise ValueError(
            "`split` (--split) goes with the run's own data or a data set; of another "
            "folder all images are measured on, or those of its folder 'test'. Leave it "
            f"out, or name the folder of the split. Received: split={split!r}, "
            f"data={data!r}."
        )
    split = split or "test"
    if data in DATASETS:
        splits = sources.load(data, data_dir=data_dir)
        return splits, split, getattr(splits, split)
    if own:
        # The same fraction, or images of the training set would be measured on.
        fraction = run.record["overrides"].get("val_fraction")
        if not isinstance(fraction, float) or not 0 < fraction < 1:
            raise ValueError(
                f"{run.folder / 'record.json'} must have the share of the images that "
                "was kept for validation, between 0 and 1, as `overrides.val_fraction`. "
                f"Received: val_fraction={fraction!r}."
            )
        splits = folders.load(data, val_fraction=fraction)
        if splits.sha256 != run.record["dataset"]["sha256"]:
            raise ValueError(
                f"{data} must hold the images that the run was trained on, and it has "
                "changed since, or an earlier version listed them by other rules: which of "
                "them are validation images is no longer known. Give other images with "
                "--data."
            )
        return splits, split, getattr(splits, split)
    splits = folders.load(data, val_fraction=0)
    if splits.test is not None:
        return splits, "test", splits.test
    if splits.validation is None:
        return splits, "all", splits.train
    return splits, "all", join(splits.train, splits.validation)
