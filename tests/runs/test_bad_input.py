"""Bad input to every analysis and every protocol, by the command line.

Each is a result or an error that says what must hold, what was received and what to do;
there is no traceback, and an error replaces nothing that was kept before.
"""

import contextlib
import json
import shutil

import numpy as np
import pytest

from keras_resnet.__main__ import main
from keras_resnet.cli import analyzing
from keras_resnet.config.protocols import PROTOCOLS
from keras_resnet.files import read_json
from keras_resnet.models import saved
from keras_resnet.runs.analyses import ANALYSES
from tests.helpers.measured import NAMES, PREPROCESSING, pixels, png
from tests.helpers.small_nets import small_net

BEFORE = "of before"
QUICK = "--images 5 --samples 1 --points 3".split()


def slow(names, *first):
    """Parameters: those named first are slow tests, the rest of the product exhaustive."""
    marks = {name: pytest.mark.slow for name in first}
    assert set(first) <= set(names)
    return [
        pytest.param(name, marks=marks.get(name, pytest.mark.exhaustive))
        for name in names
    ]


def with_nan():
    model = small_net()
    kernel = [layer for layer in model.layers if hasattr(layer, "kernel")][-1].kernel
    kernel.assign(np.full(kernel.shape, np.nan))
    return model


NETWORKS = {
    "whole": small_net,
    "plain": lambda: small_net("plain", 3),
    "nan": with_nan,
    "one_class": lambda: small_net(classes=1),
}


@pytest.fixture(scope="module")
def networks(tmp_path_factory):
    """Folders as `keras-resnet convert` writes them, by what is special in the network."""
    root = tmp_path_factory.mktemp("networks")
    for name, make in NETWORKS.items():
        model = make()
        model.preprocessing = PREPROCESSING
        (root / name).mkdir()
        saved.save(model, root / name / "model.keras")
        source = {
            "network": name,
            "source": "test",
            "preprocessing": PREPROCESSING.as_json(),
            "classes": NAMES[: model.output_shape[-1]],
        }
        (root / name / "source.json").write_text(json.dumps(source))
    return root


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """An image of 6 x 9 pixels of each class: smaller than what the network takes."""
    root = tmp_path_factory.mktemp("data")
    for seed, name in enumerate(NAMES):
        (root / name).mkdir()
        (root / name / "1.png").write_bytes(png(pixels((6, 9), seed)))
    return root


@pytest.fixture
def run(networks, tmp_path):
    """A function that copies one of the networks, with results of before."""

    def copied(name):
        folder = tmp_path / name
        shutil.copytree(networks / name, folder)
        (folder / "analysis").mkdir()
        for analysis in ANALYSES:
            for suffix in ("json", "png", "svg"):
                (folder / "analysis" / f"{analysis}.{suffix}").write_text(BEFORE)
        return folder

    return copied


def refused(words, capsys, said):
    """Checks that a command is wrong usage, and says this, in a few lines."""
    assert main(words) == 2
    error = capsys.readouterr().err
    assert said in error and "Traceback" not in error
    assert len(error) < 1500


def assert_kept(folder):
    texts = {path.read_text() for path in (folder / "analysis").iterdir()}
    assert texts == {BEFORE} and not (folder / "evaluation.json").exists()


# --- Analyses ----------------------------------------------------------------------


@pytest.mark.parametrize("name", slow(ANALYSES, "responses", "paths", "trajectory"))
def test_a_network_without_residual_additions(run, data, capsys, name):
    folder = run("plain")
    words = ["analyze", str(folder), name, "--data", str(data), *QUICK]
    said = {
        "paths": "must have residual additions",
        "trajectory": "must hold the weights of three moments of its training",
    }
    if name in said:
        refused(words, capsys, said[name])
        assert_kept(folder)
        return
    assert main(words) == 0
    record = read_json(folder / "analysis" / f"{name}.json")
    assert record["images"] == 5 and capsys.readouterr().out.count("\n") >= 3


@pytest.mark.parametrize("name", slow(ANALYSES, "landscape", "trajectory"))
def test_weights_that_are_no_numbers(run, data, capsys, name):
    folder = run("nan")
    words = ["analyze", str(folder), name, "--data", str(data), *QUICK]
    said = "weights of three moments" if name == "trajectory" else "must be finite"
    refused(words, capsys, said)
    assert_kept(folder)


@pytest.mark.parametrize("name", slow(["evaluate", *ANALYSES], "evaluate", "lesions"))
def test_one_class(run, data, tmp_path, capsys, name):
    folder = run("one_class")
    words = ["evaluate", str(folder)]
    if name in ANALYSES:
        words = ["analyze", str(folder), name]
    shutil.copytree(data / NAMES[0], tmp_path / "alone" / NAMES[0])
    alone = ["--data", str(tmp_path / "alone")]
    refused([*words, *alone], capsys, "must have at least two classes")
    refused([*words, "--data", str(data)], capsys, "must have the run's classes")
    refused(words, capsys, "(--data)")
    assert_kept(folder)


@pytest.mark.slow
def test_no_validation_split(run, data, capsys):
    folder = run("whole")
    split = ["--data", str(data), "--split", "validation"]
    for words in (["evaluate", str(folder)], ["analyze", str(folder), "lesions"]):
        refused([*words, *split], capsys, "Leave it out")
    assert_kept(folder)


@pytest.mark.slow
def test_a_landscape_that_was_interrupted_goes_on(run, data, capsys, monkeypatch):
    folder, seen = run("whole"), []

    @contextlib.contextmanager
    def until(stop):
        def shown(done, total):
            seen.append((done, total))
            if done == stop:
                raise KeyboardInterrupt

        yield shown

    words = ["analyze", str(folder), "landscape", "--data", str(data), *QUICK]
    words += ["--dimensions", "1"]
    monkeypatch.setattr(analyzing, "progress", lambda what: until(2))
    assert main(words) == 130
    assert "Traceback" not in capsys.readouterr().err
    points = folder / "analysis" / "landscape.npz"
    assert points.stat().st_size and seen == [(1, 3), (2, 3)]
    assert (folder / "analysis" / "landscape.json").read_text() == BEFORE
    monkeypatch.setattr(analyzing, "progress", lambda what: until(None))
    seen.clear()
    assert main(words) == 0
    assert seen == [(3, 3)]
    resumed = read_json(folder / "analysis" / "landscape.json")["results"]
    points.unlink()
    assert main(words) == 0
    assert read_json(folder / "analysis" / "landscape.json")["results"] == resumed


# --- Protocols ---------------------------------------------------------------------


@pytest.mark.parametrize("name", slow(PROTOCOLS, "single_crop"))
def test_protocols(run, data, capsys, name):
    """Images smaller than the crop are enlarged; NaN is an error that keeps nothing."""
    words = ["--data", str(data), "--protocol", name]
    folder = run("nan")
    refused(["evaluate", str(folder), *words], capsys, "must give finite numbers")
    assert_kept(folder)
    folder = run("whole")
    assert main(["evaluate", str(folder), *words]) == 0
    [result] = read_json(folder / "evaluation.json")["results"]
    assert (result["n"], result["protocol"]) == (5, name)
    assert np.isfinite(result["loss"])


@pytest.mark.slow
def test_crops_without_a_margin(run, data, capsys):
    words = ["evaluate", str(run("whole")), "--data", str(data)]
    refused([*words, "--crops", "10", "--scales", "6"], capsys, "smaller than the crop")
    refused([*words, "--dense", "--crop", "8"], capsys, "leave out `crop`")
