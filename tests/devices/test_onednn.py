"""oneDNN is switched on where it can be, and nobody is left without a word."""

import os
import subprocess
import sys
import warnings

import keras
import pytest

from keras_resnet.devices import onednn

# What the variable is when something imports Keras, and with it TensorFlow.
CODE = """
import os, sys
os.environ.pop("TF_ENABLE_ONEDNN_OPTS", None)

class Stop:
    def find_spec(self, name, path=None, target=None):
        if name in ("keras", "tensorflow"):
            print(os.environ.get("TF_ENABLE_ONEDNN_OPTS"))
            os._exit(0)

sys.meta_path.insert(0, Stop())
import keras_resnet
print(os.environ.get("TF_ENABLE_ONEDNN_OPTS"))
"""


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("keras_resnet.train", "1"),
        ("keras_resnet.load", "1"),
        ("from keras_resnet.reproduce import plan", "1"),
        ("from keras_resnet.runs.evaluate import evaluate", "1"),
        ("from keras_resnet.runs.export import export", "1"),
        ("keras_resnet.create", "None"),  # It may be for a stranger's own training.
        ("import keras_resnet.callbacks", "None"),
    ],
)
def test_what_trains_and_measures_switches_it_on(statement, expected):
    done = subprocess.run(
        [sys.executable, "-c", CODE + statement], capture_output=True, text=True
    )
    assert done.stdout.split() == ["None", expected], done.stderr


def test_a_users_choice_stays(monkeypatch):
    monkeypatch.delitem(sys.modules, "tensorflow", raising=False)
    monkeypatch.setenv(onednn.VARIABLE, "0")
    onednn.switch_on()
    assert os.environ[onednn.VARIABLE] == "0"


def test_nothing_is_set_where_it_would_be_too_late(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    monkeypatch.delenv(onednn.VARIABLE, raising=False)
    onednn.switch_on()
    assert onednn.VARIABLE not in os.environ


def test_the_state_is_what_tensorflow_says(monkeypatch):
    pytest.importorskip("tensorflow")
    assert keras.backend.backend() == "tensorflow"
    assert onednn.state() is (os.environ[onednn.VARIABLE] not in onednn.OFF)
    monkeypatch.setattr("keras.backend.backend", lambda: "jax")
    assert onednn.state() is None


@pytest.mark.parametrize(
    ("state", "variable", "warned"),
    [
        (False, None, True),
        (False, "1", True),  # Set after the import.
        (False, "0", False),
        (True, None, False),
        (None, None, False),
    ],
)
def test_one_line_says_that_it_is_too_late(monkeypatch, state, variable, warned):
    monkeypatch.setattr(onednn, "state", lambda: state)
    monkeypatch.setattr(onednn.sys, "platform", "linux")
    monkeypatch.delenv(onednn.VARIABLE, raising=False)
    if variable:
        monkeypatch.setenv(onednn.VARIABLE, variable)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        onednn.warn_if_late()
    assert len(caught) == warned
    assert all("TF_ENABLE_ONEDNN_OPTS=1 before" in str(w.message) for w in caught)
