"""Serves a classifier without a network; for tests of the server alone.

    python -m tests.helpers.serve_stub PORT DRAIN [ORIGIN ...]

Its three scores are the shares of an image's mean red, green and blue. A file that holds
`SLOW` takes 0.2 s more for each time, one that holds `KILL` ends the worker.
"""

import io
import os
import sys
import time

import numpy as np

SLOW, KILL = b"slow, please", b"end the worker, please"
SHAPE = (8, 8, 3)


def prepare(contents):
    """Bytes of an image file to 8x8 pixels; what follows the image says what to do."""
    from PIL import Image

    if KILL in contents:
        os._exit(3)
    time.sleep(0.2 * contents.count(SLOW))
    try:
        with Image.open(io.BytesIO(contents)) as image:
            return np.asarray(image.convert("RGB").resize(SHAPE[:2]))
    except Exception as error:
        raise ValueError(f"{type(error).__name__}") from error


def scores(images):
    """Shares of the mean colours, float32 ``(n, 3)``."""
    means = images.mean((1, 2)) + 1e-3
    return (means / means.sum(1, keepdims=True)).astype(np.float32)


def load():
    """What is served."""
    from keras_resnet.serving.servables import Servable

    return Servable(scores, prepare, ("red", "grün", "blue"), SHAPE)


if __name__ == "__main__":
    from keras_resnet.serving.queries import RequestLimits
    from keras_resnet.serving.server import serve
    from tests.helpers import serve_stub  # By its name, as the workers know it.

    limits = RequestLimits(
        body=2**20,
        pending=2**21,
        pixels=2**20,
        images=8,
        seconds=8,
        header_seconds=3,
        drain=int(sys.argv[2]),
    )
    serve(
        serve_stub.load,
        name="stub",
        port=int(sys.argv[1]),
        max_batch=8,
        limits=limits,
        cors=sys.argv[3:],
    )
