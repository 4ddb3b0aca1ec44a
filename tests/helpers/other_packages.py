"""Processes that see all installed packages but some."""

import os
import pathlib
import subprocess
import sys
import sysconfig

REPOSITORY = pathlib.Path(__file__).parents[2]


def link_all_but(hidden, packages):
    """Fills a folder with links to what is installed, without what begins so."""
    for name in {sysconfig.get_paths()[kind] for kind in ("purelib", "platlib")}:
        for path in pathlib.Path(name).iterdir():
            if not path.name.startswith(hidden):
                (packages / path.name).symlink_to(path)


def run_beside(packages, backend, code, folder, **variables):
    """Runs code in a process whose packages are those of a folder, and this one."""
    # Without `site`, which would add what is installed.
    path = os.pathsep.join(map(str, (REPOSITORY, packages)))
    own = {k: v for k, v in os.environ.items() if k != "TF_CPP_MIN_LOG_LEVEL"}
    return subprocess.run(
        [sys.executable, "-S", "-c", code],
        env=own | {"KERAS_BACKEND": backend, "PYTHONPATH": path, **variables},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=600,
    )
