"""The arrows of the architecture: who may import whom, and which framework."""

import ast
import pathlib
import subprocess
import sys

import pytest

import keras_resnet

PACKAGE = pathlib.Path(keras_resnet.__file__).parent
# Facts, what replaces a file, files of arrays, what pixels and outputs are, and names that
# are imported late: for everybody.
BELOW = {"arrays", "config", "files", "lazy", "outputs", "pixels", "targets"}
MAY_IMPORT = {
    "config": set(),
    "arrays.py": {"files"},
    "files.py": set(),
    "lazy.py": set(),
    "outputs.py": set(),
    "targets.py": {"files"},
    "pixels.py": set(),
    "data": BELOW | {"devices"},
    "models": BELOW,
    "devices": BELOW,
    "training": BELOW | {"devices"},
    "evaluation": BELOW | {"data", "devices"},
    "analysis": BELOW | {"evaluation"},
    "report": BELOW | {"analysis"},  # Plain facts in, one page out.
    "export": BELOW | {"devices"},
    "serving": BELOW | {"__version__", "devices", "export"},
    "weights": BELOW | {"models"},
    # Public faces, where users of Keras look for these.
    "optimizers.py": {"training"},
    "callbacks.py": {"training"},
    "layers.py": {"data", "models", "training"},
    "applications.py": BELOW | {"models", "weights"},
    # Its callbacks draw pictures.
    "detection": BELOW
    | {"analysis", "applications", "data", "devices", "models", "weights"},
    "runs": BELOW
    | {
        "__version__",
        "analysis",
        "applications",
        "data",
        "detection",
        "devices",
        "evaluation",
        "export",
        "models",
        "report",
        "serving",
        "training",
        "weights",
    },
    "reproduce.py": BELOW
    | {
        "analysis",
        "data",
        "devices",
        "evaluation",
        "models",
        "runs",
        "training",
    },
    "cli": BELOW
    | {
        "__version__",
        "applications",
        "devices",
        "export",
        "reproduce",
        "runs",
        "serving",
    },
}
STANDARD_LIBRARY = sys.stdlib_module_names


def imports(path):
    """Yields the dotted names that a file or the files of a folder import."""
    for file in [path] if path.is_file() else path.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                yield from ((file, alias.name) for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                yield from ((file, f"{node.module}.{a.name}") for a in node.names)


@pytest.mark.parametrize("part", MAY_IMPORT)
def test_arrows_point_one_way(part):
    allowed = MAY_IMPORT[part] | {part.removesuffix(".py")}
    forbidden = [
        (file.name, name)
        for file, name in imports(PACKAGE / part)
        if name.startswith("keras_resnet.") and name.split(".")[1] not in allowed
    ]
    assert not forbidden


def test_every_part_has_its_arrows():
    parts = {
        path.name
        for path in PACKAGE.iterdir()
        if not path.name.startswith("__") and list(imports(path))
    }
    assert parts == set(MAY_IMPORT)


def test_config_needs_the_standard_library_alone():
    others = {name.split(".")[0] for _, name in imports(PACKAGE / "config")}
    assert others - STANDARD_LIBRARY <= {"keras_resnet"}


@pytest.mark.parametrize("part", ["models", "training", "analysis"])
def test_framework_free_parts_import_no_backend(part):
    backends = {"tensorflow", "jax", "torch"}
    allowed = {
        "batch_norm.py",
        "differentiation.py",
        "faster.py",
        "loggers.py",
        "optimizers.py",
        "steps.py",
    }
    found = {
        (file.name, name)
        for file, name in imports(PACKAGE / part)
        if name.split(".")[0] in backends and file.name not in allowed
    }
    assert not found


@pytest.mark.parametrize("part", ["data", "export", "runs", "serving", "reproduce.py"])
def test_tensorflow_is_taken_from_devices(part):
    # `devices.host` keeps it off the GPUs of other backends before its first operation.
    found = {
        (file.name, name)
        for file, name in imports(PACKAGE / part)
        if name.split(".")[0] == "tensorflow"
        and not name.startswith("tensorflow.core.protobuf")  # Messages alone.
    }
    assert not found


def test_matplotlib_is_imported_for_figures_alone():
    users = {f.name for f, name in imports(PACKAGE) if name.startswith("matplotlib")}
    assert users == {
        "box_plots.py",
        "figures.py",
        "landscape_plots.py",
        "network_plots.py",
        "plots.py",
        "seeing_plots.py",
    }


def test_import_pulls_in_no_framework():
    code = (
        "import sys, keras_resnet; "
        "print(sorted({'keras', 'tensorflow', 'matplotlib'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("face", ["optimizers", "callbacks", "layers"])
def test_public_faces_only_name_what_lies_elsewhere(face):
    module = __import__(f"keras_resnet.{face}", fromlist=["__all__"])
    imported = {name.rpartition(".")[2] for _, name in imports(PACKAGE / f"{face}.py")}
    assert set(module.__all__) == imported
    assert module.__all__ == sorted(module.__all__)
