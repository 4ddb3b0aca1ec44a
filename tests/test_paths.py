"""Every path of every function: ``~`` is the home folder, remote storage is refused."""

import pathlib
import shutil

import keras
import numpy as np
import pytest

import keras_resnet
from keras_resnet import reproduce
from keras_resnet.__main__ import main
from keras_resnet.analysis import plots
from keras_resnet.callbacks import HistoryLog, Resume, read_history
from keras_resnet.config.recipe_files import read_recipe
from keras_resnet.data import folders, image_files, sources
from keras_resnet.detection import draw_detections, load_boxes, write_detections
from keras_resnet.export import load as exported
from keras_resnet.export.converters import export_classifier
from keras_resnet.export.saved_model import export_saved_model
from keras_resnet.files import local_path, sha256_of
from keras_resnet.runs.answers import check_table, write_table
from keras_resnet.runs.convert import convert
from keras_resnet.runs.detector_predict import check_folder
from keras_resnet.runs.evaluate import evaluate
from keras_resnet.runs.export import export
from keras_resnet.runs.places import folder_of, where
from keras_resnet.runs.predict import files, load_classifier
from keras_resnet.runs.record import read_record, write_record
from keras_resnet.runs.request import TrainRequest
from keras_resnet.runs.servable import servable
from keras_resnet.training import loggers
from keras_resnet.weights.files import read_checkpoint
from keras_resnet.weights.load import load_weights
from keras_resnet.weights.read import read
from tests.conftest import REPOSITORY

TRAINED = REPOSITORY / "saved_models/quickstart_seed0"
ROWS = [{"step": 1, "loss": 1.0, "accuracy": 0.5, "learning_rate": 0.1}]
IMAGE = np.zeros((1, 4, 4, 3), np.uint8)
# Functions of a path that must not be remote, by what the path is.
READERS = {
    "train's output_dir": lambda path: reproduce.train(output_dir=path, steps=1),
    "train's data": lambda path: reproduce.train(data=path, network="resnet20"),
    "train's weights": lambda path: reproduce.train(weights=path),
    "train's teacher": lambda path: reproduce.train(teacher=path),
    "train's recipe": lambda path: reproduce.train(f"{path}.toml"),
    "plan's output_dir": lambda path: keras_resnet.plan(output_dir=path),
    "a run": keras_resnet.load,
    "a run to evaluate": evaluate,
    "data to evaluate on": lambda path: evaluate(TRAINED, data=path),
    "a run to export": export,
    "where to export": lambda path: export(TRAINED, output=path),
    "data to export with": lambda path: export(TRAINED, data=path),
    "a classifier": load_classifier,
    "a servable": servable,
    "images": lambda path: files([path]),
    "a table to check": lambda path: check_table(f"{path}.csv"),
    "a table": lambda path: write_table(f"{path}.csv", []),
    "weights to convert": lambda path: convert(f"{path}.npz", "net"),
    "what to convert to": lambda path: convert("akamaster", path, network="resnet20"),
    "weights": lambda path: read(f"{path}.npz", "resnet20"),
    "a network's weights": lambda path: keras_resnet.create("resnet20", weights=path),
    "a state dict": lambda path: read_checkpoint(f"{path}.npz"),
    "checkpoints": Resume,
    "a history to write": HistoryLog,
    "a history": read_history,
    "a logger's folder": loggers.TensorBoard,
    "a record": read_record,
    "a record to write": lambda path: write_record({}, path),
    "an exported network": exported.load_exported,
    "a SavedModel": lambda path: export_saved_model(
        None, path, decode=None, normalize=None, class_names=()
    ),
    "another form": lambda path: export_classifier(
        None, path, None, normalize=None, class_names=(), preprocessing={}
    ),
    "a folder of images": folders.load,
    "images with boxes": load_boxes,
    "detections": lambda path: write_detections(f"{path}.csv", [], ()),
    "pictures of detections": lambda path: draw_detections([], (), path),
    "a folder of pictures to check": check_folder,
    "an image": lambda path: image_files.read_image(path, None),
    "a hash": sha256_of,
    "curves": lambda path: plots.training_curves(ROWS, path, title=""),
    "a history to draw": lambda path: plots.training_curves(path, "c.png", title=""),
}


@pytest.mark.parametrize("what", READERS)
def test_remote_storage_is_refused_before_anything_is_made(what, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    if what == "a servable":
        pytest.importorskip("litserve", reason="needs the extra `serve`")
    with pytest.raises(ValueError, match="this machine's file system.*'gs://bucket/x"):
        READERS[what]("gs://bucket/x")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "path", ["s3://b/x", "hdfs://host/x", "https://a.b/x", pathlib.Path("gs://b/x")]
)
def test_every_scheme_is_remote(path):
    with pytest.raises(ValueError, match="Mount the storage as a folder, or copy"):
        local_path(path, "`output_dir` (--output-dir)")


@pytest.mark.parametrize(
    "path", ["torchvision:IMAGENET1K_V2", "a:b", "C:/runs", "x/gs:/y", "~ a/b"]
)
def test_other_paths_are_as_they_are(path):
    assert local_path(path) == pathlib.Path(path)


def test_the_command_line_refuses_them_too(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    run = str(TRAINED)
    for words in (
        ["train", "--output-dir=gs://b/runs"],
        ["train", "--plan", "--output-dir=s3://b/runs"],
        ["show", "gs://b/r.toml"],
        ["serve", "gs://b/run"],
        ["predict", run, "gs://b/x.png"],
        ["predict", run, "x.png", "--output", "gs://b/x.csv"],
    ):
        assert main(words) == 2, words
        assert "file system. Received: '" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_an_empty_path_is_not_the_current_folder(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    run, image = str(TRAINED), str(tmp_path / "x.png")
    for words in (
        ["train", "--data", "", "--network", "resnet20", "--plan"],
        ["train", "--output-dir="],
        ["predict", run, image, "--output="],
        ["predict", "", image],
        ["evaluate", run, "--data="],
        ["export", run, "--output="],
        ["serve", ""],
    ):
        assert main(words) == 2, words
        assert "must not be empty. Received: ''" in capsys.readouterr().err, words
    with pytest.raises(ValueError, match="must not be empty"):
        files([""])
    with pytest.raises(ValueError, match="`data` must not be empty"):
        local_path("", "`data`")
    assert local_path(".") == pathlib.Path()


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A home folder, away from the working directory."""
    (tmp_path / "home").mkdir()
    (tmp_path / "here").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path / "here")
    yield tmp_path / "home"
    assert not list((tmp_path / "here").iterdir())  # As no folder called "~".


def test_a_request_is_at_home(home):
    request = TrainRequest(
        output_dir="~/runs", data=pathlib.Path("~/photos"), network="resnet18",
        weights="~/w.pth", teacher="~/t",
    )  # fmt: skip
    assert folder_of(request, "r") == home / "runs" / "r_seed0"
    assert request.data == home / "photos"
    assert (request.weights, request.teacher) == (f"{home}/w.pth", f"{home}/t")
    assert where("~/photos") == str((home / "photos").resolve())
    assert TrainRequest(weights="timm:a1_in1k").weights == "timm:a1_in1k"


@pytest.mark.slow
def test_files_are_read_and_written_at_home(home):
    (home / "run").mkdir()
    for name in ("record.json", "model.keras"):
        shutil.copy(TRAINED / name, home / "run")
    assert keras_resnet.load("~/run").folder == home / "run"
    assert read_record("~/run/record.json")["recipe"] == "quickstart"
    assert sha256_of("~/run/record.json") == sha256_of(TRAINED / "record.json")
    keras.utils.save_img(home / "a.png", IMAGE[0], scale=False)
    assert files(["~/a.png"]) == [home / "a.png"]
    write_table("~/t.csv", [])
    shutil.copy(TRAINED / "history.csv", home)
    assert len(read_history("~/history.csv")) > 1
    plots.training_curves("~/history.csv", "~/curves.png", title="")
    assert Resume("~/backup").folder == home / "backup"
    assert HistoryLog("~/h.csv").path == home / "h.csv"
    assert {"t.csv", "curves.png"} <= {path.name for path in home.iterdir()}
    (home / "r.toml").write_text("")
    with pytest.raises(ValueError, match="must be given"):
        read_recipe("~/r.toml")
    network = keras_resnet.create("resnet20", classes=10, input_shape=(28, 28, 1))
    load_weights(network, "~/run", keras_resnet.config.ARCHITECTURES["resnet20"])
    convert("~/run", "~/converted.npz")
    assert (home / "converted.npz").is_file()


def test_data_sets_may_lie_in_remote_storage(home, monkeypatch):
    tfds = pytest.importorskip("tensorflow_datasets", reason="needs the extra [data]")
    asked = []

    class Builder:
        def __init__(self, name, data_dir):
            asked.append(data_dir)

        def is_prepared(self):
            return True

    monkeypatch.setattr(tfds, "builder", Builder)
    for folder in ("gs://bucket/tfds", "~/tfds", None):
        assert sources.is_here("cifar10", folder)
    assert asked == ["gs://bucket/tfds", f"{home}/tfds", None]
    assert TrainRequest(data_dir="gs://bucket/tfds").data_dir == "gs://bucket/tfds"
