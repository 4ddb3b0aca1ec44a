"""The server's workers."""

import numpy as np
import pytest

from keras_resnet.devices import limits

pytest.importorskip("litserve")


def test_images_are_decoded_on_the_cores_that_there_are(monkeypatch):
    from keras_resnet.serving import worker
    from keras_resnet.serving.servables import Servable

    monkeypatch.setattr(limits, "cores", lambda: 3)
    # What is for a process of its own.
    monkeypatch.setattr(worker, "_end_with_parent", lambda: None)
    monkeypatch.setattr(worker.signal, "signal", lambda *_: None)
    answers = Servable(
        scores=lambda images: np.ones((len(images), 1), np.float32),
        prepare=lambda file: np.zeros((1, 1, 3), np.uint8),
        class_names=("a",),
        shape=(1, 1, 3),
    )
    one = worker.Worker(load=lambda: answers, max_batch_size=1)
    one.setup("cpu")
    assert one.pool._max_workers == 3
