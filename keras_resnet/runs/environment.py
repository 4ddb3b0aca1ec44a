"""Describes what a result is made on: versions, hardware and commit."""

from __future__ import annotations

import contextlib
import os
import pathlib
import platform
import re
import subprocess
from collections.abc import Iterable
from importlib import metadata
from typing import Any

from keras_resnet.devices import limits, onednn

# What makes one CPU several times as fast as another of the same name: flags of Linux.
_UNITS = {
    "avx2": "AVX2",
    "avx512f": "AVX-512",
    "avx512_vnni": "VNNI",
    "avx_vnni": "VNNI",
    "avx512_bf16": "bfloat16",
    "amx_bf16": "AMX",
}
_DISTRIBUTIONS = (
    "keras-residual",
    "keras",
    "tensorflow",
    "tensorflow-cpu",
    "jax",
    "torch",
    "numpy",
    "tensorflow-datasets",
)


def describe(accelerators: Iterable[str] = ()) -> dict[str, Any]:
    """Describes what a result is made on, for its record.

    Args:
        accelerators: Names of the GPUs or TPUs that are used.

    Returns:
        Dict of ``versions`` (of Python and of the packages that are installed),
        ``hardware`` (``cpu``; ``cores`` and ``memory_gib`` that the process may use, in a
        container what that allows; ``accelerators``), ``onednn`` (as of `onednn.state`),
        ``commit`` (of the checkout that holds this package, `None` if it is installed
        elsewhere) and ``dirty`` (whether the package differs from that commit).
    """
    commit, dirty = checkout(pathlib.Path(__file__).parents[1])
    return {
        "versions": versions(),
        "hardware": {
            "cpu": _cpu(),
            "cores": limits.cores(),
            "memory_gib": _memory(),
            "accelerators": list(accelerators),
        },
        "onednn": onednn.state(),
        "commit": commit,
        "dirty": dirty,
    }


def versions() -> dict[str, str]:
    """The versions of Python and of the installed packages that decide a result."""
    found = {"python": platform.python_version()}
    for name in _DISTRIBUTIONS:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


def checkout(package: pathlib.Path) -> tuple[str | None, bool | None]:
    """Finds the commit of the git checkout that a package's source is part of.

    Args:
        package: Folder of the package.

    Returns:
        The commit, and whether the folder differs from it; both `None` where the
        folder is not tracked, as in a virtual environment inside some repository.
    """
    tracked = _git(package, "ls-files", "--error-unmatch", "__init__.py")
    commit = _git(package, "rev-parse", "--verify", "HEAD")
    if tracked is None or commit is None:
        return None, None
    return commit, bool(_git(package, "status", "--porcelain", "--", "."))


def _cpu(info: str = "/proc/cpuinfo") -> str:
    # `platform.processor()` is empty or only the architecture on most systems.
    try:
        text = pathlib.Path(info).read_text()
    except OSError:
        text = ""
    lines = dict(re.findall(r"^(model name|flags)\s*: (.+)$", text, re.MULTILINE))
    brand = lines.get("model name") or _output(
        "sysctl", "-n", "machdep.cpu.brand_string"
    )
    flags = lines.get("flags", "").split()
    units = dict.fromkeys(name for flag, name in _UNITS.items() if flag in flags)
    brand = brand or platform.processor() or platform.machine()
    return f"{brand} ({', '.join(units)})" if units else brand


def _memory() -> float | None:
    size = limits.memory()
    return size and round(size / 2**30, 1)


def _git(folder: pathlib.Path, *arguments: str) -> str | None:
    return _output("git", "-C", str(folder), *arguments)


def _output(*command: str) -> str | None:
    """What a command prints, or `None` if it fails or doesn't exist."""
    # Inside a git hook, GIT_DIR names the repository of the hook.
    kept = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=20, env=kept, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
