"""oneDNN, the library with which TensorFlow computes faster on CPUs.

TensorFlow reads ``TF_ENABLE_ONEDNN_OPTS`` once, when it is imported. Unless the variable is
set, it uses oneDNN only on CPUs with AVX-512 VNNI and the like. What is trained with oneDNN
and without it differs: docs/decisions/0016. The module imports no framework.
"""

import os
import sys
import warnings

VARIABLE = "TF_ENABLE_ONEDNN_OPTS"
OFF = ("0", "false", "False")


def switch_on() -> None:
    """Has TensorFlow use oneDNN, where it isn't imported yet and the variable is unset."""
    if "tensorflow" not in sys.modules:
        os.environ.setdefault(VARIABLE, "1")


def state() -> bool | None:
    """Whether Keras computes with oneDNN in this process, by TensorFlow.

    Returns:
        `None` on other backends, where TensorFlow doesn't tell, and before Keras is
        imported.
    """
    keras = sys.modules.get("keras")
    if keras is None or keras.backend.backend() != "tensorflow":
        return None
    try:
        from tensorflow.python.util import _pywrap_util_port
    except ImportError:  # Not a public module.
        return None
    return bool(_pywrap_util_port.IsMklEnabled())


def warn_if_late() -> None:
    """Warns where TensorFlow was imported before oneDNN could be switched on.

    A user who has set the variable to 0 has chosen so, and builds of TensorFlow for macOS
    have no oneDNN.
    """
    chosen = os.environ.get(VARIABLE) in OFF
    if state() is False and not chosen and sys.platform != "darwin":
        warnings.warn(
            "TensorFlow was imported without oneDNN, so this is slower on this CPU and "
            "gives other numbers than `keras-resnet` on the command line. Set the "
            f"environment variable {VARIABLE}=1 before TensorFlow or Keras is imported.",
            stacklevel=4,  # Whoever calls `train`, `plan` or `evaluate`.
        )
