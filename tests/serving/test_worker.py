"""The server's workers."""

import queue
import threading
import time
import types
from dataclasses import replace

import numpy as np
import pytest

from keras_resnet.devices import limits

pytest.importorskip("litserve")


def made(monkeypatch, servable, **options):
    """A worker in this process."""
    from keras_resnet.serving import worker

    # What is for a process of its own.
    monkeypatch.setattr(worker, "_end_with_parent", lambda: None)
    monkeypatch.setattr(worker.signal, "signal", lambda *_: None)
    one = worker.Worker(load=lambda: servable, **options)
    one.setup("cpu")
    return one


def servable_by(prepare):
    from keras_resnet.serving.servables import Servable

    return Servable(
        scores=lambda images: np.ones((len(images), 1), np.float32),
        prepare=prepare,
        class_names=("a",),
        shape=(1, 1, 3),
    )


def black(file):
    return np.zeros((1, 1, 3), np.uint8)


def test_images_are_decoded_on_the_cores_that_there_are(monkeypatch):
    monkeypatch.setattr(limits, "cores", lambda: 3)
    one = made(monkeypatch, servable_by(black), max_batch_size=1)
    assert one.pool._max_workers == 3


def test_images_of_several_requests_are_decoded_at_once(monkeypatch):
    from keras_resnet.serving.queries import Query
    from keras_resnet.serving.rest import rows_of

    monkeypatch.setattr(limits, "cores", lambda: 3)
    # Each waits until there are three.
    together = threading.Barrier(3, timeout=30)

    def prepare(file):
        if file.startswith(b"good"):
            together.wait()
        if file == b"bad":
            raise ValueError("no image")
        return black(file)

    one = made(monkeypatch, servable_by(prepare), max_batch_size=4)
    files = [b"good 1"], [b"bad"], [b"good 2"], [b"good 3"]
    replies = one.predict(one.batch([Query(each, rows_of) for each in files]))
    assert [reply.status for reply in replies] == [200, 400, 200, 200]


def test_numbers_that_json_does_not_have_are_an_error(monkeypatch):
    from keras_resnet.serving.queries import Query
    from keras_resnet.serving.rest import rows_of

    servable = replace(
        servable_by(black),
        scores=lambda images: np.full((len(images), 1), np.nan, np.float32),
    )
    one = made(monkeypatch, servable, max_batch_size=4)
    [reply] = one.predict(one.batch([Query([b"file"], rows_of)]))
    assert reply.status == 500 and b"NaN" in reply.body


def test_queries_without_images_fill_a_batch_too():
    from keras_resnet.serving.queries import Query
    from keras_resnet.serving.rest import rows_of
    from keras_resnet.serving.worker import Loop

    waiting = queue.Queue()
    for number in range(5):
        waiting.put((0, number, time.monotonic() + 60, Query([], rows_of)))
    api = types.SimpleNamespace(max_batch_size=3, batch_timeout=0.0)
    batch, _ = Loop.get_batch_requests(None, api, waiting, None)
    assert [uid for _, uid, _ in batch] == [0, 1, 2]
