"""The exhaustive tests' shards: each test in one of them, groups whole."""

import pathlib
import re

import pytest

from tests.helpers import shards

pytest_plugins = "pytester"

HOOKS = "from tests.helpers.shards import *"
TESTS = """
import pytest

@pytest.mark.exhaustive
@pytest.mark.parametrize("i", range(160))
def test_many(i):
    pass

@pytest.mark.exhaustive
@pytest.mark.xdist_group("together")
@pytest.mark.parametrize("i", range(10))
def test_together(i):
    pass

def test_ordinary():
    pass
"""


@pytest.fixture
def ran(pytester):
    """Runs the tests above; returns the names of those that ran, and the output."""
    pytester.makeconftest(HOOKS)
    pytester.makeini("[pytest]\nmarkers = exhaustive")
    pytester.makepyfile(TESTS)

    def run(*options):
        result = pytester.runpytest_inprocess("-v", "-p", "no:randomly", *options)
        output = result.stdout.str()
        assert result.ret == 0, output
        return re.findall(r"::(test_\S+) PASSED", output), output

    return run


def test_the_workflow_runs_every_shard():
    checks = pathlib.Path(__file__).parents[2] / ".github/workflows/checks.yml"
    [row] = re.findall(r"shard: \[(.*)\]", checks.read_text())
    assert re.findall(r"\w+", row) == ["slow", *map(str, range(shards.SHARDS))]


def test_shards_are_disjoint_and_complete(ran):
    whole, _ = ran("-m", "exhaustive")
    cut = [ran("-m", "exhaustive", "--shard", str(n))[0] for n in range(shards.SHARDS)]
    assert len(whole) == 170
    assert sorted(name for shard in cut for name in shard) == sorted(whole)
    # About as many in each, but for the group, which is in one.
    alone = [sum(name.startswith("test_many") for name in shard) for shard in cut]
    grouped = [sum(name.startswith("test_tog") for name in shard) for shard in cut]
    assert min(alone) >= 4
    assert sorted(grouped) == [0] * (shards.SHARDS - 1) + [10]


def test_other_tests_are_not_cut(ran):
    assert all(
        "test_ordinary" in ran("--shard", n)[0] for n in map(str, range(shards.SHARDS))
    )


def test_heads_hash_draws_the_shard(ran, monkeypatch):
    def git(command, **options):
        done = type("Done", (), {"returncode": 0, "stdout": "12ab\n"})
        return done if command[0] == "git" else None

    monkeypatch.setattr(shards.subprocess, "run", git)
    drawn, output = ran("-m", "exhaustive", "--shard", "auto")
    assert (
        f"exhaustive tests: shard {0x12AB % shards.SHARDS} of {shards.SHARDS}" in output
    )
    assert drawn == ran("-m", "exhaustive", "--shard", f"{0x12AB % shards.SHARDS}")[0]


def test_without_git_a_number_is_asked_for(monkeypatch):
    def git(command, **options):
        return type("Done", (), {"returncode": 128, "stderr": "no repository"})

    monkeypatch.setattr(shards.subprocess, "run", git)
    with pytest.raises(pytest.UsageError, match="give its number.*no repository"):
        shards.chosen("auto")
