"""The progress line: one line that says where training stands."""

import io
import re
import sys
import time
import tracemalloc
from types import SimpleNamespace

import keras
import numpy as np
import pytest

from keras_resnet.training import progress
from keras_resnet.training.callbacks import Steps
from keras_resnet.training.line import Line
from tests.helpers.terminal import Terminal, rows_of


def written(monkeypatch, redraw, terminal=None):
    for name in ("SECONDS_BETWEEN", "SECONDS_BETWEEN_LINES"):
        monkeypatch.setattr(progress, name, 0.0)
    monkeypatch.setattr(progress, "SECONDS_IN_SILENCE", 600)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(16)])
    model.compile(
        keras.optimizers.SGD(0.1),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    x, y = np.ones((12, 3), "float32"), np.zeros(12)
    file = terminal.file if terminal else io.StringIO()
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
    return terminal.read() if terminal else file.getvalue()


def test_a_terminal_sees_one_line_per_validation(monkeypatch):
    text = written(monkeypatch, redraw=True)
    assert text.count("\n") == 2
    last = text.split("\n")[1].split("\r")[-1]
    assert last.startswith("update 6/6  0:00:00 left  loss ")
    # The line ends at the terminal's width: "2,994 images/s" or "12,994 imag…".
    assert re.search(r"\d left  loss \S+  accuracy \S+ %  epoch \S+  [\d,]+ i", text)
    assert re.search(r"validation: loss \d+\.\d{4}, accuracy \d+\.\d\d %", last)


def test_shares_are_shown_in_percent():
    """As `fit` gives them and `detection.callbacks.AveragePrecision` does: 0 to 1."""
    logs = {"average_precision": 0.895, "accuracy": 0.5, "loss": 2.0, "recall": 0.25}
    assert progress._named(logs) == [
        "loss 2.0000",
        "accuracy 50.00 %",
        "average_precision 89.50 %",
        "recall 0.2500",
    ]


def test_a_file_gets_no_line_twice(monkeypatch):
    text = written(monkeypatch, redraw=False)
    assert "\r" not in text
    assert text.count("\n") == 5 + 2  # The first update compiles.


def test_a_long_first_update_is_told_of(monkeypatch):
    monkeypatch.setattr(progress, "SECONDS_IN_SILENCE", 0.05)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    file = io.StringIO()
    line = progress.Progress(total=6, redraw=False, file=file)
    slow = keras.callbacks.LambdaCallback(  # As if tracing took so long.
        on_train_batch_begin=lambda batch, logs: time.sleep(1.6 if batch == 0 else 0)
    )
    for _ in range(2):  # In the second call of `fit` nothing is traced.
        model.fit(
            np.ones((6, 3)), np.ones(6), batch_size=2, verbose=0, callbacks=[slow, line]
        )
    assert re.fullmatch(
        "Preparing the first update, which takes longer than the others.\n"
        r"The first update took [1-9]\d* s.\n(update .*\n)*",
        file.getvalue(),
    )


def test_an_end_before_the_first_update_is_silent(monkeypatch):
    monkeypatch.setattr(progress, "SECONDS_IN_SILENCE", 0.2)
    file = io.StringIO()
    for end in ("on_train_end", "on_test_begin", "end"):
        line = progress.Progress(file=file)
        line.on_train_begin()
        getattr(line, end)()
    time.sleep(0.4)
    assert file.getvalue() == ""


def test_the_time_left_heeds_the_size_of_images():
    line = progress.Progress(total=10, image_sizes=((0.0, 64), (0.5, 128)))
    line._set_total(0)
    line.first = 1
    assert line._left(1.0, done=2) == 3 + 5 * 4


@pytest.fixture(params=[80, 40])
def terminal(request):
    opened = Terminal(request.param)
    opened.columns = request.param
    yield opened
    opened.close()


def test_a_line_longer_than_the_terminal_takes_one_row(terminal):
    line = Line(terminal.file)
    for _ in range(5):
        line.draw("update 1,234/64,000  " * 6)
    line.draw("short")
    text = terminal.read()
    assert rows_of(text, terminal.columns) == 1
    last = text.split("\r")[-1]
    assert last.rstrip() == "short"  # And blanks over what the longer ones left.
    assert len(last) == terminal.columns - 1
    assert "…" in text


def test_the_line_follows_a_change_of_the_terminals_width(terminal):
    line = Line(terminal.file)
    line.draw("x" * 200)
    terminal.read()
    for columns in (50, 20, 120):
        terminal.resize(columns)
        line.draw("x" * 200)
        assert len(terminal.read().removeprefix("\r")) == columns - 1


def test_a_line_that_stays_is_whole(terminal):
    line = Line(terminal.file)
    line.draw("update 1")
    line.end("x" * 100 + " validation")
    assert terminal.read().replace("\r\n", "\n").endswith("x validation\n")


def test_training_in_a_terminal_takes_a_row_per_validation(monkeypatch, terminal):
    text = written(monkeypatch, redraw=None, terminal=terminal)
    shown = text.replace("\r\n", "\n")
    drawn = [part for part in re.split("[\r\n]", shown) if "validation" not in part]
    assert len(drawn) > 5
    assert max(map(len, drawn)) == terminal.columns - 1


def test_a_notebooks_output_is_replaced(monkeypatch):
    shown = []

    class Output:
        def update(self, content, raw):
            shown[-1] = content["text/plain"]

    def display(content, raw, display_id):
        shown.append(content["text/plain"])
        return Output()

    of_a_kernel = type(
        "OutStream", (io.StringIO,), {"__module__": "ipykernel.iostream"}
    )
    module = SimpleNamespace(display=display)
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(display=module))
    monkeypatch.setitem(sys.modules, "IPython.display", module)
    line = Line(of_a_kernel())
    for text in ("update 1", "update 2"):
        line.draw(text)
    line.end("validation 1")
    line.draw("update 3")
    assert shown == ["validation 1", "update 3"]
    assert line.file.getvalue() == ""


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
        r"update 6/6  0:00:00 left  loss \d+\.\d{4}  mae \d+\.\d{4}  epoch 2"
        r"(  [\d.e+]+ updates/s)?  lr 0.1",
        last,
    )


def test_a_long_training_takes_no_more_memory():
    line = progress.Progress(total=10**9, image_sizes=((0.0, 64), (0.5, 128)))
    tracemalloc.start()
    line._set_total(0)
    assert tracemalloc.get_traced_memory()[1] < 100_000
    tracemalloc.stop()
    line.first = 0
    # A second for each of the first half, four for those that are left.
    assert line._left(3e8, done=3 * 10**8) == pytest.approx(2e8 + 4 * 5e8)
    assert line._left(1.0, done=2 * 10**9) == 0
