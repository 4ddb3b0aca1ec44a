"""Executes notebooks, and notes of which code cells their outputs are.

    python -m tests.helpers.notebooks notebooks/01_quickstart.ipynb

writes the outputs into the notebook, with a hash of its code cells in its metadata.
"""

import hashlib
import json
import pathlib
import sys
import tempfile

FOLDER = pathlib.Path(__file__).parents[2] / "notebooks"
HASH = "code_sha256"


def code_hash(notebook):
    """A hash of the code cells' sources."""
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    sources = ["".join(cell["source"]) for cell in cells]
    return hashlib.sha256(json.dumps(sources).encode()).hexdigest()


def is_current(path):
    """Whether the outputs in a notebook are those of its code cells."""
    notebook = json.loads(path.read_text())
    return notebook["metadata"].get(HASH) == code_hash(notebook)


def execute(path, folder):
    """The notebook with the outputs that its cells have in ``folder``."""
    import nbclient
    import nbformat

    notebook = nbformat.read(path, as_version=4)
    resources = {"metadata": {"path": str(folder)}}
    nbclient.NotebookClient(notebook, timeout=1_200, resources=resources).execute()
    return notebook


def main(paths):
    """Writes each notebook's outputs into it."""
    import nbformat

    for path in map(pathlib.Path, paths):
        with tempfile.TemporaryDirectory() as folder:
            notebook = execute(path, folder)
        for cell in notebook.cells:
            cell.metadata.pop("execution", None)  # The times of day.
            if (
                cell.cell_type == "code"
            ):  # What libraries say of a machine is no result.
                cell.outputs = [o for o in cell.outputs if o.get("name") != "stderr"]
        notebook.metadata[HASH] = code_hash(notebook)
        nbformat.write(notebook, path)


if __name__ == "__main__":
    main(sys.argv[1:])
