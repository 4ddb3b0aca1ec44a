"""TensorFlow beside the backend: for images and exports, whichever backend trains."""

from __future__ import annotations

import contextlib
import functools
from types import ModuleType


@functools.cache
def tensorflow() -> ModuleType:
    """Imports TensorFlow, and keeps it off the GPUs on which JAX or PyTorch compute.

    TensorFlow takes nearly all of a GPU's memory with its first operation, so it must be
    told before that. `data`, `export` and `runs` use TensorFlow on every backend, and
    therefore take it from here instead of importing it: nobody has to remember to call
    something first.
    """
    # Not above: the server's process that reads requests needs neither.
    import keras
    import tensorflow as tf

    if keras.backend.backend() != "tensorflow":
        # Where someone else's code has computed with it already, it is too late, and no
        # error: the memory may suffice for both.
        with contextlib.suppress(RuntimeError):
            tf.config.set_visible_devices([], "GPU")
    return tf
