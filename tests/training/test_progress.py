"""The progress line: one line that says where training stands."""

import io
import re

import keras
import numpy as np
import pytest

from keras_resnet.training import progress
from keras_resnet.training.callbacks import Steps


def written(monkeypatch, redraw):
    for name in ("SECONDS_BETWEEN", "SECONDS_BETWEEN_LINES"):
        monkeypatch.setattr(progress, name, 0.0)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(16)])
    model.compile(
        keras.optimizers.SGD(0.1),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    x, y = np.ones((12, 3), "float32"), np.zeros(12)
    file = io.StringIO()
    steps = Steps(6)
    line = progress.Progress(
        steps, total=6, batch_size=4, examples=12, redraw=redraw, file=file
    )
    model.fit(
        x,
        y,
        batch_size=4,
        epochs=2,
        validation_data=(x, y),
        callbacks=[steps, line],
        verbose=0,
    )
    return file.getvalue()


def test_a_terminal_sees_one_line_per_validation(monkeypatch):
    text = written(monkeypatch, redraw=True)
    assert text.count("\n") == 2
    last = text.split("\n")[1].split("\r")[-1]
    assert last.startswith("update 6/6  epoch 2.0  loss ")
    assert re.search(
        r"accuracy \d+\.\d\d %  lr 0.1  [\d,]+ images/s  0:00:00 left", text
    )
    assert re.search(r"validation: loss \d+\.\d{4}, accuracy \d+\.\d\d %", last)


def test_a_file_gets_no_line_twice(monkeypatch):
    text = written(monkeypatch, redraw=False)
    assert "\r" not in text
    assert text.count("\n") == 5 + 2  # The first update compiles.


def test_the_time_left_heeds_the_size_of_images():
    line = progress.Progress(total=10, image_sizes=((0.0, 64), (0.5, 128)))
    line._set_total(0)
    line.first = 1
    assert line._left(1.0, done=2) == 3 + 5 * 4


@pytest.mark.parametrize("longer", ["a line that is long", "short"])
def test_a_shorter_line_leaves_nothing_of_a_longer_one(longer):
    file = io.StringIO()
    line = progress.Progress(Steps(6), redraw=True, file=file)
    line._write(longer, final=False)
    line._write("abc", final=False)
    assert file.getvalue().split("\r")[-1] == "abc".ljust(len(longer))


def test_progress_of_a_strangers_fit(monkeypatch):
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LINES", 0.0)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(16)])
    model.compile(keras.optimizers.SGD(0.1), "mse", metrics=["mae"])
    file = io.StringIO()
    x = np.ones((12, 3), "float32")
    line = progress.Progress(file=file)
    model.fit(x, np.ones((12, 16)), batch_size=4, epochs=2, callbacks=[line], verbose=0)
    last = file.getvalue().split("\n")[-2]
    assert re.fullmatch(
        r"update 6/6  epoch 2  loss \d+\.\d{4}  mae \d+\.\d{4}  lr 0.1"
        r"(  [\d.e+]+ updates/s)?  0:00:00 left",
        last,
    )
