"""TensorFlow's lines are dropped; all that has no place for them works without."""

import os
import sys
import tempfile

import pytest

from keras_resnet.devices.log_lines import without_log_lines


def test_only_lines_of_tensorflow_are_dropped(capfd):
    with without_log_lines():
        os.write(2, b"I0000 00:00:1795905568.259426    9412 port.cc:153] oneDNN\n")
        os.write(2, b"a warning\n")
    assert capfd.readouterr().err == "a warning\n"


@pytest.mark.parametrize("missing", ["stderr", "place for files"])
def test_nothing_is_dropped_where_it_cannot_be_kept(monkeypatch, capfd, missing):
    def fail():
        raise FileNotFoundError("No usable temporary directory found")

    if missing == "stderr":  # As in Windows' programs without a console.
        monkeypatch.setattr(sys, "stderr", None)
    else:  # As in a container whose file system is read-only.
        monkeypatch.setattr(tempfile, "TemporaryFile", fail)
    before = len(os.listdir("/dev/fd")) if os.path.exists("/dev/fd") else 0
    with without_log_lines():
        os.write(2, b"a warning\n")
    assert capfd.readouterr().err == "a warning\n"
    assert not before or len(os.listdir("/dev/fd")) == before
