"""What a process may use: by files as control groups of both versions have them."""

import math
import os

import pytest

from keras_resnet.devices import limits

GIB = 2**30
# Of an unlimited group of version 1.
NO_LIMIT = "9223372036854771712"
V1 = (
    "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755\n"
    "34 31 0:31 {root} /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
    "35 31 0:32 {root} /sys/fs/cgroup/memory rw shared:9 - cgroup cgroup rw,memory\n"
)
V2 = "30 23 0:26 {root} /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw\n"
V1_PATHS = "9:name=systemd:/\n4:memory:{path}\n3:cpu,cpuacct:{path}\n0::/\n"


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A function that writes files: a machine of 64 GiB and 8 cores with these groups."""

    def write(files):
        for name, text in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text + "\n")

    monkeypatch.setattr(limits, "ROOT", tmp_path)
    monkeypatch.setattr(limits, "_machine_memory", lambda: 64 * GIB)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    return write


def v1(path, memory, cpu, root="/"):
    """Files of version 1, with limits by the group's folder."""
    files = {
        "proc/self/mountinfo": V1.format(root=root),
        "proc/self/cgroup": V1_PATHS.format(path=path),
    }
    for group, limit in memory.items():
        folder = f"sys/fs/cgroup/memory{group}"
        files[f"{folder}/memory.limit_in_bytes"] = str(limit)
    for group, quota in cpu.items():
        folder = f"sys/fs/cgroup/cpu,cpuacct{group}"
        files[f"{folder}/cpu.cfs_quota_us"] = str(quota)
        files[f"{folder}/cpu.cfs_period_us"] = "100000"
    return files


def v2(path, memory, cpu, root="/"):
    """Files of version 2, with limits by the group's folder."""
    files = {
        "proc/self/mountinfo": V2.format(root=root),
        "proc/self/cgroup": f"0::{path}",
    }
    for group, limit in memory.items():
        files[f"sys/fs/cgroup{group}/memory.max"] = str(limit)
    for group, quota in cpu.items():
        files[f"sys/fs/cgroup{group}/cpu.max"] = quota
    return files


@pytest.mark.parametrize(
    ("files", "memory", "quota"),
    [
        ({}, 64 * GIB, None),
        # No limits.
        (v1("/", {"": NO_LIMIT}, {"": -1}), 64 * GIB, None),
        (v2("/a", {"/a": "max"}, {"/a": "max 100000"}), 64 * GIB, None),
        # A container that sees its own group as the only one.
        (v1("/", {"": 2 * GIB}, {"": 100000}), 2 * GIB, 1),
        (v2("/", {"": 2 * GIB}, {"": "150000 100000"}), 2 * GIB, 2),
        # One whose path is the host's, where its own group is mounted.
        (v1("/docker/1", {"": GIB}, {"": 50000}, root="/docker/1"), GIB, 1),
        (v1("/docker/1/in", {"/in": GIB}, {}, root="/docker/1"), GIB, None),
        (v2("/../../other", {"": GIB}, {"": "800000 100000"}), GIB, 8),
        # Groups in groups: the least of all limits holds.
        (v1("/a/b", {"/a": GIB, "/a/b": 3 * GIB}, {"": -1, "/a": 400000}), GIB, 4),
        (v2("/a/b", {"/a": 3 * GIB, "/a/b": GIB}, {"/a": "1000 500"}), GIB, 2),
        (v2("/a/b", {"": "max", "/a": GIB, "/a/b": "max"}, {}), GIB, None),
        # Others' groups limit nothing.
        (v2("/a", {"/b": GIB}, {"/b": "100000 100000"}), 64 * GIB, None),
    ],
)
def test_limits_of_groups(machine, files, memory, quota):
    machine(files)
    assert limits.memory() == memory
    assert limits.cpu_quota() == quota
    assert limits.cores() == min(8, quota or 8)


def test_what_version_1_says_of_groups_outside_of_a_container(machine):
    machine(v1("/", {"": NO_LIMIT}, {}))
    machine(
        {
            "sys/fs/cgroup/memory/memory.stat": f"cache 9\nhierarchical_memory_limit {GIB}"
        }
    )
    assert limits.memory() == GIB


def test_memory_above_which_version_2_slows_down(machine):
    machine(v2("/", {"": 2 * GIB}, {}))
    machine({"sys/fs/cgroup/memory.high": str(GIB)})
    assert limits.memory() == GIB


def test_version_1_and_2_side_by_side(machine):
    machine(v1("/a", {"/a": 2 * GIB}, {"/a": 200000}))
    unified = V2.format(root="/").replace("/sys/fs/cgroup", "/sys/fs/cgroup/unified")
    machine({"proc/self/mountinfo": V1.format(root="/") + unified})
    with (limits.ROOT / "proc/self/mountinfo").open("ab") as file:
        file.write(b"99 1 8:1 / /mnt/no\xffutf8 rw - ext4 /dev/sda1 rw\n")
    assert (limits.memory(), limits.cores()) == (2 * GIB, 2)


def test_a_quota_of_more_cores_than_there_are(machine):
    machine(v2("/", {}, {"": "6400000 100000"}))
    assert limits.cores() == 8


def test_a_system_that_says_nothing(machine, monkeypatch):
    monkeypatch.setattr(limits, "_machine_memory", lambda: math.inf)
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert (limits.memory(), limits.cores()) == (None, 1)
