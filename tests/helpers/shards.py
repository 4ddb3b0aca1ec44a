"""Cuts the exhaustive tests into shards: hooks of pytest, which `conftest.py` imports.

`pytest -m exhaustive --shard auto` runs the shard that HEAD's hash draws, `--shard 2` the
one of this number, and without the option all of them run.
"""

import hashlib
import pathlib
import subprocess

import pytest

SHARDS = 16


def pytest_addoption(parser):
    parser.addoption(
        "--shard",
        choices=["auto", *map(str, range(SHARDS))],
        help="of the exhaustive tests, run one shard; auto: by HEAD's hash",
    )


def pytest_report_header(config):
    if config.option.shard:
        return f"exhaustive tests: shard {chosen(config.option.shard)} of {SHARDS}"


# First, so that what is left out here is not counted by what comes later.
@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config, items):
    if config.option.shard:
        shard = chosen(config.option.shard)
        out = [i for i in items if i.get_closest_marker("exhaustive")]
        out = [item for item in out if shard_of(item) != shard]
        config.hook.pytest_deselected(items=out)
        items[:] = [item for item in items if item not in set(out)]


def chosen(option):
    """The number of the shard that is asked for."""
    if option != "auto":
        return int(option)
    done = subprocess.run(
        ["git", "rev-parse", "HEAD"],
        cwd=pathlib.Path(__file__).parent,
        capture_output=True,
        text=True,
    )
    if done.returncode != 0:
        raise pytest.UsageError(
            "`--shard auto` needs a Git checkout, whose HEAD draws the shard: give its "
            f"number, 0 to {SHARDS - 1}. Git says: {done.stderr.strip()}"
        )
    # A count of commits would skip shards where CI sees every second commit.
    return int(done.stdout, 16) % SHARDS


def shard_of(item):
    """A test's shard, by its name; tests of one `xdist_group` stay together.

    Such a group shares what is expensive, and `--dist loadgroup` keeps it on one worker.
    """
    mark = item.get_closest_marker("xdist_group")
    name = mark.kwargs.get("name") or mark.args[0] if mark else item.nodeid
    # Of the hash functions at hand the one that spreads the seconds most evenly.
    return int(hashlib.md5(name.encode()).hexdigest(), 16) % SHARDS
