"""What a result is made on: the machine named, the commit of this package or none."""

import os
import subprocess

import pytest

from keras_resnet.devices import limits
from keras_resnet.runs import environment


def test_what_is_said_of_machine_and_package():
    found = environment.describe(["NVIDIA H200"])
    assert set(found) == {"versions", "hardware", "onednn", "commit", "dirty"}
    assert found["versions"]["python"].startswith("3.")
    assert "keras" in found["versions"]
    hardware = found["hardware"]
    assert list(hardware) == ["cpu", "cores", "memory_gib", "accelerators"]
    assert hardware["cpu"] and hardware["cores"] >= 1
    assert hardware["accelerators"] == ["NVIDIA H200"]


def test_a_cpu_is_named_with_what_makes_it_fast(tmp_path):
    info = tmp_path / "cpuinfo"
    both = "processor : 0\nmodel name\t: AMD EPYC\nflags\t\t: fpu avx2 avx512f {}\n\n"
    info.write_text(2 * both.format("avx512_vnni avx512_bf16 avx_vnni"))
    assert environment._cpu(info) == "AMD EPYC (AVX2, AVX-512, VNNI, bfloat16)"
    info.write_text("model name\t: Atom\nflags\t\t: fpu\n")
    assert environment._cpu(info) == "Atom"
    assert environment._cpu(tmp_path / "none")


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="Linux alone has it")
def test_cores_are_those_that_the_process_may_use():
    allowed = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(allowed)})
        assert environment.describe()["hardware"]["cores"] == 1
    finally:
        os.sched_setaffinity(0, allowed)


def test_memory_is_what_a_container_allows(monkeypatch):
    monkeypatch.setattr(limits, "memory", lambda: 3 * 2**29)
    assert environment.describe()["hardware"]["memory_gib"] == 1.5
    monkeypatch.setattr(limits, "memory", lambda: None)
    assert environment.describe()["hardware"]["memory_gib"] is None


# A hook that runs the tests has the developer's repository in GIT_DIR and others.
OUTSIDE_OF_GIT = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}


def git(folder, *arguments):
    identity = ["-c", "user.name=test", "-c", "user.email=test@example.org"]
    command = ["git", "-C", str(folder), *identity, *arguments]
    try:
        done = subprocess.run(
            command, check=True, capture_output=True, text=True, env=OUTSIDE_OF_GIT
        )
    except FileNotFoundError:
        pytest.skip("needs git")
    return done.stdout.strip()


@pytest.fixture
def repository(tmp_path):
    package = tmp_path / "package"
    package.mkdir()
    (package / "__init__.py").write_text("")
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "--quiet", "--no-gpg-sign", "-m", "first")
    return tmp_path


def test_commit_of_a_checkout(repository, monkeypatch):
    package, head = repository / "package", git(repository, "rev-parse", "HEAD")
    assert environment.checkout(package) == (head, False)
    (repository / "notes.txt").write_text("beside the package")
    assert environment.checkout(package) == (head, False)
    (package / "new.py").write_text("")
    assert environment.checkout(package) == (head, True)
    monkeypatch.setenv("GIT_DIR", "/nowhere")  # As in a git hook.
    assert environment.checkout(package) == (head, True)


def test_a_virtual_environment_in_a_repository_has_no_commit(repository):
    installed = repository / ".venv/lib/site-packages/package"
    installed.mkdir(parents=True)
    (installed / "__init__.py").write_text("")
    assert environment.checkout(installed) == (None, None)


def test_outside_a_repository_there_is_no_commit(tmp_path):
    assert environment.checkout(tmp_path) == (None, None)
