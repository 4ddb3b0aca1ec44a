"""Executes notebooks, and notes of which code cells their outputs are.

    python -m tests.helpers.notebooks notebooks/01_quickstart.ipynb

writes the badge, the cell that installs the package and the outputs into the notebook, with
a hash of its other code cells in its metadata, and prints the CPU time that it took.

    python -m tests.helpers.notebooks --links notebooks/*.ipynb

writes badge and installation alone, once the address in pyproject.toml has changed.
"""

import hashlib
import json
import pathlib
import re
import resource
import sys
import tempfile
import tomllib

FOLDER = pathlib.Path(__file__).parents[2] / "notebooks"
HASH = "code_sha256"
BADGE = re.compile(r"\[!\[Open in Colab\]\([^)]*\)\]\([^)]*\)")

_PROJECT = tomllib.loads((FOLDER.parent / "pyproject.toml").read_text())["project"]
REPOSITORY = _PROJECT["urls"]["Repository"]
INSTALL = f"""\
# Installs the package where it is missing, as on Colab.
import importlib.util

if importlib.util.find_spec("keras_resnet") is None:
    %pip install -q "{_PROJECT["name"]}[analysis] @ git+{REPOSITORY}\""""


def badge(name):
    """The link that opens a notebook of the repository in Colab, as a picture."""
    colab = "https://colab.research.google.com"
    path = f"{REPOSITORY.removeprefix('https://github.com/')}/blob/main/notebooks"
    image = f"![Open in Colab]({colab}/assets/colab-badge.svg)"
    return f"[{image}]({colab}/github/{path}/{name}.ipynb)"


def source(cell):
    """A cell's text, which the file may hold in lines."""
    return "".join(cell["source"])


def code_cells(notebook):
    """The code cells behind the first, which installs the package."""
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    return cells[1:]


def code_hash(notebook):
    """A hash of the code cells' sources, without the installation."""
    sources = [source(cell) for cell in code_cells(notebook)]
    return hashlib.sha256(json.dumps(sources).encode()).hexdigest()


def is_current(path):
    """Whether the outputs in a notebook are those of its code cells."""
    notebook = json.loads(path.read_text())
    return notebook["metadata"].get(HASH) == code_hash(notebook)


def linked(path):
    """The notebook with the badge and the installation of the repository's address."""
    import nbformat

    notebook = nbformat.read(path, as_version=4)
    title = notebook.cells[0]
    title.source = BADGE.sub(badge(path.stem), title.source)
    first = next(cell for cell in notebook.cells if cell.cell_type == "code")
    first.source = INSTALL
    return notebook


def execute(path, folder):
    """The notebook with the outputs that its cells have in ``folder``."""
    import nbclient

    notebook = linked(path)
    nbclient.NotebookClient(
        notebook,
        timeout=1_200,
        coalesce_streams=True,  # What is printed by a cell is one output.
        resources={"metadata": {"path": str(folder)}},
    ).execute()
    return notebook


def executed(path):
    """The notebook with its outputs, as it is committed."""
    with tempfile.TemporaryDirectory() as folder:
        notebook = execute(path, folder)
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)  # The times of day.
        if cell.cell_type == "code":
            cell.outputs = results_among(cell.outputs)
    notebook.metadata[HASH] = code_hash(notebook)
    return notebook


def results_among(outputs):
    """The outputs without what libraries say of a machine, which is no result.

    In notebooks TensorFlow's logger writes lines to the standard output.
    """
    found = []
    for one in outputs:
        if "text" in one:
            lines = one["text"].splitlines(keepends=True)
            kept = [line for line in lines if not line.startswith("WARNING:tensorflow")]
            one["text"] = "".join(kept)
        if one.get("name") != "stderr" and one.get("text", "-").strip():
            found.append(one)
    return found


def main(arguments):
    """Writes into each notebook what the module's docstring says."""
    import nbformat

    links_alone = arguments[:1] == ["--links"]
    for path in map(pathlib.Path, arguments[links_alone:]):
        before = _cpu_seconds()
        notebook = linked(path) if links_alone else executed(path)
        nbformat.write(notebook, path)
        print(f"{path}: {_cpu_seconds() - before:.0f} s of CPU time")


def _cpu_seconds():
    """Those of all processes that this one started and that have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


if __name__ == "__main__":
    main(sys.argv[1:])
