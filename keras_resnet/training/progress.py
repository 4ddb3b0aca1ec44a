"""A callback that prints one readable line on how training goes."""

import datetime
import threading
import time
from collections.abc import Sequence
from typing import Any, TextIO

import keras
import numpy as np

from keras_resnet.config.detection_recipe import EitherRecipe
from keras_resnet.config.recipe import first_steps
from keras_resnet.training.callbacks import (
    Logs,
    Steps,
    last_learning_rate,
    synchronize,
    updates_done,
)
from keras_resnet.training.line import Line

SECONDS_BETWEEN = 0.5  # Of a line that redraws itself.
SECONDS_BETWEEN_LINES = 60.0  # Of lines in a file or over a slow connection.
SECONDS_IN_SILENCE = 3.0  # Before the first update: a small network needs no line.


class Progress(keras.callbacks.Callback):
    """Prints how far training is, how fast it goes and when it will end.

    Loss and metrics are running means over the epoch; the speed is that of the last
    seconds. The time left includes validation, and where the images change their size
    it takes an update to last as long as it has pixels. Where the first update, for which
    the network is traced and compiled, takes more than a few seconds, a line says so and
    another how long it took. Pass ``verbose=0`` to `fit`, or Keras prints its own line
    as well.

    Args:
        steps: `Steps` that count the updates; `None` asks the optimizer.
        total: Updates in total; `None` takes those of `fit`'s epochs, where Keras knows
            how many there are.
        batch_size: Images per update; without, the speed is in updates per second.
        examples: Images per pass over the training data; without, ``epoch`` is `fit`'s.
        image_sizes: Sides of the training images: pairs of the share of the updates
            from which on, rising from 0, and pixels. Empty for images of one size.
        redraw: Whether one line is drawn over and over, as a terminal and a notebook
            can, or a new one printed every minute. `None` asks whether ``file`` is one
            of them.
        file: Where to print; standard output by default.
    """

    def __init__(
        self,
        steps: Steps | None = None,
        *,
        total: int | None = None,
        batch_size: int | None = None,
        examples: int | None = None,
        image_sizes: Sequence[tuple[float, int]] = (),
        redraw: bool | None = None,
        file: TextIO | None = None,
    ) -> None:
        super().__init__()
        self.steps: Steps | None = steps
        self.given_total: int | None = total
        self.batch_size: int | None = batch_size
        self.examples: int | None = examples
        self.image_sizes: Sequence[tuple[float, int]] = image_sizes
        self.line: Line = Line(file, redraw)
        self.epoch: int = 0
        self.total: int | None = None
        # Pixels of all images until an update: a broken line through these points.
        self.knots: np.ndarray = np.zeros(1)
        self.pixels: np.ndarray = np.zeros(1)
        self.first: int | None = None  # Updates before those whose time is taken.
        self.began: float | None = None
        self.drawn: float = 0.0
        self.drawn_at: int = 0
        self.last: tuple[dict[str, Any], float] = {}, 0.0
        self.updated: bool = False  # Since it was made, over all calls of `fit`.
        self.waits_since: float = 0.0
        self.timer: threading.Timer | None = None

    def on_train_begin(self, logs: Logs = None) -> None:
        self.first, self.began = None, None
        if not self.updated:
            self.waits_since = time.monotonic()
            self.timer = threading.Timer(SECONDS_IN_SILENCE, self._say_it_prepares)
            self.timer.daemon = True
            self.timer.start()

    def on_test_begin(self, logs: Logs = None) -> None:
        self.end()  # A validation that an earlier process left comes first.

    def on_train_end(self, logs: Logs = None) -> None:
        self.end()

    def end(self) -> None:
        """Says nothing more by itself, as when training ends with an error."""
        if self.timer is not None:
            self.timer.cancel()
            self.timer.join()  # Lest its line comes after the next one.
            self.timer = None

    def _say_it_prepares(self) -> None:
        self.line.draw(
            "Preparing the first update, which takes longer than the others."
        )

    def _say_it_is_prepared(self, now: float) -> None:
        self.end()
        self.updated = True
        if now - self.waits_since > SECONDS_IN_SILENCE:
            seconds = round(now - self.waits_since)
            self.line.end(f"The first update took {seconds} s.")

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:
        self.epoch = epoch
        done = updates_done(self.steps, self.model)
        if self.first is None:
            self.first = done
            self._set_total(done)
        # After what the last one ended with: validation, saving, others' logs.
        self.drawn, self.drawn_at = time.monotonic(), done

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        now = time.monotonic()
        self.last = logs or {}, now
        if not self.updated:
            self._say_it_is_prepared(now)
        if self.began is None:  # The first update also traces and compiles.
            done = updates_done(self.steps, self.model)
            self.began, self.first = now, done
            self.drawn, self.drawn_at = now, done
        elif now - self.drawn >= self._between():
            self.line.draw(self._line(*self.last))
            self.drawn, self.drawn_at = now, updates_done(self.steps, self.model)

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        logs = logs or {}
        validation = {
            name.removeprefix("val_"): value
            for name, value in logs.items()
            if name.startswith("val_")
        }
        trained = {name: logs[name] for name in logs if not name.startswith("val_")}
        last, when = self.last
        # Without an update there was only a validation, which an earlier process left.
        line = self._line(last or trained, when)
        if validation:
            line += f"  validation: {', '.join(_named(validation))}"
        self.line.end(line)

    def _set_total(self, done: int) -> None:
        """Notes the updates in total, and the pixels of all images until each of them."""
        self.total = self.given_total
        params = self.params or {}
        if self.total is None and params.get("steps") and params.get("epochs"):
            self.total = done + (params["epochs"] - self.epoch) * params["steps"]
        if self.total is None:
            return
        begins = first_steps(self.image_sizes, self.total) or [0]
        sides = [side for _, side in self.image_sizes] or [1]
        self.knots = np.array([*begins, self.total], float)
        pixels = np.diff(self.knots) * np.square(sides, dtype=float)
        self.pixels = np.concatenate([[0], np.cumsum(pixels)])

    def _between(self) -> float:
        return SECONDS_BETWEEN if self.line.redraw else SECONDS_BETWEEN_LINES

    def _line(self, logs: dict[str, Any], now: float) -> str:
        synchronize(self.model)
        done = updates_done(self.steps, self.model)
        rate = last_learning_rate(self.model.optimizer)
        of_all = "" if self.total is None else f"/{self.total:,}"
        epoch = f"{self.epoch + 1}"
        if self.batch_size and self.examples:
            epoch = f"{done * self.batch_size / self.examples:.1f}"
        # What is asked first comes first: a narrow terminal shows no more.
        parts = [f"update {done:,}{of_all}"]
        if self.total and self.began is not None and done > self.first:
            left = self._left(now - self.began, done)
            parts.append(f"{datetime.timedelta(seconds=round(left))} left")
        parts += [*_named(logs), f"epoch {epoch}"]
        seconds = now - self.drawn
        if seconds > 0 and done > self.drawn_at:
            speed = (done - self.drawn_at) / seconds
            parts.append(
                f"{speed * self.batch_size:,.0f} images/s"
                if self.batch_size
                else f"{speed:.3g} updates/s"
            )
        parts.append(f"lr {rate:.4g}")
        return "  ".join(parts)

    def _left(self, seconds: float, done: int) -> float:
        """Seconds to the end, after so many since the first update."""
        # Beyond the end, where training is longer than `total` says, nothing is left.
        first, here = np.interp([self.first or 0, done], self.knots, self.pixels)
        return (
            seconds / (here - first) * (self.pixels[-1] - here) if here > first else 0
        )


def progress_of(
    recipe: EitherRecipe, steps: Steps, examples: int, verbose: int
) -> list[Progress]:
    """The callback that prints how far a run is, if anything is to be printed.

    Args:
        recipe: The run's.
        steps: `Steps` that count its updates.
        examples: Number of training images.
        verbose: As of `fit`.
    """
    if not verbose:
        return []
    progress = Progress(
        steps,
        total=recipe.steps,
        batch_size=recipe.batch_size,
        examples=examples,
        image_sizes=recipe.image_sizes,
        redraw=None if verbose == 1 else False,
    )
    return [progress]


def _named(logs: dict[str, Any]) -> list[str]:
    """Each metric with its name, the loss first, accuracies and precisions in percent."""
    return [
        _said(name, float(logs[name]))
        for name in sorted(logs, key=lambda name: (name != "loss", name))
    ]


def _said(name: str, value: float) -> str:
    is_share = name.endswith("accuracy") or "precision" in name
    return f"{name} {100 * value:.2f} %" if is_share else f"{name} {value:.4f}"
