"""One readable line on how training goes."""

import datetime
import os
import sys
import time

import keras
import numpy as np

from keras_resnet.config.recipe import first_steps
from keras_resnet.training.callbacks import last_learning_rate, synchronize

SECONDS_BETWEEN = 0.5  # Of a line that redraws itself.
SECONDS_BETWEEN_LINES = 60.0  # Of lines in a file or over a slow connection.


class Progress(keras.callbacks.Callback):
    """Says how far training is, how fast it goes and when it will end.

    Loss and accuracy are running means since the last validation; the speed is that of
    the last seconds. The time left counts validations in, and updates by the pixels of
    their images where a recipe trains on several sizes.

    Args:
        recipe: A `Recipe`.
        examples: Images per epoch.
        steps: `callbacks.Steps`.
        redraw: Whether one line is drawn over and over, as a terminal and a notebook
            can, or a new one written every minute.
        file: Where to; standard output by default.
    """

    def __init__(self, recipe, examples, steps, *, redraw, file=None):
        super().__init__()
        self.steps = steps
        self.recipe = recipe
        self.examples = examples
        self.redraw = redraw
        self.file = file or sys.stdout
        self.width = 0
        pixels = np.ones(recipe.steps)
        begins = first_steps(recipe.image_sizes, recipe.steps)
        for begin, (_, side) in zip(begins, recipe.image_sizes, strict=True):
            pixels[begin:] = side**2
        self.pixels = np.concatenate([[0], np.cumsum(pixels)])  # Until each update.

    def on_train_begin(self, logs=None):
        self.first = self.steps.done
        self.began = None

    def on_epoch_begin(self, epoch, logs=None):
        # After what the last one ended with: validation, saving, others' logs.
        self.drawn, self.drawn_at = time.monotonic(), self.steps.done

    def on_train_batch_end(self, batch, logs=None):
        now = time.monotonic()
        if self.began is None:  # The first update also traces and compiles.
            self.began, self.first = now, self.steps.done
            self.drawn, self.drawn_at = now, self.steps.done
        elif now - self.drawn >= self._between():
            self._write(self._line(logs, now), final=not self.redraw)
            self.drawn, self.drawn_at = now, self.steps.done
        self.last = logs, now

    def on_epoch_end(self, epoch, logs=None):
        validation = (
            f"  validation: loss {logs['val_loss']:.4f}, "
            f"accuracy {100 * logs['val_accuracy']:.2f} %"
        )
        self._write(self._line(*self.last) + validation, final=True)

    def _between(self):
        return SECONDS_BETWEEN if self.redraw else SECONDS_BETWEEN_LINES

    def _line(self, logs, now):
        recipe, done = self.recipe, self.steps.done
        synchronize(self.model)
        rate = last_learning_rate(self.model.optimizer)
        parts = [
            f"update {done:,}/{recipe.steps:,}",
            f"epoch {done * recipe.batch_size / self.examples:.1f}",
            f"loss {float(logs['loss']):.4f}",
            f"accuracy {100 * float(logs['accuracy']):.2f} %",
            f"lr {rate:.4g}",
        ]
        seconds = now - self.drawn
        if seconds > 0 and done > self.drawn_at:
            speed = (done - self.drawn_at) * recipe.batch_size / seconds
            parts.append(f"{speed:,.0f} images/s")
        if self.began is not None and done > self.first:
            left = self._left(now - self.began)
            parts.append(f"{datetime.timedelta(seconds=round(left))} left")
        return "  ".join(parts)

    def _left(self, seconds):
        """Seconds to the end, after so many since the first update."""
        done, first = self.pixels[[self.steps.done, self.first]]
        return seconds / (done - first) * (self.pixels[-1] - done)

    def _write(self, line, final):
        if self.redraw:
            # Blanks over what a longer line has left.
            line, self.width = "\r" + line.ljust(self.width), len(line)
        if final:
            line, self.width = line + "\n", 0
        try:
            self.file.write(line)
            self.file.flush()
        except OSError:  # Nobody reads any more, which is no reason to stop.
            self.file = open(os.devnull, "w")  # noqa: SIM115
