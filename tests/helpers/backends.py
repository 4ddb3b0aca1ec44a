"""What a function of a test module computes on each backend, in processes of their own."""

import importlib.util
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

REPOSITORY = pathlib.Path(__file__).parents[2]
BACKENDS = ("tensorflow", "jax", "torch")


def computed(module, function, folder):
    """The arrays that a function writes into the file it is given, by installed backend.

    The processes run at the same time: most of their work is one thread's.
    """
    code = f"import sys; from {module} import {function}; {function}(sys.argv[1])"
    started = {}
    for backend in BACKENDS:
        if importlib.util.find_spec(backend):
            started[backend] = subprocess.Popen(
                [sys.executable, "-c", code, str(folder / f"{backend}.npz")],
                cwd=REPOSITORY,
                env=os.environ
                | {
                    "KERAS_BACKEND": backend,
                    "CUDA_VISIBLE_DEVICES": "-1",
                    # JAX compiles each new shape; the functions share most of them.
                    "JAX_COMPILATION_CACHE_DIR": str(folder.parent / "compiled"),
                    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
                },
                stdout=subprocess.DEVNULL,
                stderr=(folder / f"{backend}.log").open("w"),
            )
    try:
        for backend, process in started.items():
            process.wait(timeout=3600)
            log = (folder / f"{backend}.log").read_text()
            assert process.returncode == 0, f"{backend}: {log[-3000:]}"
    finally:
        for process in started.values():
            process.kill()
    return {backend: dict(np.load(folder / f"{backend}.npz")) for backend in started}


def of_backend(results, backend):
    """A backend's results, or a skip."""
    if backend not in results:
        pytest.skip(f"needs {backend}: pip install {backend}")
    return results[backend]
