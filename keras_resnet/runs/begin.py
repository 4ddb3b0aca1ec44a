"""How a run begins: its job and folder, which all its workers must agree on."""

import contextlib
import pathlib
import warnings
from functools import partial

import keras

from keras_resnet.devices import agreement
from keras_resnet.devices.find import Devices
from keras_resnet.devices.host import say
from keras_resnet.files import write_json
from keras_resnet.runs import deciding, detector_settle
from keras_resnet.runs.detector_choose import trains_detector
from keras_resnet.runs.detector_job import DetectorJob
from keras_resnet.runs.folder import check_folder, is_seen, lock_folder, take_folder
from keras_resnet.runs.images import as_once_named, list_images
from keras_resnet.runs.job import Job
from keras_resnet.runs.kept import as_once_called, begun
from keras_resnet.runs.refused import explained
from keras_resnet.runs.request import TrainRequest
from keras_resnet.runs.settle import as_begun, settle
from keras_resnet.training.checkpoint_files import updates_done


def settled(
    request: TrainRequest, hardware: Devices
) -> tuple[Job | DetectorJob, pathlib.Path]:
    """The job that is asked for, as its run may have begun it, and the run's folder."""
    if trains_detector(request):
        return detector_settle.settled(request, hardware)
    job = settle(request, hardware)
    folder = as_once_called(job.request, job.name)
    job, folder = as_once_named(job, folder)
    asked = job.precision, job.xla
    job = as_begun(job, begun(folder, job.backend))
    if hardware.workers > 1:
        agreement.must_agree(deciding.of_job(job))
    if (job.precision, job.xla) != asked and request.verbose and hardware.chief:
        say(
            f"The run goes on in {job.precision}, {'with' if job.xla else 'without'} "
            "XLA, as it began; here, 'auto' means something else."
        )
    return job, folder


def taken(
    job: Job | DetectorJob, folder: pathlib.Path, held: contextlib.ExitStack
) -> bool:
    """Takes a folder for a run; tells whether the run is finished there.

    The chief alone decides: the other workers may look before it writes, or after.

    Args:
        job: What is trained.
        folder: The run's folder.
        held: What the chief locks the folder until.

    Raises:
        ValueError: If the folder holds another run, not all workers see it, or another
            worker can't begin. In the second case alone it has been taken.
        RuntimeError: If another process trains there.
    """
    agreement.gathered(None)  # Nothing is written where another worker can't begin.
    finished = False
    if job.hardware.chief:
        explain = partial(explained, job, folder)
        finished = take_folder(folder, job.settings(), held, explain)
        if not finished:
            list_images(job, folder)
    finished = agreement.gathered(finished)[0]
    agreement.must_see(str(folder.resolve()), is_seen(folder))
    if not finished:
        agreement.end()
    return finished


class StaysThere(keras.callbacks.Callback):
    """Makes a run's folder again that was moved or removed while the run was trained.

    Else what is saved from then on would lie in a folder that tells nothing of its run,
    and no run would go on from there.

    Args:
        job: What is trained.
        folder: The run's folder.
        held: What the chief locks the folder until.
    """

    def __init__(
        self, job: Job | DetectorJob, folder: pathlib.Path, held: contextlib.ExitStack
    ) -> None:
        super().__init__()
        self.job: Job | DetectorJob = job
        self.folder: pathlib.Path = folder
        self.held: contextlib.ExitStack = held

    def on_test_begin(self, logs: dict[str, float] | None = None) -> None:
        """Looks at an epoch's end, before it is saved."""
        path = self.folder / "settings.json"
        if not self.job.hardware.chief or path.exists():
            return
        warnings.warn(
            f"{self.folder} was moved or removed while the run was trained. It is made "
            "again, and the run goes on there: what was moved away isn't needed.",
            stacklevel=2,
        )
        self.held.enter_context(lock_folder(self.folder))
        write_json(path, self.job.settings())
        list_images(self.job, self.folder)


def progress(job: Job | DetectorJob, folder: pathlib.Path) -> tuple[bool, int]:
    """How far a run is, as the chief sees it; writes nothing.

    Args:
        job: What is to be trained.
        folder: The run's folder.

    Returns:
        Whether it is finished, and the number of updates done.

    Raises:
        ValueError: If the folder holds another run.
    """
    finished = check_folder(folder, job.settings(), partial(explained, job, folder))
    done = updates_done(folder / "checkpoints")
    # All workers must measure, or none.
    finished, done = agreement.gathered([finished, done])[0]
    agreement.end()
    return finished, done
