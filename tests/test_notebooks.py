"""Notebooks run, and hold the outputs of their own cells."""

import ast
import json

import pytest
import yaml

from tests.helpers import notebooks

NOTEBOOKS = sorted(notebooks.FOLDER.glob("*.ipynb"))
EACH = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def read(path):
    return json.loads(path.read_text())


def test_what_libraries_say_is_no_output():
    said = "WARNING:tensorflow:5 out of the last 48 calls\n"
    texts = ["an error", f"{said}0.5\n", f"0.5\n{said}", said]
    names = ["stderr", *["stdout"] * 3]
    outputs = [{"name": n, "text": t} for n, t in zip(names, texts, strict=True)]
    found = notebooks.results_among([*outputs, {"data": {}}])
    assert [one.get("text") for one in found] == ["0.5\n", "0.5\n", None]


def test_there_are_notebooks():
    assert NOTEBOOKS


@EACH
def test_outputs_are_of_these_cells(path):
    name = path.relative_to(notebooks.FOLDER.parent)
    assert notebooks.is_current(path), (
        f"code cells changed: run `python -m tests.helpers.notebooks {name}`"
    )
    cells = notebooks.code_cells(read(path))
    assert all(cell["execution_count"] for cell in cells)
    outputs = [output for cell in cells for output in cell["outputs"]]
    assert any("image/png" in output.get("data", {}) for output in outputs)
    assert not any(output["output_type"] == "error" for output in outputs)
    assert path.stat().st_size < 1e6


@EACH
def test_links_are_made_of_the_address_in_pyproject(path):
    title, *others = read(path)["cells"]
    assert notebooks.badge(path.stem) in notebooks.source(title)
    install = next(cell for cell in others if cell["cell_type"] == "code")
    assert notebooks.source(install) == notebooks.INSTALL and not install["outputs"]
    text = notebooks.source(title) + "".join(map(notebooks.source, others))
    addresses = text.count("github.com/") + text.count("/github/")
    assert addresses == 2, "an address beside the badge's and the installation's"


@EACH
def test_functions_are_short_and_the_last_cell_asserts(path):
    cells = [notebooks.source(cell) for cell in notebooks.code_cells(read(path))]
    for node in ast.walk(ast.parse("\n".join(cells))):
        if isinstance(node, ast.FunctionDef):
            assert node.end_lineno - node.lineno < 10, node.name
    assert read(path)["cells"][-1]["cell_type"] == "code"
    assert any(isinstance(node, ast.Assert) for node in ast.parse(cells[-1]).body)


def test_each_is_a_page_of_the_site():
    root = notebooks.FOLDER.parent
    navigation = yaml.safe_load((root / "mkdocs.yml").read_text())["nav"]
    [pages] = [part["Notebooks"] for part in navigation if "Notebooks" in part]
    assert pages[1:] == [f"notebooks/{path.stem}.md" for path in NOTEBOOKS]
    list_of_them = (root / "docs" / "notebooks" / "index.md").read_text()
    for path in NOTEBOOKS:
        title = notebooks.source(read(path)["cells"][0]).splitlines()[0].lstrip("# ")
        assert f"[{title}](../../notebooks/{path.name})" in list_of_them


@pytest.mark.parametrize(
    "path",
    # Where its cells changed, in every run of the slow tests; else in its shard.
    [
        pytest.param(
            path,
            marks=pytest.mark.exhaustive
            if notebooks.is_current(path)
            else pytest.mark.slow,
            id=path.stem,
        )
        for path in NOTEBOOKS
    ],
)
def test_the_notebook_runs(path, tmp_path):
    pytest.importorskip("nbclient", reason="needs pip install '.[notebooks]'")
    notebooks.execute(path, tmp_path)


@pytest.mark.parametrize("kind", ["code", "markdown"])
def test_another_code_cell_is_another_hash(kind):
    notebook = read(NOTEBOOKS[0])
    before = notebooks.code_hash(notebook)
    cell = [cell for cell in notebook["cells"] if cell["cell_type"] == kind][-1]
    cell["source"] = [*cell["source"], "\n# more"]
    assert (notebooks.code_hash(notebook) != before) == (kind == "code")


def test_the_installation_has_no_part_in_the_hash():
    notebook = read(NOTEBOOKS[0])
    before = notebooks.code_hash(notebook)
    first = next(cell for cell in notebook["cells"] if cell["cell_type"] == "code")
    first["source"] = "%pip install something"
    assert notebooks.code_hash(notebook) == before
