"""Imports Keras and TensorFlow without TensorFlow's start-up messages."""

import contextlib
import importlib
import os
import re
import sys
import tempfile
from collections.abc import Iterator

from keras_resnet.devices.host import tensorflow

# "I0000 00:00:1795905568.259426    9412 port.cc:153] oneDNN custom operations are on."
LOG_LINE = re.compile(rb"[IW]\d{4} [\d:.]+ +\d+ \w+\.cc:\d+\] ")
# Errors that only say that there is no GPU for CUDA.
NO_GPU = re.compile(rb"E\d{4} [\d:.]+ +\d+ \w+\.cc:\d+\] .*(cuInit|cudart|factory)")
FIRST_LINE = b"WARNING: All log messages before absl::InitializeLog() is called"


def import_frameworks(*names: str, look_for_gpus: bool = False) -> None:
    """Imports modules and drops what TensorFlow's C++ code logs meanwhile.

    TensorFlow 2.21 writes it to the process's standard error whatever
    ``TF_CPP_MIN_LOG_LEVEL`` is. All other lines are passed on afterwards.

    Args:
        *names: Of modules, such as ``"keras"``.
        look_for_gpus: Whether to have TensorFlow look for GPUs, of which it logs as well.
    """
    with _without_log_lines():
        for name in names:
            importlib.import_module(name)
        if look_for_gpus:
            tensorflow().config.list_physical_devices("GPU")


@contextlib.contextmanager
def _without_log_lines() -> Iterator[None]:
    sys.stderr.flush()
    try:
        kept = os.dup(2)
    except OSError:  # The process has no standard error.
        yield
        return
    with tempfile.TemporaryFile() as file:
        os.dup2(file.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(kept, 2)
            os.close(kept)
            file.seek(0)
            for line in file:
                logged = LOG_LINE.match(line) or NO_GPU.match(line)
                if not (logged or line.startswith(FIRST_LINE)):
                    os.write(2, line)
