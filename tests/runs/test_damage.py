"""Files of a run that were edited by hand, damaged, or can't be written."""

import copy
import json
import shutil
import subprocess
from types import SimpleNamespace

import keras
import numpy as np
import pytest

import keras_resnet
from keras_resnet.__main__ import main
from keras_resnet.analysis import plots
from keras_resnet.config.architectures import ARCHITECTURES
from keras_resnet.config.values import to_values
from keras_resnet.data import sources
from keras_resnet.export.load import load_exported
from keras_resnet.files import damage_of
from keras_resnet.runs import evaluate as evaluation
from keras_resnet.runs import finish
from keras_resnet.runs.evaluate import evaluate, read_evaluations
from keras_resnet.runs.export import export
from keras_resnet.runs.folder import read_settings
from keras_resnet.runs.messages import say_finished
from keras_resnet.runs.predict import load_classifier
from keras_resnet.runs.record import read_record, summary
from keras_resnet.runs.request import TrainRequest
from keras_resnet.runs.tables import table
from keras_resnet.training.history import read_history
from keras_resnet.weights.read import read
from tests.conftest import REPOSITORY
from tests.helpers.small_splits import small_splits

TRAINED = REPOSITORY / "saved_models/quickstart_seed0"
RECORD = json.loads((TRAINED / "record.json").read_text()) | {
    "phase_seconds": {},
    "recipe_values": {},
    "network_values": to_values(ARCHITECTURES["resnet20"]),
}
SETTINGS = json.loads((TRAINED / "settings.json").read_text())


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The trained run without its exports."""
    folder = tmp_path_factory.mktemp("runs") / TRAINED.name
    folder.mkdir()
    for name in ("record.json", "settings.json", "history.csv", "model.keras"):
        shutil.copy(TRAINED / name, folder)
    return folder


@pytest.fixture
def few(monkeypatch):
    """Few images in place of the data sets'."""
    splits = small_splits()
    monkeypatch.setattr(sources, "load", lambda name, data_dir=None: splits)
    return splits


def edited(values, path, change):
    """Values in which the key at a path is removed, added or has another type."""
    values = copy.deepcopy(values)
    *outer, last = path.split(".")
    part = values
    for name in outer:
        part = part[name]
    if change == "missing":
        del part[last]
    elif change == "extra":
        part[f"{last}s"] = part[last]
    else:
        part[last] = {"of": "another type"} if not isinstance(part[last], dict) else 7
    return values


# --- Records ----------------------------------------------------------------------

NESTED = ("dataset", "hardware", "test", "preprocessing", "network_values")
KEYS = [*RECORD] + [f"{name}.{key}" for name in NESTED for key in RECORD[name]]
LATER = {"phase_seconds", "recipe_values", "network_values", "dataset.skipped"} | {
    # What earlier versions did not write has a default.
    f"{name}.{key}"
    for name, keys in {
        "preprocessing": ("channel_order", "interpolation", "resize"),
        "network_values": RECORD["network_values"],
    }.items()
    for key in keys
}


@pytest.mark.parametrize(
    ("key", "change"),
    [
        (key, change)
        for key in KEYS
        for change in ("missing", "extra", "type")
        if change != "missing" or key not in LATER
    ],
)
def test_an_edited_record_names_file_and_key(key, change, tmp_path, monkeypatch):
    monkeypatch.setattr(keras.saving, "load_model", lambda path, compile: None)
    (tmp_path / "record.json").write_text(json.dumps(edited(RECORD, key, change)))
    shutil.copy(TRAINED / "model.keras", tmp_path)
    with pytest.raises(ValueError, match="record") as error:
        record = read_record(tmp_path / "record.json")
        if key.split(".")[0] not in ("preprocessing", "network_values"):
            summary(record, tmp_path), table([record])
        keras_resnet.load(tmp_path)
    last = key.rpartition(".")[2]
    assert (
        f"{last}s" in str(error.value)
        if change == "extra"
        else last in str(error.value)
    )
    assert "record" in str(error.value)
    assert len(str(error.value)) < 2000


def test_the_share_of_validation_images_is_needed(run, tmp_path):
    shutil.copytree(run, tmp_path / "run")
    record = edited(RECORD, "overrides", "extra") | {
        "overrides": {"data": str(tmp_path)}
    }
    del record["overridess"]
    (tmp_path / "run/record.json").write_text(json.dumps(record))
    with pytest.raises(ValueError, match="record.json must have .*val_fraction=None"):
        evaluate(tmp_path / "run")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"classes": "cat"}, "`classes`"),
        ({"classes": [1, 2]}, "`classes`"),
        ({"classes": ["ant", "bee", "ant"]}, r"`classes`.* more than once: \['ant'\]"),
        ({"network": None}, "`network`"),
        ({"preprocessing": 3}, "`preprocessing`"),
        ({"preprocessing": {"channels": 3}}, "preprocessing.size"),
        ({"network_values": {"blocks": 3}}, "blocks"),
    ],
)
def test_an_edited_source_names_file_and_key(change, message, tmp_path):
    source = {key: RECORD[key] for key in ("network", "classes", "preprocessing")}
    (tmp_path / "source.json").write_text(json.dumps(source | change))
    with pytest.raises(ValueError, match=f"source.json .* damaged.*{message}"):
        keras_resnet.load(tmp_path)


@pytest.mark.parametrize("value", [[], 3, None, "text"])
def test_a_record_that_is_no_object_is_said_to_be_none(value, tmp_path):
    (tmp_path / "record.json").write_text(json.dumps(value))
    with pytest.raises(
        ValueError, match="record.json must be a JSON object.* Received: "
    ):
        keras_resnet.load(tmp_path)


@pytest.mark.parametrize("change", [-1, 1])
def test_a_record_names_as_many_classes_as_the_network_has(change, tmp_path):
    names = [f"class {number}" for number in range(len(RECORD["classes"]) + change)]
    (tmp_path / "record.json").write_text(json.dumps(RECORD | {"classes": names}))
    shutil.copy(TRAINED / "model.keras", tmp_path)
    message = f"record.json was damaged .*`classes` must hold 10 .* {len(names)} names"
    with pytest.raises(ValueError, match=message):
        keras_resnet.load(tmp_path)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("mean", [np.nan]),
        ("mean", [np.inf]),
        ("std", [0.0]),
        ("std", [np.nan]),
        ("std", [np.inf]),
        ("std", [-1.0]),
        ("size", [-3, 28]),
        ("size", [28, 0]),
    ],
)
def test_a_record_of_impossible_preprocessing_names_the_key(key, value, tmp_path):
    prepare = RECORD["preprocessing"] | {key: value}
    record = json.dumps(RECORD | {"preprocessing": prepare})
    (tmp_path / "record.json").write_text(record)
    with pytest.raises(ValueError, match=f"record.json was damaged .*`{key}` must"):
        keras_resnet.load(tmp_path)


# --- Settings, histories, evaluations, exports ------------------------------------


@pytest.mark.parametrize("key", [f"recipe.{key}" for key in SETTINGS["recipe"]])
@pytest.mark.parametrize("change", ["extra", "type"])
def test_edited_settings_name_file_and_key(key, change, tmp_path):
    (tmp_path / "settings.json").write_text(json.dumps(edited(SETTINGS, key, change)))
    with pytest.raises(ValueError, match="settings.json must hold") as error:
        read_settings(tmp_path)
    assert key.rpartition(".")[2] in str(error.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("step,loss\n1,x\n", "line 2 .*'x'"),
        ("step,loss\n1,2,3\n", "line 2 has more or fewer"),
        ("step,loss\n1,0.5\n2\n", "line 3 has more or fewer"),
        ("loss\n1\n", "no column `step`"),
        ("", "no column `step`"),
        ("step\n1.5\n", "line 2"),
        (b"step\n\xff\n", "utf-8"),
        (b"step,loss\n1,\0\n", "line"),
    ],
)
def test_an_edited_history_names_file_and_line(text, message, tmp_path):
    path = tmp_path / "history.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ValueError, match=f"history.csv must be a table.*{message}"):
        read_history(path)


def test_curves_of_an_edited_history_name_file_and_column(tmp_path):
    path = tmp_path / "history.csv"
    for text, message in {"step,loss\n1,x\n": "`loss`", "loss\n1\n": "`step`"}.items():
        path.write_text(text)
        with pytest.raises(ValueError, match=f"history.csv must be .*{message}"):
            plots.training_curves(path, tmp_path / "c.png", title="")


@pytest.mark.parametrize("key", ["data", "sha256", "split"])
def test_an_edited_evaluation_names_file_and_key(key, tmp_path):
    result = {"data": "a", "sha256": "b", "split": "test", "protocol": "c"}
    del result[key]
    path = tmp_path / "evaluation.json"
    path.write_text(json.dumps({"results": [result]}))
    with pytest.raises(ValueError, match=f"evaluation.json must hold .*{key}"):
        read_evaluations(path)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("preprocessing.json", "[]", "the keys size, channels"),
        ("preprocessing.json", '{"size": [28, 28]}', "Missing: channels"),
        ("preprocessing.json", "half", "Export it again"),
        ("labels.txt", b"\xff\n", "must be UTF-8"),
        ("labels.txt", "one\n", "labels.txt has 1 names for 10 classes"),
    ],
)
def test_an_edited_export_names_file_and_key(name, text, message, tmp_path):
    folder = tmp_path / "1"
    shutil.copytree(TRAINED / "saved_model/1", folder)
    text = text if isinstance(text, bytes) else text.encode()
    (folder / "assets.extra" / name).write_bytes(text)
    with pytest.raises(ValueError, match=message) as error:
        load_exported(folder)
    assert name in str(error.value)


def test_unknown_preprocessing_of_an_export_is_named(tmp_path):
    shutil.copytree(TRAINED / "saved_model/1", tmp_path / "1")
    path = tmp_path / "1/assets.extra/preprocessing.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"colour": "blue"}))
    with pytest.raises(ValueError, match=r"preprocessing.json .*preprocessing.colour"):
        load_classifier(tmp_path / "1")


# --- The network ------------------------------------------------------------------


def flipped(contents):
    contents = bytearray(contents)
    contents[len(contents) // 2] ^= 1
    return bytes(contents)


DAMAGES = {
    "a flipped bit": (flipped, "checksum of .* in it is wrong"),
    "cut short": (lambda contents: contents[: len(contents) // 2], "cut short"),
    "empty": (lambda contents: b"", "it is empty"),
    "another file": (lambda contents: b"no zip" * 100, "it is damaged"),
}


@pytest.mark.parametrize("kind", DAMAGES)
def test_a_damaged_network_is_said(kind, run, tmp_path, capsys):
    damage, message = DAMAGES[kind]
    folder = tmp_path / "run"
    shutil.copytree(run, folder)
    assert damage_of(folder / "model.keras") is None
    contents = (run / "model.keras").read_bytes()
    (folder / "model.keras").write_bytes(damage(contents))
    with pytest.raises(ValueError, match=f"model.keras can't be used: .*{message}"):
        keras_resnet.load(folder)
    for words in (["evaluate"], ["predict", "x.png"], ["export"]):
        assert main([words[0], str(folder), *words[1:]]) == 2
        assert "`keras-resnet train` command" in capsys.readouterr().err


def test_damaged_weights_are_said(run, tmp_path):
    damaged = tmp_path / "w.keras"
    damaged.write_bytes(flipped((run / "model.keras").read_bytes()))
    with pytest.raises(
        ValueError, match="w.keras must be a whole .keras file.*checksum"
    ):
        read(damaged, "resnet20")


def test_training_again_names_an_edited_record(tmp_path, capsys):
    text = json.dumps(edited(RECORD, "preprocessing.std", "missing"))
    (tmp_path / "record.json").write_text(text)
    with pytest.raises(ValueError, match="record.json .*`preprocessing.std`"):
        say_finished(tmp_path, TrainRequest())
    assert not capsys.readouterr().out


def test_a_missing_network_is_said(run, tmp_path):
    shutil.copytree(run, tmp_path / "run")
    (tmp_path / "run/model.keras").unlink()
    with pytest.raises(ValueError, match="can't be used: it is missing"):
        keras_resnet.load(tmp_path / "run")


# --- Read-only and full disks -----------------------------------------------------


@pytest.fixture
def disk(tmp_path, run):
    """A small disk with a run; a function that makes it read-only."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(place)]
    try:
        subprocess.run(mounted, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("mounting a file system isn't allowed here")
    shutil.copytree(run, place / "run")

    def freeze():
        command = ["mount", "-o", "remount,ro", str(place)]
        subprocess.run(command, check=True)

    yield place, freeze
    subprocess.run(["umount", str(place)], check=True)


@pytest.mark.slow
def test_a_read_only_run_is_measured(disk, few, capsys):
    place, freeze = disk
    freeze()
    with pytest.warns(UserWarning, match=r"isn't kept in .*(evaluation\.json|\.npz):"):
        assert main(["evaluate", str(place / "run")]) == 0
    assert "top-1 error" in capsys.readouterr().out
    image = place.parent / "a.png"
    keras.utils.save_img(image, few.test.images[0], scale=False)
    assert main(["predict", str(place / "run"), str(image)]) == 0
    assert "%" in capsys.readouterr().out


def test_exports_ask_first_whether_they_can_be_written(disk, monkeypatch, capsys):
    place, freeze = disk
    freeze()
    monkeypatch.setattr("keras_resnet.runs.export.sample_of", None)  # Comes later.
    with pytest.raises(PermissionError, match=r"--output.* can't be written"):
        export(place / "run")
    words = ["predict", str(place / "run"), "x.png", "--output", str(place / "x.csv")]
    assert main(words) == 1
    assert "can't be written" in capsys.readouterr().err


def test_a_full_disk_loses_no_result(disk, few, monkeypatch):
    place, _ = disk
    (place / "run/evaluation.json").write_text('{"results": []}')
    with (place / "full").open("wb", buffering=0) as file, pytest.raises(OSError):
        while True:
            file.write(b"0" * 4096)
    monkeypatch.setattr(
        evaluation.environment, "versions", lambda: {"much": "x" * 10_000}
    )
    with pytest.warns(UserWarning, match=r"isn't kept in .*No space left"):
        result = evaluate(place / "run")
    assert 0 <= result["top1_error"] <= 100
    assert (place / "run/evaluation.json").read_text() == '{"results": []}'


# --- A run in Python --------------------------------------------------------------


def test_a_run_evaluates_itself(run, few):
    loaded = keras_resnet.load(run)
    one = len(few.test.labels)
    result = loaded.evaluate(split="test", batch_size=8)
    assert result["n"] == one
    assert result["split"] == "test"
    (run / "evaluation.json").unlink()


def test_a_run_exports_itself(run, tmp_path, monkeypatch):
    for package in ("onnx", "onnxruntime", "tf2onnx"):
        pytest.importorskip(package)
    loaded, asked = keras_resnet.load(run), []
    monkeypatch.setattr(
        "keras_resnet.runs.export._convert",
        lambda run, target, form, **options: asked.append((run, target, form)),
    )
    with pytest.raises(IndexError):  # No report: nothing was written.
        loaded.export("onnx", output=tmp_path / "onnx")
    assert asked[0][0] is loaded
    assert asked[0][1] == tmp_path / "onnx"
    assert asked[0][2].format == "onnx"


def test_runs_and_records_show_themselves_in_a_line(run):
    loaded = keras_resnet.load(run)
    assert repr(loaded) == (f"Run('{run}': resnet20, 10 classes, images 28×28×1)")
    assert repr(loaded.record) == (
        "Record(resnet20 on fashion_mini, seed 0, test top-1 error "
        f"{RECORD['test']['top1_error']:.2f} %)"
    )
    assert json.loads(json.dumps(loaded.record)) == loaded.record
    images = np.zeros((1, 28, 28, 1), np.uint8)
    assert len(loaded.predict(images)[0]) == 5


@pytest.mark.parametrize("by", ["the system", "TensorFlow"])
def test_a_saved_model_that_cant_be_written_ends_no_run(tmp_path, monkeypatch, by):
    error = OSError(28, "No space left on device")
    if by == "TensorFlow":
        tf = pytest.importorskip("tensorflow")
        error = tf.errors.ResourceExhaustedError(None, None, "No space left on device")

    def refuse(*arguments, **options):
        raise error

    monkeypatch.setattr(finish, "export_model", refuse)
    splits = SimpleNamespace(class_names=())
    job = SimpleNamespace(preprocessing=None, splits=splits)
    with pytest.warns(UserWarning, match="saved_model can't .*No space.*resnet export"):
        finish.export_or_warn(None, job, tmp_path)
    error = ValueError("one of ours")
    with pytest.raises(ValueError, match="one of ours"):
        finish.export_or_warn(None, job, tmp_path)
