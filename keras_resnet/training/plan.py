"""Estimates time and memory of a run from a few updates that are thrown away."""

import datetime
import math
import statistics
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import keras

from keras_resnet.config.detection_recipe import EitherRecipe
from keras_resnet.config.recipe_files import said
from keras_resnet.config.values import to_named_values
from keras_resnet.config.words import counted
from keras_resnet.devices.describe import peak_memory
from keras_resnet.devices.find import Devices
from keras_resnet.training.callbacks import Logs

TIMED = 5  # Updates, after the first, which also traces and compiles.


@dataclass(frozen=True)
class Stage:
    """How long a run's updates on images of one size take, measured on a few of them.

    Attributes:
        side: Side of the images in pixels, `None` where the recipe names none.
        updates: Number of updates to make.
        first: Seconds of the first execution, with tracing and compilation.
        update: Seconds of an update after that; the median of `TIMED`.
    """

    side: int | None
    updates: int
    first: float
    update: float

    @property
    def seconds(self) -> float:
        """How long all its updates take."""
        return self.first + self.updates * self.update


@dataclass(frozen=True)
class Measured:
    """What a few updates of each stage and a few batches of validation took.

    Attributes:
        stages: Each `Stage`, in their order.
        validation_batch: Seconds of a batch of validation.
        memory: Highest number of bytes in use: by the process on a CPU, on GPUs by the
            device that used most. `None` where the backend doesn't tell.
    """

    stages: tuple[Stage, ...]
    validation_batch: float
    memory: int | None


class _Clock(keras.callbacks.Callback):
    """Notes when each batch has ended."""

    def __init__(self) -> None:
        super().__init__()
        self.times: list[float] = []

    def on_train_begin(self, logs: Logs = None) -> None:
        self.times = [time.perf_counter()]

    def on_test_begin(self, logs: Logs = None) -> None:
        self.times = [time.perf_counter()]

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        self.times.append(time.perf_counter())

    def on_test_batch_end(self, batch: int, logs: Logs = None) -> None:
        self.times.append(time.perf_counter())

    def seconds(self) -> tuple[float, float]:
        """Seconds of the first batch, and the median of the others."""
        lengths = [b - a for a, b in zip(self.times, self.times[1:], strict=False)]
        return lengths[0], statistics.median(lengths[1:] or lengths)


def measure(
    model: keras.Model,
    batches: Callable[[int], Iterable[Any]],
    validation: Iterable[Any],
    devices: Devices,
    *,
    stages: Iterable[tuple[int, int, int | None]],
    validation_batches: int,
) -> Measured:
    """Trains a compiled model for a few updates, after which it is of no other use.

    Args:
        model: As `compile_model` left it.
        batches: Function from the updates done to the batches that remain.
        validation: Batches to validate with.
        devices: The `devices.find.Devices` that it is trained on.
        stages: The run's stages: the first update, the end, and the images' side of each.
        validation_batches: Number of batches of a validation.

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
    # No more than there are, of which Keras would warn.
    count = min(2 * at_a_time, validation_batches)
    model.evaluate(validation, steps=count, callbacks=[testing], verbose=0)
    return Measured(
        stages=tuple(timed),
        validation_batch=testing.seconds()[1] / at_a_time,
        memory=peak_memory(devices),
    )


def text(
    name: str,
    recipe: EitherRecipe,
    devices: Devices,
    measured: Measured,
    *,
    done: int,
    examples: int,
    validation_batches: int,
    computing: str,
    notes: Iterable[str],
) -> str:
    """The plan as text.

    Args:
        name: The run's name.
        recipe: Its `Recipe`.
        devices: The `devices.find.Devices` that it is trained on.
        measured: What `measure` returned.
        done: Number of updates that have been made already.
        examples: Number of training images.
        validation_batches: Number of batches of a validation.
        computing: Backend, precision and XLA, in words.
        notes: What is done otherwise here than in the recipe, and why.
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
    done_already = f"; {counted(done, 'update is', 'updates are')} done"
    rows = {
        "run": f"{name}: {recipe.network_name} on {recipe.dataset}",
        "source": recipe.source,
        "devices": f"{count}: {', '.join(devices.all_names)}; {computing}",
        "batch": f"{counted(recipe.batch_size, 'image')}, {recipe.batch_size // count} per "
        "device",
        "updates": f"{recipe.steps:,}, {recipe.steps * recipe.batch_size / examples:.1f} "
        f"epochs of {counted(examples, 'image')}; {counted(validations, 'validation')}"
        + (done_already if done else ""),
        "schedule": said(to_named_values(recipe.schedule)),
        "memory": memory,
        "speed": f"{', '.join(speeds)}, median of a few updates; the first took "
        f"{measured.stages[0].first:.1f} s",
        "time": f"{datetime.timedelta(seconds=round(seconds))} expected, without what "
        "follows training",
    }
    lines = [f"{label:9} {value}" for label, value in rows.items()]
    # How the run differs from its source, where it has one.
    lines += [f"{'notes' if i == 0 else '':9} {note}" for i, note in enumerate(notes)]
    return "\n".join(lines)
