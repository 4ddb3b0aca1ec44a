"""Runtimes of exported networks take the threads that a process may use."""

import sys
from types import SimpleNamespace

import pytest

from keras_resnet.devices import limits
from keras_resnet.export import load


class Taken(Exception):
    """Of a test: a runtime was asked for."""


@pytest.fixture
def quota(monkeypatch):
    """Three cores' time of many cores."""
    monkeypatch.setattr(limits, "cores", lambda: 3)
    monkeypatch.setattr(limits, "cpu_quota", lambda: 3)


def test_litert_takes_the_cores_that_there_are(tmp_path, monkeypatch, quota):
    taken = []

    def interpreter(path, num_threads):
        taken.append(num_threads)
        raise Taken

    name = "ai_edge_litert.interpreter"
    monkeypatch.setitem(sys.modules, name, SimpleNamespace(Interpreter=interpreter))
    with pytest.raises(Taken):
        load._open_litert(tmp_path, "float32")
    assert taken == [3]


@pytest.mark.parametrize("has_quota", [True, False])
def test_others_are_told_of_a_quota_alone(tmp_path, monkeypatch, quota, has_quota):
    if not has_quota:
        monkeypatch.setattr(limits, "cpu_quota", lambda: None)
    threads = []

    def session(path, options, providers):
        threads.append(options.intra_op_num_threads)

    class Core:
        def compile_model(self, path, device, properties):
            threads.append(properties["INFERENCE_NUM_THREADS"])

    onnxruntime = SimpleNamespace(
        SessionOptions=SimpleNamespace, InferenceSession=session
    )
    monkeypatch.setitem(sys.modules, "onnxruntime", onnxruntime)
    monkeypatch.setitem(sys.modules, "openvino", SimpleNamespace(Core=Core))
    load._open_onnx(tmp_path, "float32")
    load._open_openvino(tmp_path, "float32")
    assert threads == 2 * [3 if has_quota else 0]
