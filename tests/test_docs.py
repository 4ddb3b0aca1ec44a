"""The documentation: every public name is in it, and its commands and code are real."""

import ast
import importlib
import inspect
import re
import runpy
import shlex
import shutil
import tomllib

import matplotlib.image
import numpy as np
import pytest
import yaml

import keras_resnet
from keras_resnet.cli.parser import parser
from tests.conftest import REPOSITORY
from tests.helpers.boxed_folders import voc_folder

DOCS = REPOSITORY / "docs"
PAGES = [
    REPOSITORY / "README.md",
    *sorted(DOCS.glob("*.md")),
    *sorted(DOCS.glob("guides/*.md")),
]
PUBLIC_MODULES = (
    "keras_resnet",
    "keras_resnet.config",
    "keras_resnet.optimizers",
    "keras_resnet.callbacks",
    "keras_resnet.layers",
    "keras_resnet.analysis",
    "keras_resnet.detection",
    "keras_resnet.evaluation",
    "keras_resnet.runs.report",
)
TESTED_ELSEWHERE = {"many_images", "serving", "your_own_loop"}


def public_names():
    """Public classes and functions by the name that a user writes."""
    found = {}
    for name in PUBLIC_MODULES:
        if importlib.util.find_spec(name):
            module = importlib.import_module(name)
            found |= {f"{name}.{n}": getattr(module, n) for n in module.__all__}
    # Tables, such as `RECIPES`, have pages of their own.
    return {name: value for name, value in found.items() if callable(value)}


def test_every_public_name_is_in_the_reference():
    text = "".join(path.read_text() for path in (DOCS / "reference").glob("*.md"))
    documented = re.findall(r"^::: (?:\w+\.)+(\w+)$", text, re.M)
    names = [name.rpartition(".")[2] for name in public_names()]
    loaded = {"Run", "DetectorRun"}  # What `load` gives.
    assert sorted(set(documented) - loaded) == sorted(set(names) - loaded)
    assert len(documented) == len(set(documented))


@pytest.mark.parametrize("name", public_names())
def test_every_public_name_has_a_docstring(name):
    value = public_names()[name]
    own = value.__doc__
    # `dataclass` makes one of the signature.
    assert own and not own.startswith(f"{name.rpartition('.')[2]}("), name
    if inspect.isfunction(value) and len(inspect.signature(value).parameters) > 1:
        assert "Args:" in own, name
    if inspect.isclass(value):
        inherited = {member for base in value.__mro__[1:] for member in vars(base)}
        for member, of in vars(value).items():
            if member.startswith("_") or member in inherited:
                continue
            if inspect.isfunction(of) or isinstance(of, property):
                assert of.__doc__, f"{name}.{member}"


def blocks(path, language):
    """The code blocks of a page."""
    return re.findall(rf"^```{language}\n(.*?)^```$", path.read_text(), re.M | re.S)


def commands(path):
    """The calls of the command line on a page, as lists of words."""
    for block in [*blocks(path, "console"), *blocks(path, "bash")]:
        lines = block.replace("\\\n", " ").splitlines()
        if block.startswith("$ "):  # The others are what is printed.
            lines = [line for line in lines if line.startswith("$ ")]
        for line in lines:
            words = shlex.split(line.removeprefix("$ "), comments=True)
            if "keras-resnet" in words and "…" not in line:
                words = words[words.index("keras-resnet") + 1 :]
                ends = [i for i, w in enumerate(words) if w in ("&&", "|", ";", ">")]
                yield words[: ends[0]] if ends else words


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_commands_are_those_of_the_command_line(path):
    for words in commands(path):
        try:
            parser().parse_args(words)
        except SystemExit:
            pytest.fail(f"{path.name}: keras-resnet {shlex.join(words)}")


def test_there_are_commands_to_check():
    assert sum(len(list(commands(path))) for path in PAGES) > 40


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_python_names_what_there_is(path):
    for block in blocks(path, "python"):
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                if node.value.id == "keras_resnet":
                    assert hasattr(keras_resnet, node.attr), node.attr
            if isinstance(node, ast.ImportFrom) and node.module.startswith(
                "keras_resnet"
            ):
                module = importlib.import_module(node.module)
                assert all(hasattr(module, alias.name) for alias in node.names)


@pytest.mark.slow
@pytest.mark.parametrize(
    "path",
    [
        # Of the detector with ResNet-50 that it makes: four minutes.
        pytest.param(p, marks=pytest.mark.exhaustive if p.stem == "detection" else ())
        for p in PAGES
        if blocks(p, "python") and p.stem not in TESTED_ELSEWHERE
    ],
    ids=lambda path: path.stem,
)
def test_python_runs(path, tmp_path, monkeypatch):
    """The blocks of a page, one after the other, with random weights."""
    monkeypatch.chdir(tmp_path)
    trained = REPOSITORY / "saved_models" / "quickstart_seed0"
    for run in ("quickstart_seed1", "resnet18_on_photos_seed0"):
        shutil.copytree(trained, tmp_path / "runs" / run)
    pixels = np.zeros((28, 28), "uint8")
    for name in ("cat.jpg", "shoe.png"):
        matplotlib.image.imsave(name, pixels)
    boxes = [("red", 3, 3, 30, 25), ("white", 20, 8, 55, 38), ("red", 30, 2, 50, 20)]
    lists = {"train": ["1", "2"], "val": ["3"], "test": ["4"]}
    voc_folder(tmp_path / "cells", {name: boxes for name in "1234"}, lists)
    names = {"images": np.zeros((2, 224, 224, 3), "uint8")}
    # Finished, so that nothing is trained.
    monkeypatch.setattr(
        keras_resnet, "train", lambda recipe=None, **options: None, raising=False
    )
    for block in blocks(path, "python"):
        exec(re.sub(r'weights="[^"]*"', "weights=None", block), names)


# --- Variables of the environment --------------------------------------------------


def variables_in_the_code():
    """Names of variables in the modules that read or set any."""
    found = set()
    for path in (REPOSITORY / "keras_resnet").rglob("*.py"):
        code = path.read_text()
        if not re.search(r"\benviron\b|\bgetenv\b|environment: Mapping", code):
            continue
        for node in ast.walk(ast.parse(code)):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                if re.fullmatch(r"MPLBACKEND|[A-Z]+(_[A-Z\d]+)+|GIT_", node.value):
                    found.add(node.value)
    return {name for name in found if not name.startswith("SC_")}  # Of `sysconf`.


def test_every_variable_that_the_code_reads_is_documented():
    page = (DOCS / "reference/environment.md").read_text()
    ours = page.partition("## Variables of the libraries")[0]
    rows = re.findall(r"^\| (`.*?) \|", ours, re.M)
    documented = set(re.findall(r"`([A-Z_\d]+)`", " ".join(rows))) | {"GIT_"}
    assert "`GIT_…`" in ours
    keras_reads = {"KERAS_MAX_EPOCHS", "KERAS_MAX_STEPS_PER_EPOCH"}
    assert variables_in_the_code() | keras_reads == documented


# --- Files that name versions ------------------------------------------------------


def test_the_citation_is_of_this_version():
    citation = yaml.safe_load((REPOSITORY / "CITATION.cff").read_text())
    assert citation["version"] == keras_resnet.__version__


def test_the_linters_have_one_version():
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    pins = dict(pin.split("==") for pin in project["optional-dependencies"]["lint"])
    hooks = yaml.safe_load((REPOSITORY / ".pre-commit-config.yaml").read_text())
    revisions = {
        repo["repo"].rpartition("/")[2]: repo["rev"].removeprefix("v")
        for repo in hooks["repos"]
    }
    assert revisions["ruff-pre-commit"] == pins["ruff"]
    assert revisions["codespell"] == pins["codespell"]


def test_the_workflows_run_what_the_readme_says():
    """Each command of the README's bash blocks is a line of a workflow."""
    shown = "".join(blocks(REPOSITORY / "README.md", "bash"))
    runs = [
        step["run"]
        for path in (REPOSITORY / ".github" / "workflows").glob("*.yml")
        for job in yaml.safe_load(path.read_text())["jobs"].values()
        for step in job["steps"]
        if "run" in step
    ]
    ran = "\n".join(runs).replace("${{ matrix.shard }}", "auto").splitlines()
    for line in shown.replace(" && ", "\n").splitlines():
        assert line in ran, line


def test_pictures_of_augmentations_stand_side_by_side():
    drawn = runpy.run_path(str(DOCS / "augmentation" / "draw.py"))
    colours = np.array([[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [9, 9, 9]]], "uint8")
    pictures = np.broadcast_to(colours[:, :, None, None], (2, 2, 40, 30, 3))
    whole = drawn["side_by_side"](pictures)
    expected = np.full((84, 64, 3), 255)
    for row, column in np.ndindex(2, 2):
        top, left = 44 * row, 34 * column
        expected[top : top + 40, left : left + 30] = colours[row, column]
    np.testing.assert_array_equal(whole, expected)
