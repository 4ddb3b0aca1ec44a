"""The images that a run is trained on: listed in its folder, and known elsewhere."""

from __future__ import annotations

import pathlib
import warnings
from dataclasses import replace

from keras_resnet.config.datasets import DATASETS
from keras_resnet.data import folders
from keras_resnet.data.examples import Examples, Splits, join
from keras_resnet.data.identity import (
    File,
    changes_in_words,
    count_shared,
    files_of,
    read_files,
    write_files,
)
from keras_resnet.data.layout import find_splits
from keras_resnet.data.listing import as_text
from keras_resnet.data.splitting import POSITION, with_validation
from keras_resnet.devices.host import say
from keras_resnet.runs.choose import asked_recipe, val_fraction
from keras_resnet.runs.detector_job import DetectorJob
from keras_resnet.runs.differ import differences
from keras_resnet.runs.folder import IMAGES, comparable, is_whole, read_settings
from keras_resnet.runs.job import Job
from keras_resnet.runs.kept import begun
from keras_resnet.runs.load import Run
from keras_resnet.runs.settle import as_begun, decide


def list_images(job: Job | DetectorJob, folder: pathlib.Path) -> None:
    """Writes ``images.csv`` into a run's folder, which tells the side of each image.

    Nothing else needs the table: where it can't be written, a warning says so. There is
    none of a data set by name.
    """
    path = folder / IMAGES
    if job.splits.root is None or path.exists():
        return
    try:
        write_files(path, files_of(job.splits))
    except OSError as error:
        warnings.warn(f"The images aren't listed in {path}: {error}", stacklevel=2)


def warn_of_changes(job: Job | DetectorJob, folder: pathlib.Path) -> None:
    """Warns where the images aren't those any more that the run's folder lists.

    Args:
        job: What was trained.
        folder: The run's folder.
    """
    if job.splits.root is None:
        return
    there = read_files(folder / IMAGES)
    try:
        said = changes_in_words(there, files_of(job.splits)) if there else ""
    except OSError as error:
        said = f"{error.filename} can't be read ({error.strerror})"
    if said:
        warnings.warn(
            f"The images in {as_text(job.splits.root)} changed while the run was trained: "
            f"{said}. It learnt from what there was each time that it read them. To know "
            "what a run learnt, train it anew, in another --output-dir.",
            stacklevel=2,
        )


def as_once_named(job: Job, folder: pathlib.Path) -> tuple[Job, pathlib.Path]:
    """The job and its folder, by the name that the run had if its images have another now.

    A run's name comes from that of the folder of images, where none was asked for.

    Args:
        job: What is to be trained.
        folder: Where it would be.

    Returns:
        The same, unless the folder of another name holds this run on these images.
    """
    named = job.request.name is not None or job.splits.root is None
    if named or (folder / "settings.json").exists():
        return job, folder
    end = f"_seed{job.request.seed}"
    for path in sorted(folder.parent.glob(f"*{end}/settings.json")):
        name = path.parent.name.removesuffix(end)
        if name.startswith(job.name.removesuffix(job.splits.name)):
            if (own := _as_split_in(job, path.parent)) is not None:
                if job.request.verbose and job.hardware.chief:
                    say(f"{path.parent} holds the run on these images.")
                return replace(own, name=name), path.parent
    return job, folder


def _as_split_in(job: Job, folder: pathlib.Path) -> Job | None:
    """The job by the split of the run in a folder, if that is the job's run."""
    try:
        found = read_settings(folder)
        if "split_by" not in found:
            job = _by_position(job)
        if found["data"] != job.splits.sha256:
            return None
        wanted = as_begun(job, begun(folder, job.backend)).settings()
        found = comparable(folder, wanted, is_whole(folder))
    except (ValueError, KeyError):  # Damaged, or of another machine: not to go on with.
        return None
    # A distillation is in the recipe once a teacher has been read.
    others = {key for key, *_ in differences(found, wanted)} - {"distillation"}
    return None if others else job


def _by_position(job: Job) -> Job:
    """The job on its images as earlier versions split them."""
    splits, request = job.splits, job.request
    if splits.split_by == POSITION:
        return job
    if find_splits(splits.root).validation is None:
        whole = join(splits.train, splits.validation)
        splits = replace(splits, train=whole, validation=None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # What is to be said was said of all images.
        fraction = val_fraction(request) or folders.VAL_FRACTION
        splits = with_validation(splits, fraction, request.group, POSITION)
        return decide(request, asked_recipe(request), splits, job.hardware)


def as_trained(run: Run, splits: Splits) -> Splits | None:
    """The splits of a folder as a run had them, wherever the folder lies now.

    Args:
        run: The run.
        splits: Of the folder, as `folders.load` gives them with a ``val_fraction`` of 0.

    Returns:
        The splits; `None` if the folder holds other images than the run was trained on.
    """
    found = _split_as_trained(run, splits)
    if found is None or found.sha256 != run.record["dataset"]["sha256"]:
        return None
    return found


def _split_as_trained(run: Run, splits: Splits) -> Splits | None:
    """The splits of any folder by the rules of a run, if they can be made."""
    if "dataset" not in run.record:
        return None
    asked = run.record["overrides"]
    fraction = asked.get("val_fraction")
    if not isinstance(fraction, float) or not 0 < fraction < 1:
        return None
    split_by = run.record["dataset"].get("split_by") or POSITION
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # What is to be said was said in training.
        try:
            return with_validation(splits, fraction, asked.get("group"), split_by)
        except ValueError:
            return None


def changes_since(run: Run, splits: Splits) -> str:
    """How a folder's images differ from those that a run was trained on, in words.

    Args:
        run: The run.
        splits: As of `as_trained`.

    Returns:
        Text; empty where it isn't known.
    """
    there = read_files(run.folder / IMAGES)
    here = _split_as_trained(run, splits)
    return changes_in_words(there, files_of(here)) if there and here else ""


def count_trained_on(run: Run, examples: Examples) -> int | None:
    """Counts the images that a run was trained on, wherever they lie now.

    Args:
        run: The run.
        examples: Images of a folder.

    Returns:
        The number; `None` where the run doesn't list its images, as of an earlier
        version, and they aren't where they were.
    """
    files = read_files(run.folder / IMAGES) or _files_where_trained(run)
    if not files:
        return None
    return count_shared((f for f in files if f.split == "train"), examples)


def _files_where_trained(run: Run) -> list[File]:
    """The images in the folder that a run was trained on, if it still holds these."""
    place = run.record.get("overrides", {}).get("data")
    if place is None or place in DATASETS or not pathlib.Path(place).is_dir():
        return []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # They are not what is measured.
        try:
            own = as_trained(run, folders.load(place, val_fraction=0))
        except (OSError, ValueError):
            return []
    return [] if own is None else list(files_of(own))
