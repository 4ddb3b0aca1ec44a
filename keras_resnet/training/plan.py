"""What a run would take, from a few updates that are made and thrown away."""

import datetime
import math
import statistics
import time
from dataclasses import dataclass

import keras

from keras_resnet.devices.find import peak_memory

TIMED = 5  # Updates, after the first, which also traces and compiles.


@dataclass(frozen=True)
class Stage:
    """The updates of a run on images of one size, by a few of them.

    Attributes:
        side: Of the images in pixels, `None` where the recipe names none.
        updates: That are to be made.
        first: Seconds of the first execution, with tracing and compilation.
        update: Seconds of an update after that; the median of `TIMED`.
    """

    side: int | None
    updates: int
    first: float
    update: float

    @property
    def seconds(self):
        """That all its updates take."""
        return self.first + self.updates * self.update


@dataclass(frozen=True)
class Measured:
    """Of a few updates of each stage and batches of validation.

    Attributes:
        stages: `Stage`, one after the other.
        validation_batch: Seconds of a batch of validation.
        memory: Bytes at the most: of the process on a CPU, allocated on the device with
            the most on GPUs. `None` where the backend doesn't say.
    """

    stages: tuple[Stage, ...]
    validation_batch: float
    memory: int | None


class _Clock(keras.callbacks.Callback):
    def __init__(self):
        super().__init__()
        self.times = []

    def on_train_begin(self, logs=None):
        self.times = [time.perf_counter()]

    def on_test_begin(self, logs=None):
        self.times = [time.perf_counter()]

    def on_train_batch_end(self, batch, logs=None):
        self.times.append(time.perf_counter())

    def on_test_batch_end(self, batch, logs=None):
        self.times.append(time.perf_counter())

    def seconds(self):
        """Of the first, and of the median of the others."""
        lengths = [b - a for a, b in zip(self.times, self.times[1:], strict=False)]
        return lengths[0], statistics.median(lengths[1:] or lengths)


def measure(model, batches, validation, devices, *, stages):
    """Trains a compiled model for a few updates: afterwards it is of no other use.

    Args:
        model: As `compile_model` left it.
        batches: Function from the updates done to the batches that remain.
        validation: Batches.
        devices: `devices.find.Devices`.
        stages: Of the run, triples: the first update, the end, and the images' side.

    Returns:
        A `Measured`.
    """
    timed = []
    at_a_time = model.steps_per_execution
    for begin, end, side in stages:
        training = _Clock()
        begin -= begin % at_a_time  # As the run makes them.
        model.fit(
            batches(begin),
            epochs=1,
            steps_per_epoch=min((1 + TIMED) * at_a_time, max(at_a_time, end - begin)),
            shuffle=False,
            callbacks=[training],
            verbose=0,
        )
        first, update = training.seconds()
        timed.append(Stage(side, end - begin, first, update / at_a_time))
    testing = _Clock()
    model.evaluate(validation, steps=2 * at_a_time, callbacks=[testing], verbose=0)
    return Measured(
        stages=tuple(timed),
        validation_batch=testing.seconds()[1] / at_a_time,
        memory=peak_memory(devices),
    )


def text(
    name,
    recipe,
    devices,
    measured,
    *,
    done,
    examples,
    validation_batches,
    computing,
    notes,
):
    """The plan, for people.

    Args:
        name: Of the run.
        recipe: A `Recipe`.
        devices: `devices.find.Devices`.
        measured: A `Measured`.
        done: Updates that have been made already.
        examples: Number of training images.
        validation_batches: Batches of a validation.
        computing: Of precision, XLA and backend, a line.
        notes: What of the recipe can't be honoured here, and why.
    """
    validations = math.ceil(recipe.steps / recipe.validate_every)
    to_come = validations - done // recipe.validate_every
    seconds = (
        sum(stage.seconds for stage in measured.stages)
        + to_come * validation_batches * measured.validation_batch
    )
    speeds = [
        f"{recipe.batch_size / stage.update:,.1f} images/s"
        + (f" at {stage.side} pixels" if stage.side else "")
        for stage in measured.stages
    ]
    count = devices.replicas
    memory = (
        "not told by this backend"
        if measured.memory is None
        else f"{measured.memory / 2**30:.1f} GiB at the most"
        + (" (the whole process)" if devices.kind == "cpu" else " on one device")
    )
    rows = {
        "run": f"{name}: {recipe.network} on {recipe.dataset}",
        "source": recipe.source,
        "devices": f"{count}: {', '.join(devices.all_names)}; {computing}",
        "batch": f"{recipe.batch_size} images, {recipe.batch_size // count} per device",
        "updates": f"{recipe.steps:,}, {recipe.steps * recipe.batch_size / examples:.1f} "
        f"epochs of {examples:,} images; {validations} validations"
        + (f"; {done:,} updates are done" if done else ""),
        "schedule": f"{recipe.schedule}",
        "memory": memory,
        "speed": f"{', '.join(speeds)}, median of a few updates; the first took "
        f"{measured.stages[0].first:.1f} s",
        "time": f"{datetime.timedelta(seconds=round(seconds))} expected, without what "
        "follows training",
    }
    lines = [f"{label:9} {value}" for label, value in rows.items()]
    lines += [
        f"{'not as published' if i == 0 else '':9} {n}" for i, n in enumerate(notes)
    ]
    return "\n".join(lines)
