"""Python processes that are workers of each other, on this machine."""

import os
import socket
import subprocess
import sys
import time


def free_ports():
    with socket.socket() as one, socket.socket() as other:
        one.bind(("127.0.0.1", 0))
        other.bind(("127.0.0.1", 0))
        return one.getsockname()[1], other.getsockname()[1]


def processes(backend, folder, arguments, count=2, more=None, own=None):
    """Starts Python as so many workers, each with a log beside the folder.

    Args:
        own: Further arguments of each worker.
    """
    base = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("SLURM", "JAX_", "KERAS_RESNET_WORKER"))
        and name != "TF_CONFIG"
    }
    base |= {"CUDA_VISIBLE_DEVICES": "-1", "KERAS_BACKEND": backend, **(more or {})}
    addresses = ",".join(f"127.0.0.1:{port}" for port in free_ports())
    started = []
    for worker in range(count):
        names = {"KERAS_RESNET_WORKERS": addresses, "KERAS_RESNET_WORKER": str(worker)}
        with (folder.parent / f"{folder.name}.{worker}.log").open("a") as log:
            started.append(
                subprocess.Popen(
                    [sys.executable, *arguments, *(own[worker] if own else ())],
                    stdout=log,
                    stderr=log,
                    env=base | (names if count > 1 else {}),
                )
            )
    return started


def wait(started, folder, timeout=300):
    deadline = time.monotonic() + timeout
    try:
        for worker, process in enumerate(started):
            code = process.wait(max(1, deadline - time.monotonic()))
            log = (folder.parent / f"{folder.name}.{worker}.log").read_text()
            assert code == 0, log[-3000:]
    finally:
        for process in started:
            process.kill()
