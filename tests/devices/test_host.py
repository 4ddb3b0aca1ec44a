"""What is printed, wherever it goes; functions that graphs share."""

import contextlib
import io

import tensorflow as tf

from keras_resnet.data.bad_examples import remembered
from keras_resnet.devices.host import say, traced_once


@contextlib.contextmanager
def console_of_ascii():
    """What the console of a stranger's process gets, which knows ASCII alone."""
    shown = io.BytesIO()
    with contextlib.redirect_stdout(io.TextIOWrapper(shown, encoding="ascii")) as text:
        yield shown
        text.detach()  # It would close what was shown.


def test_letters_that_a_console_lacks_become_others():
    with console_of_ascii() as shown:
        say("caf\u00e9 \u732b \udce9 1 \u00d7 done")
    assert shown.getvalue() == b"caf? ? ? 1 ? done\n"


def test_what_python_says_of_data_is_shown_there(tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    with console_of_ascii() as shown:
        assert remembered("key", dict, count=100_000, what="\u732b") == {}
    assert b"among the 100,000 of ? ..." in shown.getvalue()


def test_without_a_console_nothing_is_raised():
    with contextlib.redirect_stdout(None):  # As of pythonw on Windows.
        say("caf\u00e9")


def test_graphs_share_what_is_traced_once():
    seen = []

    @traced_once
    def length(text):
        seen.append(tf.executing_eagerly())
        return tf.strings.length(text)

    for text in ("a", "abc"):
        lengths = tf.data.Dataset.from_tensors(text).map(length)
        assert list(lengths.as_numpy_iterator()) == [len(text)]
    assert length(tf.constant("ab")).numpy() == 2
    assert seen == [False, True]
