"""What `train` prints when it begins and at its end."""

import pathlib

from keras_resnet.config.adapted import augmentation_in_words
from keras_resnet.devices.host import say
from keras_resnet.runs.folder import damage_in
from keras_resnet.runs.job import Job
from keras_resnet.runs.load import facts_in
from keras_resnet.runs.record import read_record, summary
from keras_resnet.runs.request import TrainRequest
from keras_resnet.training import checkpoint


def say_begins(job: Job, folder: pathlib.Path) -> None:
    """Prints what is trained on which devices, and which examples are left out."""
    if not job.request.verbose:
        return
    say(f"Found {job.splits.counts}.")
    if damage := damage_in(folder):
        some = checkpoint.checkpoints(folder / "checkpoints")
        how = "made again from the last checkpoint" if some else "trained again"
        say(f"{damage} It is {how}.")
    if names := job.splits.skipped:
        more = ", …" if len(names) > 10 else ""
        say(f"{len(names)} bad examples are left out: {', '.join(names[:10])}{more}")
    where = ", ".join(job.hardware.all_names)
    say(f"Training {job.spec.name} on {where} in {job.precision}.")
    height, width = job.preprocessing.size
    changes = augmentation_in_words(job.recipe)
    say(f"Images of {height}x{width} pixels; augmentation: {changes}.")


def say_finished(folder: pathlib.Path, request: TrainRequest) -> pathlib.Path:
    """Prints that a run is finished, and its results; returns its folder."""
    said = f"{folder} is finished: there is nothing to train.\n"
    say_results(folder, request, said)
    return folder


def say_results(folder: pathlib.Path, request: TrainRequest, first: str = "") -> None:
    """Prints the results of a finished run, and its files.

    Raises:
        ValueError: If its record was damaged or edited.
    """
    record = read_record(folder / "record.json")
    facts_in(record, folder)
    if request.verbose:
        say(first + summary(record, folder))
