"""Runs what an earlier run skipped: hooks of pytest, a plugin of `conftest.py`.

A run of all quick tests, `pytest` without paths and without ``-m``, notes which tests it
skipped. When the packages that these need are installed, `pytest --skipped-before` runs
them and no others.
"""

import pytest

KEY = "keras_resnet/skipped"  # In pytest's cache.


def pytest_addoption(parser):
    parser.addoption(
        "--skipped-before",
        action="store_true",
        help="run the tests that the last run of all quick tests skipped",
    )


def pytest_configure(config):
    arguments = config.invocation_params.args
    everything = config.args_source is pytest.Config.ArgsSource.TESTPATHS
    selected = config.option.skipped_before or "-m" in arguments or "-k" in arguments
    worker = hasattr(config, "workerinput")  # Of xdist, whose reports its chief has.
    if everything and not selected and not worker and hasattr(config, "cache"):
        config.pluginmanager.register(Noted(config.cache))


class Noted:
    """Notes what is skipped, tests and whole modules."""

    def __init__(self, cache):
        self.cache = cache
        self.skipped = set()

    def pytest_runtest_logreport(self, report):
        if report.skipped and not hasattr(report, "wasxfail"):
            self.skipped.add(report.nodeid)

    def pytest_collectreport(self, report):
        if report.skipped:
            self.skipped.add(report.nodeid)

    def pytest_sessionfinish(self):
        self.cache.set(KEY, sorted(self.skipped))


def pytest_collection_modifyitems(config, items):
    if not config.option.skipped_before:
        return
    skipped = config.cache.get(KEY, None)
    if skipped is None:
        raise pytest.UsageError(
            "`--skipped-before` runs what an earlier run skipped, and there was none: run "
            "`pytest -n 2 --dist loadfile` first."
        )
    names = set(skipped)
    # A module that was skipped as a whole is noted by its path.
    chosen = [i for i in items if names & {i.nodeid, i.nodeid.partition("::")[0]}]
    config.hook.pytest_deselected(items=[i for i in items if i not in set(chosen)])
    items[:] = chosen
