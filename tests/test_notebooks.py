"""Notebooks run, and hold the outputs of their own cells."""

import json

import pytest

from tests.helpers import notebooks

NOTEBOOKS = sorted(notebooks.FOLDER.glob("*.ipynb"))


def test_there_are_notebooks():
    assert NOTEBOOKS


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_outputs_are_of_these_cells(path):
    name = path.relative_to(notebooks.FOLDER.parent)
    assert notebooks.is_current(path), (
        f"code cells changed: run `python -m tests.helpers.notebooks {name}`"
    )
    cells = [c for c in json.loads(path.read_text())["cells"] if "outputs" in c]
    assert all(cell["execution_count"] for cell in cells)
    assert any(cell["outputs"] for cell in cells)


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
    notebook = json.loads(NOTEBOOKS[0].read_text())
    before = notebooks.code_hash(notebook)
    cell = next(cell for cell in notebook["cells"] if cell["cell_type"] == kind)
    cell["source"] = [*cell["source"], "\n# more"]
    assert (notebooks.code_hash(notebook) != before) == (kind == "code")
