"""NVIDIA's graphics cards: whether one is in the machine, and memory that several share.

The module imports no framework.
"""

from __future__ import annotations

import os
import pathlib
import subprocess
import warnings

DRIVER = pathlib.Path("/proc/driver/nvidia/gpus")  # Holds a folder for each card.
# Variables by which users choose the CPU, with their values.
CPU_CHOSEN = {
    "CUDA_VISIBLE_DEVICES": ("", "-1", "NoDevFiles"),
    "NVIDIA_VISIBLE_DEVICES": ("", "none", "void"),
}
CPU_CHOSEN_IN_JAX = {"JAX_PLATFORMS": ("cpu",)}  # Other backends don't read it.
# What a backend must have for NVIDIA's cards; a sentence without its full stop.
INSTALL = (
    "For NVIDIA's cards TensorFlow needs the extra `gpu` (in the checkout: pip install "
    "'.[gpu]'), JAX jax[cuda12], PyTorch a build for CUDA"
)


def share_memory() -> None:
    """Has this process take memory of a card as it needs it, unless the user decides.

    By default TensorFlow and JAX take nearly all of a card at once, and another process
    then finds none. Call it before either of them is imported.
    """
    os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")


def warn_of_unused(backend: str) -> None:
    """Warns that a card is here and the CPU computes, unless the user hides the cards.

    Args:
        backend: Keras's, which has found no card.
    """
    chosen = CPU_CHOSEN | (CPU_CHOSEN_IN_JAX if backend == "jax" else {})
    hidden = any(os.environ.get(name) in values for name, values in chosen.items())
    if not hidden and _is_here():
        warnings.warn(
            f"An NVIDIA graphics card is here, but {backend} can't use it: this computes "
            f"on the CPU. {INSTALL}; a container must be given the card. "
            "CUDA_VISIBLE_DEVICES=-1 (for `train` also --devices cpu) says that the CPU "
            "is meant.",
            stacklevel=3,
        )


def _is_here() -> bool:
    """Whether the driver, or its program where `/proc` says nothing, knows of a card."""
    if DRIVER.is_dir():
        return any(DRIVER.iterdir())
    try:
        done = subprocess.run(
            ["nvidia-smi", "-L"], capture_output=True, text=True, timeout=10
        )
    except (OSError, subprocess.SubprocessError):
        return False
    return done.returncode == 0 and "GPU" in done.stdout
