"""Makes a report of runs: one HTML file of what lies in their folders.

What is missing and takes less than a minute is computed; of the rest the report names the
commands.
"""

from __future__ import annotations

import datetime
import os
import pathlib
from collections.abc import Callable, Sequence

from keras_resnet import __version__
from keras_resnet.devices import onednn
from keras_resnet.devices.precision import computing_in
from keras_resnet.files import local_path, replace_file
from keras_resnet.report.facts import Facts, RunFacts
from keras_resnet.report.page import SIGN, page
from keras_resnet.runs import report_images
from keras_resnet.runs.beside import names_of
from keras_resnet.runs.report_files import read_facts
from keras_resnet.runs.report_numbers import pairs
from keras_resnet.runs.report_of_run import Asked, facts_of
from keras_resnet.targets import check_place

__all__ = ["report"]

FILE = "report.html"
SUFFIXES = (".html", ".htm")


@computing_in("float32")
def report(
    runs: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    output: str | os.PathLike[str] | None = None,
    *,
    data: str | os.PathLike[str] | None = None,
    data_dir: str | os.PathLike[str] | None = None,
    split: str | None = None,
    images: bool = True,
    seconds: float = 60.0,
    overwrite: bool = False,
    progress: Callable[[str], object] | None = None,
) -> pathlib.Path:
    """Writes a report of runs: one HTML file that needs no server and no network.

    It shows results beside the recipes' targets, curves, the confusion matrix with its
    images, the most confident mistakes with class activation maps, calibration, the
    analyses of `runs.analyze.analyze`, the recipes and where the runs come from; of several
    runs side by side, with McNemar's test of each two that have predictions for the same
    images. What isn't there is measured as `evaluate` and `analyze` do, and kept where they
    keep it, if it takes less than ``seconds``; of the rest the report names the commands.

    Args:
        runs: The run's folder, or several.
        output: File to write; by default ``report.html`` in the run's folder or, of several
            runs, in the current one.
        data: Folder of images or name of a data set to report on, if not the runs' own.
        data_dir: Where TensorFlow Datasets keeps its data.
        split: ``"test"`` (the default, where there is one) or ``"validation"``.
        images: Whether the report holds images of the data.
        seconds: The longest time to compute what is missing; 0 computes nothing.
        overwrite: Whether another file than a report may be replaced.
        progress: Called with what is done next, in words.

    Returns:
        The file.

    Raises:
        FileNotFoundError: If a folder holds no finished run, or ``data`` isn't there.
        FileExistsError: If the file exists and is no report.
        ValueError: If a file of a run is damaged; it names the file. Damaged predictions,
            and those of another measurement than the result beside them, count as missing.
            If ``data`` has other classes than a run, or no such split.
    """
    onednn.warn_if_late()
    if not seconds >= 0:
        raise ValueError(
            f"`seconds` (--seconds) must be 0 or more. Received: seconds={seconds!r}."
        )
    given = [runs] if isinstance(runs, str | os.PathLike) else list(runs)
    folders = [local_path(one) for one in given]
    if not folders:
        raise ValueError("At least one run must be given. Received: none.")
    names = names_of(folders)
    path = _place(folders, output)
    # What is damaged, and what may not be written, is found before anything is computed.
    read = [read_facts(folder) for folder in folders]
    check_output(path, overwrite)
    asked = Asked(
        data=data,
        data_dir=data_dir,
        split=split,
        images=images,
        seconds=seconds,
        thumbnails=report_images.MOST // len(folders),
        progress=progress or (lambda said: None),
    )
    made: list[RunFacts] = [
        facts_of(folder, name, one, asked)
        for folder, name, one in zip(folders, names, read, strict=True)
    ]
    asked.progress("Writing the report")
    _write(path, made)
    return path


def _write(path: pathlib.Path, runs: Sequence[RunFacts]) -> None:
    facts = Facts(
        runs=runs,
        pairs=pairs(runs),
        made_by=f"keras_resnet {__version__}",
        made_on=datetime.date.today().isoformat(),
    )
    written = page(facts)
    replace_file(path, lambda new: new.write_text(written, encoding="utf-8"))


def _place(
    folders: Sequence[pathlib.Path], output: str | os.PathLike[str] | None
) -> pathlib.Path:
    """The file to write."""
    if output is not None:
        return local_path(output, "`output` (--output)")
    return folders[0] / FILE if len(folders) == 1 else pathlib.Path(FILE)


def check_output(path: pathlib.Path, overwrite: bool) -> None:
    """Checks that a report can be written, before anything is computed for it.

    Args:
        path: The file.
        overwrite: Whether it may be replaced if it is no report.

    Raises:
        FileExistsError: If it exists and is no report, or is a folder.
        PermissionError: If nothing can be written there.
        ValueError: If its name has another suffix than `SUFFIXES`.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise ValueError(
            f"`output` (--output) must end in {' or '.join(SUFFIXES)}. Received: {path}."
        )
    if path.is_dir():
        raise FileExistsError(
            f"`output` (--output) must be a file. Received: {path}, a folder. Choose "
            "another name."
        )
    if path.exists() and not overwrite and not _is_report(path):
        raise FileExistsError(
            f"`output` (--output) must not exist yet, or be a report. Received: {path}, "
            "another file. Choose another name, or pass `overwrite=True` (--overwrite)."
        )
    check_place(path, "`output` (--output)")


def _is_report(path: pathlib.Path) -> bool:
    with path.open("rb") as file:
        return SIGN.encode() in file.read(2000)
