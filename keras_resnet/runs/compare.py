"""Sets runs beside each other: curves, errors, targets, size, time and paired tests."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from dataclasses import asdict
from itertools import combinations
from typing import Any

import keras
import numpy as np

from keras_resnet.analysis import complexity
from keras_resnet.config.architectures import network_of
from keras_resnet.devices.precision import computing_in
from keras_resnet.evaluation.statistics import accuracy_interval, paired_test
from keras_resnet.files import local_path
from keras_resnet.runs import environment
from keras_resnet.runs.batch_sizes import images_at_once
from keras_resnet.runs.beside import names_of
from keras_resnet.runs.comparison_files import SIGN, write_comparison
from keras_resnet.runs.evaluate import read_evaluations
from keras_resnet.runs.from_record import recipe_of, target_of
from keras_resnet.runs.load import Run
from keras_resnet.runs.load import load_classifier as load
from keras_resnet.runs.measure import SINGLE
from keras_resnet.runs.predictions import Predictions, kept_predictions
from keras_resnet.runs.speed import BATCH, forward_speeds
from keras_resnet.runs.tables import hardware_in
from keras_resnet.targets import check_target


@computing_in("float32")
def compare(
    runs: Sequence[str | os.PathLike[str] | Run],
    *,
    output: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
    time: bool = True,
) -> dict[str, Any]:
    """Compares runs by what lies in their folders, and measures how fast they compute.

    Nothing is trained, and no split is measured: errors are those of the records and of
    what `evaluate` has kept. Nothing is written into the runs' folders.

    Args:
        runs: At least two: folders of runs, or runs as `load` returns them. They may be
            trained on different data; a paired test is made of those that were measured
            on the same images.
        output: Folder to write: ``comparison.json`` with all that is returned,
            ``comparison.csv`` with a row for each run, and the learning curves in
            ``curves.png`` and ``curves.svg``. By default nothing is written.
        overwrite: Whether an earlier comparison in that folder is replaced.
        time: Whether it is measured how many images per second each network classifies
            here, a batch of each in turn.

    Returns:
        ``runs``, a dict for each, as of `described`; ``paired_tests``, one for each pair of
        runs and each protocol by which both have predictions of the same images: names as
        ``first`` and ``second``, ``data``, ``split``, ``protocol``, ``images`` and the
        fields of `PairedTest`; ``hardware`` and ``versions`` of this machine, on which
        ``forward`` was measured; ``backend``.

    Raises:
        ValueError: If there are fewer than two runs, one is given twice, or a file in a
            run's folder is damaged; predictions that are, or that are of another
            measurement than the result beside them, are left out with a warning.
        FileNotFoundError: If there is no finished run in a folder.
        FileExistsError: If the output folder exists and may not be replaced.
    """
    if isinstance(runs, str | os.PathLike | Run) or len(runs) < 2:
        raise ValueError(f"`runs` must be two or more runs. Received: {runs!r}.")
    folder = None
    if output is not None:
        folder = local_path(output, "`output` (--output)")
        check_target(folder, SIGN, overwrite, wrote="a comparison")
    loaded = [run if isinstance(run, Run) else load(run) for run in runs]
    named = dict(zip(names_of([run.folder for run in loaded]), loaded, strict=True))
    speeds: list[dict[str, Any] | None] = [None] * len(named)
    if time:
        models = [run.model for run in loaded]
        batch = min(images_at_once(model, BATCH) for model in models)
        speeds = forward_speeds(models, batch=batch)
    found = {
        "runs": [
            described(name, run) | {"forward": speed}
            for (name, run), speed in zip(named.items(), speeds, strict=True)
        ],
        "paired_tests": _paired_tests(named),
        "hardware": environment.describe()["hardware"],
        "backend": keras.backend.backend(),
        "versions": environment.versions(),
    }
    if folder is not None:
        histories = {name: run.folder / "history.csv" for name, run in named.items()}
        there = {name: path for name, path in histories.items() if path.is_file()}
        write_comparison(folder, found, there)
    return found


def described(name: str, run: Run) -> dict[str, Any]:
    """What a run is, what it scores and what it costs, for a comparison.

    Args:
        name: What it is called.
        run: The run. What isn't known, as most of a converted network, is `None`.

    Returns:
        ``run``, ``folder``, ``recipe``, ``seed``; ``network``, ``depth``, ``order`` of
        convolutions, norm and ReLU, ``shortcut`` (A, B, C or D of the papers), ``blocks``
        (their kinds); ``data`` and ``sha256``, name and fingerprint of what it was trained
        on; ``image``, height, width and channels; ``updates``; ``parameters`` and
        ``multiply_adds`` of an image; ``target``, as of `target_of`; ``errors``, those on
        its own data by protocol, that of the target first, where that is known, then a
        single crop: ``data``, ``sha256``, ``split`` (validation where there is no other),
        ``protocol``, ``top1_error``, ``top1_interval`` (95 %) and ``n``; ``seconds`` and
        ``images_per_second`` of training, and the hardware that it was ``trained_on``.
    """
    record, model = run.record, run.model
    spec = network_of(record)
    target = target_of(record, recipe_of(record, run.folder))
    data = record.get("dataset", {})
    return {
        "run": name,
        "folder": str(run.folder),
        "recipe": record.get("recipe"),
        "seed": record.get("seed"),
        "network": record["network"],
        "depth": spec and spec.depth,
        "order": spec and spec.order,
        "shortcut": spec and spec.shortcut,
        "blocks": spec and sorted({stage.block for stage in spec.stages}),
        "data": data.get("name"),
        "sha256": data.get("sha256"),
        "image": list(model.input_shape[1:]),
        "updates": record.get("steps"),
        "parameters": record.get("parameters", complexity.parameters(model)),
        "multiply_adds": _multiply_adds(model),
        "target": target,
        "errors": _errors(run, target and target["protocol"]),
        "seconds": record.get("wall_seconds"),
        "images_per_second": record.get("images_per_second"),
        "trained_on": hardware_in(record) if "hardware" in record else None,
    }


def _multiply_adds(model: keras.Model) -> int | None:
    try:
        return complexity.multiply_adds(model)
    except ValueError:  # It takes images of any size.
        return None


def _errors(run: Run, protocol: str | None) -> list[dict[str, Any]]:
    """The errors of `described`; of a converted network, on what was measured last.

    Args:
        run: The run.
        protocol: Of its target, where that is known.
    """
    record, path = run.record, run.folder / "evaluation.json"
    results = read_evaluations(path) if path.exists() else []
    if "dataset" in record:
        own = record["dataset"]["sha256"]
        results = [
            *_recorded(record),
            *(one for one in results if one["sha256"] == own),
        ]
    elif results:
        results = [one for one in results if one["sha256"] == results[-1]["sha256"]]
    for split in ("test", "all", "validation"):
        # Of a protocol, the last: what was measured after training.
        found = {one["protocol"]: one for one in results if one["split"] == split}
        if found:
            break
    first = [protocol or SINGLE, SINGLE]
    names = [name for name in dict.fromkeys([*first, *found]) if name in found]
    keys = ("data", "sha256", "split", "protocol", "top1_error", "top1_interval", "n")
    return [
        {key: (found[name] | _interval(found[name]))[key] for key in keys}
        for name in names
    ]


def _recorded(record: dict[str, Any]) -> list[dict[str, Any]]:
    """The errors in a record, as `evaluate` gives them."""
    known = {"data": record["dataset"]["name"], "sha256": record["dataset"]["sha256"]}
    return [
        known | {"split": split, "protocol": SINGLE} | record[split]
        for split in ("validation", "test")
        if record[split] is not None
    ]


def _interval(result: dict[str, Any]) -> dict[str, Any]:
    """The interval of an error, where earlier versions kept none."""
    if "top1_interval" in result:
        return {}
    wrong = round(result["top1_error"] * result["n"] / 100)
    low, high = accuracy_interval(result["n"] - wrong, result["n"])
    return {"top1_interval": [100 - high, 100 - low]}


def _paired_tests(runs: dict[str, Run]) -> list[dict[str, Any]]:
    """McNemar's test of each two runs that have predictions of the same images."""
    kept, names = {}, {}
    for name, run in runs.items():
        kept[name], called = _predictions(run)
        names = called | names  # A folder may have another name for each run.
    tests = []
    for first, second in combinations(runs, 2):
        for what in kept[first].keys() & kept[second].keys():
            ours, theirs = kept[first][what], kept[second][what]
            same = np.array_equal(ours.names, theirs.names)
            if not same or not np.array_equal(ours.labels, theirs.labels):
                continue
            sha256, split, protocol = what
            tests.append(
                {
                    "first": first,
                    "second": second,
                    "data": names[sha256],
                    "split": split,
                    "protocol": protocol,
                    "images": len(ours.labels),
                    **asdict(paired_test(ours.correct, theirs.correct)),
                }
            )
    return sorted(
        tests,
        key=lambda test: [
            test[key] for key in ("first", "second", "data", "split", "protocol")
        ],
    )


def _predictions(
    run: Run,
) -> tuple[dict[tuple[str, ...], Predictions], dict[str, str]]:
    """What a run has predicted, by data, split and protocol; the names of these data.

    Data are known by their fingerprints.
    """
    path, found, names = run.folder / "evaluation.json", {}, {}
    for result in read_evaluations(path) if path.exists() else []:
        try:
            predictions = kept_predictions(run.folder, result, len(run.classes))
        except FileNotFoundError:
            continue  # Earlier versions kept none.
        except ValueError as error:
            warnings.warn(f"{error} They are left out.", stacklevel=3)
            continue
        what = tuple(result[key] for key in ("sha256", "split", "protocol"))
        found[what], names[result["sha256"]] = predictions, result["data"]
    return found, names
