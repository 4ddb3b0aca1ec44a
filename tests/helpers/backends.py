"""What a function of a test module computes on each backend, in processes of their own."""

import concurrent.futures
import functools
import importlib
import importlib.util
import multiprocessing
import os

import numpy as np
import pytest

BACKENDS = ("tensorflow", "jax", "torch")


def computed(module, function, folder):
    """The arrays that a function writes into the file it is given, by backend.

    A backend computes when it is asked for. Its process lives until the tests end, since
    it takes seconds to begin: a function leaves Keras's settings as they were.
    """
    return _Computed(module, function, folder)


class _Computed(dict):
    def __init__(self, module, function, folder):
        self.module, self.function, self.folder = module, function, folder

    def __missing__(self, backend):
        file = self.folder / f"{backend}.npz"
        process = _process(backend, str(self.folder.parent / "compiled"))
        written = process.submit(_write, self.module, self.function, str(file))
        try:
            written.result(timeout=3600)
        except (TimeoutError, concurrent.futures.BrokenExecutor):
            for child in multiprocessing.active_children():
                child.kill()
            _process.cache_clear()
            raise
        self[backend] = dict(np.load(file))
        return self[backend]


@functools.cache
def _process(backend, compiled):
    return concurrent.futures.ProcessPoolExecutor(
        max_workers=1,
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_begin,
        initargs=(
            {
                "KERAS_BACKEND": backend,
                "CUDA_VISIBLE_DEVICES": "-1",
                # JAX compiles each new shape; the functions share most of them.
                "JAX_COMPILATION_CACHE_DIR": compiled,
                "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
            },
        ),
    )


def _begin(environment):
    os.environ.update(environment)


def _write(module, function, file):
    getattr(importlib.import_module(module), function)(file)


def in_shards(backend, group):
    """A backend as a parameter whose tests are exhaustive, and together on one worker."""
    marks = [pytest.mark.exhaustive, pytest.mark.xdist_group(group)]
    return pytest.param(backend, marks=marks)


def of_backend(results, backend):
    """A backend's results, or a skip."""
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"needs {backend}: pip install {backend}")
    return results[backend]
