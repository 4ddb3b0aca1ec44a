"""Detectors' folders: converted from and to files, exported, and served."""

import json
from dataclasses import replace

import keras
import numpy as np
import pytest
from PIL import Image

from keras_resnet.__main__ import main
from keras_resnet.config.detectors import DETECTORS
from keras_resnet.detection import FasterRCNN
from keras_resnet.detection.weights import to_state_dict
from keras_resnet.export.load import find_exported
from keras_resnet.runs import detector_serve
from keras_resnet.runs.convert import convert
from keras_resnet.runs.detector_load import is_detector
from keras_resnet.runs.export import export
from keras_resnet.runs.load import load
from keras_resnet.runs.predict import load_predictor
from keras_resnet.weights.files import read_checkpoint, write_state_dict
from tests.helpers.photos import scene
from tests.helpers.reference import with_random_weights
from tests.helpers.small_detectors import small_detector, small_row

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="one backend's files are enough"
)
ROW = replace(small_row(), name="small", sides=(64, 100))


@pytest.fixture(scope="module", autouse=True)
def row():
    """A row of a small detector, as users name one."""
    patch = pytest.MonkeyPatch()
    patch.setitem(DETECTORS, "small", ROW)
    yield
    patch.undo()


@pytest.fixture(scope="module")
def source():
    """A detector of two classes."""
    return with_random_weights(FasterRCNN("small", num_classes=2, seed=0))


@pytest.fixture(scope="module")
def file(source, tmp_path_factory):
    """Its state dict in torchvision's names."""
    path = tmp_path_factory.mktemp("weights") / "w.npz"
    write_state_dict(to_state_dict(source), path)
    return path


@pytest.fixture(scope="module")
def folder(file, tmp_path_factory):
    out = tmp_path_factory.mktemp("converted") / "net"
    done = convert(file, out, network="small", classes=["cell", "Käfer"])
    assert (done.path, done.network, done.library) == (out, "small", None)
    return out


def assert_same(state, expected):
    assert set(state) == set(expected)
    for key, value in expected.items():
        np.testing.assert_array_equal(np.asarray(state[key]), value, err_msg=key)


@pytest.mark.slow
def test_a_folder_tells_all_of_a_detector(source, folder):
    assert sorted(path.name for path in folder.iterdir()) == [
        "model.keras",
        "source.json",
    ]
    assert is_detector(folder)
    found = load(folder)
    assert found.classes == found.model.class_names == ("cell", "Käfer")
    assert found.model.spec == ROW
    assert (found.batches.shorter_sides, found.batches.longer_side) == ((64,), 100)
    assert_same(to_state_dict(found.model), without_counters(source))


def without_counters(model):
    """The state dict as of a detector whose batch norms are frozen."""
    state = to_state_dict(model)
    return {
        key: value
        for key, value in state.items()
        if not (key.endswith("tracked") and key.startswith("backbone.body"))
    }


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [".safetensors", ".pth", ".weights.h5", ".keras"])
def test_files_go_there_and_back(source, folder, suffix, tmp_path):
    packages = {".safetensors": "safetensors", ".pth": "torch"}
    pytest.importorskip(packages.get(suffix, "keras"))
    path = tmp_path / f"w{suffix}"
    convert(
        folder, path, to="torchvision" if suffix in (".pth", ".safetensors") else None
    )
    if suffix in (".pth", ".safetensors"):
        assert_same(read_checkpoint(path), without_counters(source))
    back = tmp_path / "back"
    network = None if suffix == ".keras" else "small"
    classes = ["a", "b"] if suffix == ".weights.h5" else None
    convert(path, back, network=network, classes=classes)
    found = load(back)
    assert_same(to_state_dict(found.model), without_counters(source))
    names = {".keras": ("cell", "Käfer"), ".weights.h5": ("a", "b")}
    assert found.classes == names.get(suffix, ("0", "1"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--to", "timm"], "`to` (--to) must be torchvision"),
        (["--network", "resnet18"], "must be that of"),
        (["--classes", "imagenet"], "must name the 2 classes"),
    ],
)
def test_what_cannot_be_converted_is_said(folder, options, message, tmp_path, capsys):
    suffix = ".pth" if "--to" in options else ""
    assert main(["convert", str(folder), str(tmp_path / f"new{suffix}"), *options])
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
@pytest.mark.parametrize(
    "form", ["saved_model", pytest.param("onnx", marks=pytest.mark.exhaustive)]
)
def test_a_folder_is_exported_and_served(folder, form, tmp_path):
    if form == "onnx":
        pytest.importorskip("onnxruntime")
        pytest.importorskip("tf2onnx")
    written, report = export(folder, format=form, output=tmp_path / "out")
    assert json.loads((written / "export.json").read_text()) == report
    assert report["boxes"] > 0 and report["agreement"] >= 98
    assert find_exported(tmp_path / "out") == (written, form)
    assert detector_serve.serves_detector(tmp_path / "out")
    image = scene(60, 90)
    answers = []
    for one in (folder, tmp_path / "out"):
        served = detector_serve.servable(one)
        assert served.class_names == ("cell", "Käfer")
        answers.append(served.columns(served.prepare_pixels(image[np.newaxis])))
    np.testing.assert_array_equal(answers[0]["names"], answers[1]["names"])
    assert answers[0]["count"][0] > 0
    np.testing.assert_allclose(answers[0]["boxes"], answers[1]["boxes"], atol=1e-2)
    Image.fromarray(image).save(tmp_path / "photo.png")
    (tmp_path / "none.png").write_text("no image")
    files = [tmp_path / "photo.png", tmp_path / "none.png"]
    detector = load_predictor(tmp_path / "out")
    assert detector.classes == ("cell", "Käfer")
    (_, found), (_, error) = detector.detect(files, score=0.01)
    count = (answers[1]["scores"][0] >= 0.01).sum()
    assert len(found["boxes"]) == count > 0
    np.testing.assert_array_equal(found["boxes"], answers[1]["boxes"][0][:count])
    assert "none.png must be a JPEG" in str(error)
    with pytest.raises(ValueError, match="`score` must be from 0 to 1"):
        detector.detect(files, score=2)


def test_forms_that_there_are_not_are_said():
    from keras_resnet.runs import detector_export

    for options in ({"format": "litert"}, {"precision": "int8"}):
        with pytest.raises(ValueError, match="saved_model or onnx"):
            detector_export.export(None, **options)
    with pytest.raises(ValueError, match="is a SavedModel's"):
        detector_export.export(None, format="onnx", version=2)


def test_other_folders_are_no_detectors(tmp_path):
    assert not is_detector(tmp_path)
    assert not detector_serve.serves_detector(tmp_path)
    (tmp_path / "source.json").write_text("{")
    assert not is_detector(tmp_path)
    (tmp_path / "source.json").write_text('{"network_values": null}')
    assert not is_detector(tmp_path)


@pytest.mark.slow
def test_names_that_do_not_fit_are_named(tmp_path):
    from keras_resnet.runs import detector_convert

    model = small_detector()
    found = detector_convert.Found(model, detector_convert.settings_of(ROW), "x", None)
    detector_convert.name_classes(found, None)
    assert model.class_names == ("0", "1", "2")
    detector_convert.write_folder(found, {}, tmp_path)
    path = tmp_path / "source.json"
    path.write_text(path.read_text().replace('"2"', '"2", "3"'))
    with pytest.raises(ValueError, match=r"source.json was damaged .* hold 3 names"):
        load(tmp_path)


# --- torchvision ------------------------------------------------------------------


@pytest.mark.parity
@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        pytest.param("fasterrcnn_resnet50_fpn", marks=pytest.mark.exhaustive),
        "fasterrcnn_resnet50_fpn_v2",
    ],
)
def test_torchvisions_weights_come_in_and_go_out(name, torch, torchvision, tmp_path):
    """A fine-tuned detector of torchvision's, as its state dict was saved."""
    theirs = torchvision.models.get_model(
        name, weights=None, weights_backbone=None, num_classes=4
    )
    torch.manual_seed(0)
    with torch.no_grad():
        for module in theirs.modules():
            if hasattr(module, "running_var"):
                module.running_var.uniform_(0.5, 2)
                module.running_mean.normal_(0, 0.1)
    torch.save({"model": theirs.state_dict(), "epoch": 3}, tmp_path / "w.pth")
    done = convert(tmp_path / "w.pth", tmp_path / "net", network=name)
    print(done)
    assert done.library == "torchvision"
    assert done.difference <= 1e-4 * max(1, done.largest)
    source = json.loads((tmp_path / "net/source.json").read_text())
    assert (source["classes"], source["compared_with"]) == (list("012"), "torchvision")
    convert(tmp_path / "net", tmp_path / "back.pth", to="torchvision")
    state = torch.load(tmp_path / "back.pth", weights_only=True)
    expected = theirs.state_dict()
    theirs.load_state_dict(state, strict=True)
    for key, value in theirs.state_dict().items():
        if not key.endswith("tracked"):
            assert torch.equal(value, expected[key]), key
