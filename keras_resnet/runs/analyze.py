"""Makes an analysis of a run, and keeps its numbers and pictures in the run's folder."""

from __future__ import annotations

import contextlib
import math
import os
import pathlib
import time
import warnings
from dataclasses import replace
from typing import Any

import keras
import numpy as np

from keras_resnet.analysis.batches import check_weights
from keras_resnet.analysis.results import plain
from keras_resnet.config.lookup import find
from keras_resnet.config.words import counted
from keras_resnet.data import pipelines
from keras_resnet.data.examples import Examples, Splits, StreamedExamples
from keras_resnet.devices import limits, onednn
from keras_resnet.devices.find import warn_of_unused_card
from keras_resnet.devices.precision import computing_in
from keras_resnet.files import write_json
from keras_resnet.runs import environment
from keras_resnet.runs.analyses import ANALYSES
from keras_resnet.runs.batch_sizes import images_at_once
from keras_resnet.runs.beside import names_of, naming
from keras_resnet.runs.examples import examples_of, with_labels_of
from keras_resnet.runs.load import Run
from keras_resnet.runs.load import load_classifier as load
from keras_resnet.runs.subjects import (
    Analysis,
    AnalysisOptions,
    Measured,
    Progress,
    Subject,
)

FOLDER = "analysis"  # In the run's.
PICTURES = ("png", "svg")
READ_AT_ONCE = 128  # Images.
COPIES = 4  # Of the images, at most, while they are read and analysed.


def analyze(
    run: str | os.PathLike[str] | Run,
    name: str,
    options: AnalysisOptions | None = None,
    *,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Analyses a run, and keeps numbers and pictures in its folder ``analysis``.

    The numbers are in ``<name>.json``, the picture in ``<name>.png`` and ``<name>.svg``.
    Making the same analysis again replaces them; an analysis that fails replaces nothing.
    Where they can't be written, a warning says so.

    Args:
        run: The run's folder, or the run as `load` returns it.
        name: Of a row of `runs.analyses.ANALYSES`, e.g. ``"lesions"``.
        options: Images, seed and the like.
        progress: Called with what is done of a part of the analysis, and how much that
            part is.

    Returns:
        What is in the JSON file: ``analysis``, ``run``, ``network``; ``data`` and
        ``sha256``, name and fingerprint of the data; ``split``, ``images`` and
        ``images_sha256``, the number of images and the fingerprint of their pixels and
        labels as the network takes them; ``seed``; ``batch_norm``, as of
        `runs.subjects.Analysis`; ``backend``, ``versions``, ``seconds``; ``results``, the
        fields of the results of `keras_resnet.analysis` by name.

    Raises:
        ValueError: If there is no such analysis, the data has other classes than the run
            or no such split, or the network is not of the kind that is analysed, e.g.
            has no residual additions.
    """
    return analyze_and_keep(run, name, options, progress=progress)[0]


@computing_in("float32")
def analyze_and_keep(
    run: str | os.PathLike[str] | Run,
    name: str,
    options: AnalysisOptions | None = None,
    *,
    progress: Progress | None = None,
) -> tuple[dict[str, Any], list[pathlib.Path]]:
    """Analyses a run as `analyze` does; gives the files that were written, too."""
    onednn.warn_if_late()
    warn_of_unused_card()
    analysis, options = (
        find(ANALYSES, name, kind="analysis"),
        options or AnalysisOptions(),
    )
    if options.beside and not analysis.compares:
        raise ValueError(
            "Other runs (--beside) go with "
            f"{', '.join(one for one, row in ANALYSES.items() if row.compares)}. "
            f"Received: {name}."
        )
    run, *others = [
        one if isinstance(one, Run) else load(one) for one in (run, *options.beside)
    ]
    options = _fitting([run, *others], analysis, options)
    splits, split, drawn = _examples(run, analysis, options)
    examples = [with_labels_of(run, splits, drawn)]
    for other in others:
        with naming(other):
            check_weights(other.model)
            examples.append(
                with_labels_of(other, splits, drawn) if analysis.labelled else drawn
            )
    subject = _subject([run, *others], examples, options, progress)
    start = time.perf_counter()
    measured = analysis.measure(subject)
    record = {
        "analysis": name,
        "run": subject.name,
        "network": run.record["network"],
        "data": splits.name,
        "sha256": splits.sha256,
        "split": split,
        "images": len(subject.images),
        "images_sha256": subject.fingerprint(),
        "seed": options.seed,
        "batch_norm": analysis.batch_norm,
        "backend": keras.backend.backend(),
        "versions": environment.versions(),
        "seconds": round(time.perf_counter() - start, 1),
        "results": plain({k: v for k, v in measured.items() if k != "pixels"}),
    }
    return record, _keep(run.folder / FOLDER, analysis, measured, record)


def _fitting(
    runs: list[Run], analysis: Analysis, options: AnalysisOptions
) -> AnalysisOptions:
    """The options with as many images, and as many at a time, as the memory holds."""
    images, batch_size = analysis.images, options.batch_size
    for run in runs:
        made = run.preprocessing
        size = 4 * COPIES * made.channels * math.prod(made.size)  # Of float32.
        images = limits.fitting(images, size)
        if analysis.gradients == "all":
            images = images_at_once(run.model, images, derivatives=1)
        derivatives = {"batch": 1, "second": 2}.get(analysis.gradients or "", 0)
        batch_size = images_at_once(run.model, batch_size, derivatives=derivatives)
    return replace(options, images=options.images or images, batch_size=batch_size)


def _examples(
    run: Run, analysis: Analysis, options: AnalysisOptions
) -> tuple[Splits, str, Examples | StreamedExamples]:
    """The data; name of a split, and the examples that are drawn from it."""
    splits, split, examples = examples_of(
        run, options.data, options.data_dir, options.split
    )
    if options.split is None and split != "all":
        there = [one for one in analysis.splits if getattr(splits, one) is not None]
        split = there[0] if there else analysis.splits[0]
        examples = getattr(splits, split)
    if examples is None:
        names = ("train", "validation", "test")
        there = [one for one in names if getattr(splits, one) is not None]
        raise ValueError(
            f"{splits.name} has no {split} split: use --split {' or '.join(there)}."
        )
    return splits, split, _drawn(examples, options)


def _drawn(
    examples: Examples | StreamedExamples, options: AnalysisOptions
) -> Examples | StreamedExamples:
    """As many examples as are asked for, in their order; of a stream, the first."""
    count = options.images
    if count >= examples.size:
        return examples
    if isinstance(examples, StreamedExamples):
        whole = examples.read
        return StreamedExamples(lambda: whole().take(count), count)
    drawn = np.random.default_rng(options.seed).permutation(examples.size)[:count]
    drawn = np.sort(drawn)
    return Examples(examples.images[drawn], examples.labels[drawn])


def _subject(
    runs: list[Run],
    examples: list[Examples | StreamedExamples],
    options: AnalysisOptions,
    progress: Progress | None,
) -> Subject:
    """The first run with its images, and the others beside it."""
    made, names = [], names_of([run.folder for run in runs])
    for name, run, own in zip(names, runs, examples, strict=True):
        batches = pipelines.evaluation_batches(
            own, run.preprocessing, batch_size=min(READ_AT_ONCE, own.size)
        )
        images, labels = zip(*batches.as_numpy_iterator(), strict=True)
        made.append(
            Subject(
                name=name,
                model=run.model,
                images=np.concatenate(images),
                labels=np.concatenate(labels).astype("int64"),
                options=options,
                progress=progress or (lambda done, total: None),
                classes=run.classes,
                preprocessing=run.preprocessing,
                folder=run.folder / FOLDER,
            )
        )
    first, *beside = made
    return replace(first, beside=tuple(beside))


def _keep(
    folder: pathlib.Path, analysis: Analysis, measured: Measured, record: dict[str, Any]
) -> list[pathlib.Path]:
    """Writes the numbers, then the pictures; gives the files that were written."""
    name = record["analysis"]
    path = folder / f"{name}.json"
    try:
        write_json(path, record)
    except OSError as error:  # A read-only or a full disk must not lose the result.
        warnings.warn(f"The result isn't kept in {path}: {error}", stacklevel=3)
        return []
    written = [path]
    pictures = [folder / f"{name}.{suffix}" for suffix in PICTURES]
    for path in pictures:
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)  # They show other numbers.
    title = (
        f"{record['run']}, {counted(record['images'], 'image')} of {record['data']} "
        f"({record['split']})"
    )
    for path in pictures:
        try:
            analysis.draw(measured, path, title=title)
            written.append(path)
        except Exception as error:  # Fonts, disks and matplotlib fail in many ways.
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)
            warnings.warn(
                f"{path} can't be drawn ({type(error).__name__}: {error}). The numbers "
                f"are in {written[0]}.",
                stacklevel=3,
            )
    return written
