"""Keeps what libraries tell of themselves out of a program's output."""

import contextlib
import io
import logging
import os
import re
import sys
import tempfile
import warnings
from collections.abc import Iterator

DROPPED = (  # Of TensorFlow's C++ code.
    # "I0000 00:00:1795905568.259426    9412 port.cc:153] oneDNN custom operations are on."
    re.compile(rb"[IW]\d{4} [\d:.]+ +\d+ \w+\.cc:\d+\] "),
    # Errors that only say that there is no GPU for CUDA.
    re.compile(rb"E\d{4} [\d:.]+ +\d+ \w+\.cc:\d+\] .*(cuInit|cudart|factory)"),
    re.compile(rb"WARNING: All log messages before absl::InitializeLog\(\) is called"),
    re.compile(rb"To enable the following instructions: "),
    re.compile(rb"INFO: (Created|Initialized) TensorFlow Lite "),  # And LiteRT.
    re.compile(rb"INFO:tensorflow:Assets written to"),
)


@contextlib.contextmanager
def without_log_lines() -> Iterator[None]:
    """Drops such lines in its scope; passes all others on when it ends.

    TensorFlow 2.21 writes some of them to the process's standard error whatever
    ``TF_CPP_MIN_LOG_LEVEL`` is. Errors stay, but those that say that there is no GPU.
    """
    with contextlib.ExitStack() as held:
        try:
            _flush()
            kept = os.dup(2)
            held.callback(os.close, kept)
            file = held.enter_context(tempfile.TemporaryFile())
        except OSError:  # No standard error, or no place for files, not even in /tmp.
            yield
            return
        os.dup2(file.fileno(), 2)
        try:
            yield
        finally:
            _flush()
            os.dup2(kept, 2)
            file.seek(0)
            for line in file:
                if not any(pattern.match(line) for pattern in DROPPED):
                    os.write(2, line)


def _flush() -> None:
    if sys.stderr is not None:  # As in Windows' programs without a console.
        sys.stderr.flush()


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Drops what Python code prints, logs below errors and warns of in its scope."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
