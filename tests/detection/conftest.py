"""Fixtures of the tests of detection."""

import pytest

from tests.helpers.backends import computed


@pytest.fixture(scope="module")
def results(request, tmp_path_factory):
    """What the module's function `write` computes on each backend."""
    name = request.module.__name__
    return computed(name, "write", tmp_path_factory.mktemp(name.rpartition(".")[2]))
