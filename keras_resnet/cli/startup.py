"""Imports Keras and TensorFlow whatever the terminal or notebook is like, and quietly."""

import contextlib
import importlib
import importlib.util
import os
import sys
from collections.abc import Iterator

from keras_resnet.devices.host import tensorflow
from keras_resnet.devices.log_lines import without_log_lines


def import_frameworks(*names: str, look_for_gpus: bool = False) -> None:
    """Imports modules and drops what TensorFlow's C++ code logs meanwhile.

    Args:
        *names: Of modules, such as ``"keras"``.
        look_for_gpus: Whether to have TensorFlow look for GPUs, of which it logs as well,
            where one of the modules has imported it.
    """
    with without_log_lines():
        for name in names:
            # What is missing is said where it is needed: some do without TensorFlow.
            if importlib.util.find_spec(name) is not None:
                importlib.import_module(name)
        if look_for_gpus and sys.modules.get("tensorflow") is not None:
            tensorflow().config.list_physical_devices("GPU")


@contextlib.contextmanager
def without_a_display() -> Iterator[None]:
    """Has matplotlib draw into memory, whatever ``MPLBACKEND`` says.

    A command writes its figures into files. The variable is often that of the notebook or
    the desktop from which the command was started. It may name what isn't installed here,
    and then importing matplotlib fails, and with it importing Keras, whose gallery of
    images imports `matplotlib.pyplot`.
    """
    before = os.environ.get("MPLBACKEND")
    os.environ["MPLBACKEND"] = "agg"
    try:
        yield
    finally:
        if before is None:
            del os.environ["MPLBACKEND"]
        else:
            os.environ["MPLBACKEND"] = before
