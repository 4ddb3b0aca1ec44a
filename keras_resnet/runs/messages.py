"""What `train` prints when it begins and at its end."""

import pathlib
import warnings

from keras_resnet.devices.host import say
from keras_resnet.runs.detector_job import DetectorJob
from keras_resnet.runs.folder import damage_in
from keras_resnet.runs.from_record import check_facts
from keras_resnet.runs.job import Job
from keras_resnet.runs.record import read_record, summary
from keras_resnet.runs.refused import command
from keras_resnet.runs.request import TrainRequest
from keras_resnet.training.checkpoint_files import checkpoints
from keras_resnet.training.snapshots import snapshot_updates, snapshots_in


def say_begins(job: Job | DetectorJob, folder: pathlib.Path) -> None:
    """Prints what is trained on which devices, and which examples are left out."""
    if not job.request.verbose:
        return
    say(f"Found {job.splits.counts}.")
    if damage := damage_in(folder):
        some = checkpoints(folder / "checkpoints")
        how = "made again from the last checkpoint" if some else "trained again"
        say(f"{damage} It is {how}.")
    if names := job.splits.skipped:
        more = ", …" if len(names) > 10 else ""
        say(f"{len(names)} bad examples are left out: {', '.join(names[:10])}{more}")
    where = ", ".join(job.hardware.all_names)
    say(f"Training {job.spec.name} on {where} in {job.precision}.")
    say(job.seen())


def say_finished(folder: pathlib.Path, request: TrainRequest) -> pathlib.Path:
    """Prints that a run is finished, and its results; returns its folder.

    A warning tells which snapshots are asked for that it doesn't have.
    """
    if request.snapshots is not None:
        _warn_of_snapshots(folder, request)
    said = f"{folder} is finished: there is nothing to train.\n"
    say_results(folder, request, said)
    return folder


def _warn_of_snapshots(folder: pathlib.Path, request: TrainRequest) -> None:
    steps = read_record(folder / "record.json")["steps"]
    wanted = snapshot_updates(request.snapshots, steps)
    there = snapshots_in(folder).keys() & set(wanted)
    if len(there) == len(wanted):
        return
    name = folder.name.removesuffix(f"_seed{request.seed}")
    again = command(request, {"name": f"{name}_with_snapshots"})
    warnings.warn(
        f"{folder} is finished and has {len(there) or 'none'} of the {len(wanted)} sets of "
        "weights that `snapshots` (--snapshots) asks for: they are kept while a run is "
        f"trained. To get them, train it again under another name:\n  {again}",
        stacklevel=3,
    )


def say_results(folder: pathlib.Path, request: TrainRequest, first: str = "") -> None:
    """Prints the results of a finished run, and its files.

    Raises:
        ValueError: If its record was damaged or edited.
    """
    record = read_record(folder / "record.json")
    check_facts(record, folder)
    if request.verbose:
        say(first + summary(record, folder))
