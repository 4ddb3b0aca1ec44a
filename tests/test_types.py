"""What type checkers know of the package: all that is public.

The command is the one that users can run, too::

    basedpyright --verifytypes keras_resnet --ignoreexternal

Neither Keras nor LitServe has a `py.typed`, and the command counts a class as unknown where
it doesn't know the base class, as well as all that has such a class in its signature. So
Keras's and LitServe's classes are declared to it here, by their names alone; what is ours
must all be known.
"""

import inspect
import json
import os
import subprocess
import sys

import pytest

from tests.test_imports import PACKAGE

ANYTHING = "def __getattr__(name: str) -> Any: ..."
BEGIN = f"""\
from collections.abc import Callable
from typing import Any, TypeVar
T = TypeVar("T")
def register_keras_serializable(*args: Any, **kwargs: Any) -> Callable[[T], T]: ...
{ANYTHING}
"""


def submodules(module):
    """The public modules inside of a module that are imported."""
    return {
        name: value
        for name, value in vars(module).items()
        if inspect.ismodule(value)
        and value.__name__ == f"{module.__name__}.{name}"
        and not name.startswith("_")
        and value.__name__ != "keras.src"
    }


def declare_classes(module, folder):
    """Writes stubs that declare the classes of a module and of those inside of it."""
    folder.mkdir()
    lines = [BEGIN]
    for name, value in submodules(module).items():
        lines.append(f"from . import {name} as {name}\n")
        declare_classes(value, folder / name)
    for name, value in vars(module).items():
        if inspect.isclass(value):
            lines.append(f"class {name}: ...\n")
    (folder / "__init__.pyi").write_text("".join(lines))


def checked(*arguments, path=()):
    """What basedpyright reports, with the checkout before what is installed."""
    pytest.importorskip("basedpyright", reason="needs the extra `lint`")
    command = [sys.executable, "-m", "basedpyright", "--pythonpath", sys.executable]
    done = subprocess.run(
        [*command, "--outputjson", *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, path))},
        capture_output=True,
        text=True,
    )
    return json.loads(done.stdout)


@pytest.mark.slow
def test_checkers_know_all_that_is_public(tmp_path):
    for package in ("keras", "litserve"):
        module = pytest.importorskip(package)
        declare_classes(module, tmp_path / f"{package}-stubs")
    report = checked(
        "--verifytypes",
        "keras_resnet",
        "--ignoreexternal",
        path=(PACKAGE.parent, tmp_path),
    )["typeCompleteness"]
    assert report["packageRootDirectory"] == str(PACKAGE)
    unknown = {
        symbol["name"]: [one["message"] for one in symbol["diagnostics"]]
        for symbol in report["symbols"]
        if symbol["isExported"]
        and (not symbol["isTypeKnown"] or symbol["isTypeAmbiguous"])
    }
    assert not unknown
    assert report["exportedSymbolCounts"]["withKnownType"] > 1_000
    assert report["completenessScore"] == 1


@pytest.mark.slow
def test_a_misspelt_name_is_an_error_before_it_runs(tmp_path):
    file = tmp_path / "script.py"
    file.write_text(
        "import keras_resnet\n"
        "keras_resnet.ResNet50(weights=None)\n"
        "keras_resnet.train('quickstart', seed=1)\n"
        "keras_resnet.ResNet51()\n"
        "keras_resnet.train('quickstart', sead=1)\n"
    )
    report = checked("--level", "error", file, path=[PACKAGE.parent])
    assert [
        (one["range"]["start"]["line"], one["rule"])
        for one in report["generalDiagnostics"]
        if one["severity"] == "error"
    ] == [(3, "reportAttributeAccessIssue"), (4, "reportCallIssue")]
