"""What a process may use of its machine: memory and cores, fewer in a container.

Containers and schedulers set limits by Linux's control groups (cgroups), of version 1 or 2.
A group lies in others, and the limits of all of them hold. The module imports no framework.
"""

from __future__ import annotations

import math
import os
import pathlib
from collections.abc import Iterator

SHARE = 0.25  # Of the memory, for what is computed at a time.
ROOT = pathlib.Path("/")  # Of the file system that tells of control groups.


def memory() -> int | None:
    """Gives the bytes of memory that this process may use.

    Returns:
        The machine's memory, or less where a control group allows less; `None` where
        the system doesn't tell.
    """
    limits = [_machine_memory()]
    for group in _groups("memory"):
        # Version 2 slows processes down above `high`, and ends them above `max`.
        for name in ("memory.max", "memory.high", "memory.limit_in_bytes"):
            limits.append(_number(_text(group / name)))
        # Version 1 tells of groups, too, that a container doesn't see.
        for line in _text(group / "memory.stat").splitlines():
            name, _, value = line.partition(" ")
            if name == "hierarchical_memory_limit":
                limits.append(_number(value))
    least = min(limits)
    return None if math.isinf(least) else int(least)


def fitting(most: int, size: float) -> int:
    """Gives how many things fit into a quarter of the memory.

    The rest is the framework's, the data's and other programs'.

    Args:
        most: Their number where memory is no limit, or isn't known.
        size: Bytes of one.

    Returns:
        From 1 to ``most``.
    """
    whole = memory()
    if whole is None or size <= 0:
        return most
    return max(1, min(most, int(whole * SHARE // size)))


def cores() -> int:
    """Counts the logical cores that this process may use, at least one.

    They are those of its affinity, as ``taskset`` and cpusets set it, or as many as its
    `cpu_quota` pays for, if these are fewer.
    """
    if hasattr(os, "sched_getaffinity"):  # Linux.
        count = len(os.sched_getaffinity(0))
    else:
        count = os.cpu_count() or 1
    return min(count, cpu_quota() or count)


def cpu_quota() -> int | None:
    """Gives the cores whose time a control group's quota grants, rounded up.

    A process with such a quota sees all cores of its machine, and stands still for the
    rest of each period when its threads on all of them have used the quota up.

    Returns:
        At least 1; `None` where there is no quota.
    """
    shares = []
    for group in _groups("cpu"):
        quota, _, period = _text(group / "cpu.max").partition(" ")
        if not period:  # Version 1.
            quota = _text(group / "cpu.cfs_quota_us")
            period = _text(group / "cpu.cfs_period_us")
        if 0 < _number(quota) < math.inf:  # Without one, -1 in version 1, max in 2.
            shares.append(_number(quota) / _number(period))
    return math.ceil(min(shares)) if shares else None


def _groups(controller: str) -> Iterator[pathlib.Path]:
    """The folders of this process's control groups that may limit something.

    Args:
        controller: Of version 1, ``"memory"`` or ``"cpu"``; in version 2 a group has all.
    """
    paths = {}
    for line in _text(ROOT / "proc/self/cgroup").splitlines():
        _, names, path = line.split(":", 2)
        paths |= dict.fromkeys(names.split(","), path)  # Version 2 has the name "".
    for line in _text(ROOT / "proc/self/mountinfo").splitlines():
        mount, _, of_kind = line.partition(" - ")
        kind, _, options = (of_kind.split(" ") + ["", ""])[:3]
        is_old = kind == "cgroup" and controller in options.split(",")
        name = controller if is_old else ""
        if not (is_old or kind == "cgroup2") or name not in paths:
            continue
        inside, point = mount.split(" ")[3:5]
        top = ROOT / point.lstrip("/")
        # Where a container's own group is mounted, the path may be the host's.
        within = os.path.relpath(paths[name], inside)
        parts = () if within.startswith("..") else pathlib.PurePath(within).parts
        yield from (top.joinpath(*parts[:n]) for n in range(len(parts) + 1))


def _machine_memory():
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # Not on Windows.
        return math.inf


def _text(file):
    try:
        return file.read_text(errors="replace").strip()  # Of names of mounted folders.
    except OSError:
        return ""


def _number(text):
    """The number in a text; infinity for ``max``, and where there is none."""
    try:
        return float(text)
    except ValueError:
        return math.inf
