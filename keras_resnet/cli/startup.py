"""Imports Keras and TensorFlow without TensorFlow's start-up messages."""

import importlib
import sys

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
            importlib.import_module(name)
        if look_for_gpus and sys.modules.get("tensorflow") is not None:
            tensorflow().config.list_physical_devices("GPU")
