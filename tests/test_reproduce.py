"""A recipe from its name to its record: made, finished, gone on with, refused."""

import contextlib
import json
import math
import pathlib
import re
import shutil
import subprocess
import sys
import zipfile
from dataclasses import replace
from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tomli_w

import keras_resnet
from keras_resnet import reproduce
from keras_resnet.analysis.complexity import parameters
from keras_resnet.config.architectures import ARCHITECTURES, network_of
from keras_resnet.config.recipe import WeightAverage
from keras_resnet.config.recipe_files import for_toml
from keras_resnet.config.recipes import RECIPES
from keras_resnet.config.schedules import CosineDecay, StepDecay
from keras_resnet.config.spec import doubling
from keras_resnet.data import folders, pipelines, sources
from keras_resnet.data.identity import read_files
from keras_resnet.devices import agreement, find
from keras_resnet.runs import build, finish, pictures
from keras_resnet.runs import evaluate as evaluation
from keras_resnet.runs.convert import convert
from keras_resnet.runs.folder import LOCK, lock_folder
from keras_resnet.runs.images import count_trained_on
from keras_resnet.runs.record import KEYS, read_record
from keras_resnet.training import batch_norm, loggers
from keras_resnet.training.history import HISTORY, read_history
from keras_resnet.training.snapshots import SNAPSHOTS
from tests.helpers.small_splits import small_splits
from tests.helpers.smoke import smoke

FILES = {
    "model.keras",
    "history.csv",
    "record.json",
    "curves.png",
    "predictions.png",
    "settings.json",
}


@pytest.fixture(scope="module", autouse=True)
def small_world():
    """A recipe of four updates on few images, in place of the quick one.

    Its ResNet-20 has one block a stage: most of a run's time here is the tracing of its
    layers, and what a run leaves does not depend on their number.
    """
    patch = pytest.MonkeyPatch()
    splits = small_splits()
    shallow = replace(
        ARCHITECTURES["resnet20"], stages=doubling("basic", (1, 1, 1), 16)
    )
    patch.setitem(ARCHITECTURES, "resnet20", shallow)
    patch.setattr(sources, "load", lambda name, data_dir=None: splits)
    patch.setitem(RECIPES, "quickstart", smoke(RECIPES["quickstart"]))
    yield
    patch.undo()


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    return reproduce.train(output_dir=tmp_path_factory.mktemp("runs"), verbose=0)


def test_a_run_leaves_what_it_promises(finished):
    assert finished.name == "quickstart_seed0"
    assert FILES <= {path.name for path in finished.iterdir()}
    assert (finished / "saved_model" / "1" / "saved_model.pb").exists()
    assert not list(finished.glob("writing_*"))


@pytest.mark.slow
def test_a_run_says_what_it_computes_on(tmp_path, capsys):
    reproduce.train(output_dir=tmp_path, devices="cpu", verbose=1)
    assert "Training resnet20 on cpu:0 in float32." in capsys.readouterr().out


def test_history_has_its_columns(finished):
    rows = read_history(finished / "history.csv")
    assert tuple(rows[0]) == HISTORY
    assert [row["step"] for row in rows] == [2, 4]


def test_record_tells_the_run(finished):
    record = read_record(finished / "record.json")
    assert tuple(record) == tuple(KEYS)
    assert record["recipe"] == "quickstart"
    assert record["network"] == "resnet20"
    trained = keras_resnet.load(finished).model.trainable_weights
    assert record["parameters"] == sum(math.prod(w.shape) for w in trained)
    assert record["steps"] == 4
    assert record["dataset"]["splits"] == {"train": 160, "validation": 32, "test": 40}
    assert record["test"]["n"] == 40
    assert 0 <= record["test"]["top5_error"] <= record["test"]["top1_error"] <= 100
    assert record["train"]["n"] == 32
    assert record["xla"] is False
    assert record["precision"] == "float32"


@pytest.mark.slow
def test_what_follows_training_takes_no_more_images_at_a_time(tmp_path, monkeypatch):
    # Than micro-batches had: whole batches may not fit into a device's memory.
    sizes, precise = [], []
    batches = pipelines.evaluation_batches

    def noted(*args, batch_size, **options):
        sizes.append(batch_size)
        return batches(*args, batch_size=batch_size, **options)

    def recompute(model, batches):
        precise.extend(len(images) for images, _ in batches)

    recipe = replace(RECIPES["quickstart"], batch_size=16, precise_batch_norm=32)
    monkeypatch.setitem(RECIPES, "quickstart", recipe)
    monkeypatch.setattr(pipelines, "evaluation_batches", noted)
    monkeypatch.setattr(batch_norm, "recompute", recompute)
    reproduce.train(output_dir=tmp_path, accumulate=4, verbose=0)
    assert set(sizes) == {4, pictures.EXAMPLES_SHOWN}
    assert precise == 8 * [4]


@pytest.mark.exhaustive
def test_a_trained_run_that_lost_its_history_is_completed(tmp_path, monkeypatch):
    average = WeightAverage(decay=0.5, every=1)
    recipe = replace(RECIPES["quickstart"], average=average)
    monkeypatch.setitem(RECIPES, "quickstart", recipe)
    folder = reproduce.train(output_dir=tmp_path, verbose=0)
    record = read_record(folder / "record.json")
    history = (folder / "history.csv").read_text()
    for name in ("record.json", "history.csv"):  # As a power cut may have it.
        (folder / name).unlink()
    reproduce.train(output_dir=tmp_path, verbose=0)
    assert (folder / "history.csv").read_text() == history
    assert read_record(folder / "record.json")["test"] == record["test"]


def test_load_gives_back_what_was_measured(finished):
    run = keras_resnet.load(finished)
    result = evaluation.evaluate(finished)
    assert result["top1_error"] == run.record["test"]["top1_error"]
    assert result["loss"] == pytest.approx(run.record["test"]["loss"], rel=1e-5)
    assert result["protocol"] == "single_crop"
    assert json.loads((finished / "evaluation.json").read_text())["results"] == [result]
    assert (finished / "record.json").exists()


def test_results_of_other_splits_are_kept_and_the_same_one_replaced(finished):
    path = finished / "evaluation.json"
    path.unlink(missing_ok=True)
    test = evaluation.evaluate(finished)
    validation = evaluation.evaluate(finished, split="validation")
    assert evaluation.read_evaluations(path) == [test, validation]
    again = evaluation.evaluate(finished, batch_size=7)
    assert evaluation.read_evaluations(path) == [validation, again]


def test_an_evaluation_of_an_earlier_version_is_one_of_the_results(finished):
    path = finished / "evaluation.json"
    test = evaluation.evaluate(finished)
    old = {key: value for key, value in test.items() if key != "protocol"}
    path.write_text(json.dumps(old, indent=2))
    assert evaluation.read_evaluations(path) == [test]
    validation = evaluation.evaluate(finished, split="validation")
    assert evaluation.read_evaluations(path) == [test, validation]


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "3", "{}", '{"results": [{}]}', '{"results": 3}']
)
def test_a_damaged_evaluation_is_named_and_kept(finished, text):
    path = finished / "evaluation.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"evaluation\.json must hold results"):
        evaluation.evaluate(finished)
    assert path.read_text() == text
    path.unlink()


def test_a_failed_write_keeps_the_old_evaluation(finished, monkeypatch):
    evaluation.evaluate(finished)
    before = (finished / "evaluation.json").read_bytes()

    def no_space(self, text, **options):
        self.write_bytes(b"half")
        raise OSError("No space left on device")

    monkeypatch.setattr(pathlib.Path, "write_text", no_space)
    with pytest.warns(UserWarning, match=r"isn't kept in .*No space"):
        assert evaluation.evaluate(finished, split="validation")["n"] == 32
    assert (finished / "evaluation.json").read_bytes() == before
    assert not list(finished.glob("writing_*"))


def test_a_run_whose_classes_were_named_later_is_measured(finished, monkeypatch):
    numbered = tuple(map(str, range(10)))
    run = replace(keras_resnet.load(finished), classes=numbered)
    monkeypatch.setattr(evaluation, "load", lambda folder: run)
    assert evaluation.evaluate(finished)["n"] == 40


@pytest.mark.parametrize("top", [0, -1, 1.5, None])
def test_predict_names_at_least_one_class(finished, top):
    images = sources.load("fashion_mini").test.images[:1]
    with pytest.raises(ValueError, match="`top` .* must be a positive integer"):
        keras_resnet.load(finished).predict(images, top=top)


@pytest.mark.parametrize("images", ["no_shoe.png", pathlib.Path("no_shoe.png")])
def test_predict_names_a_path_that_leads_nowhere(finished, images):
    with pytest.raises(FileNotFoundError, match="an image at no_shoe.png"):
        keras_resnet.load(finished).predict(images)


def test_predict_wants_an_image(finished):
    with pytest.raises(ValueError, match="must hold at least one image"):
        keras_resnet.load(finished).predict([])


def test_predict_takes_arrays_and_files(finished, tmp_path):
    run = keras_resnet.load(finished)
    images = sources.load("fashion_mini").test.images[:3]
    from_arrays = run.predict(images, top=2)
    assert [len(answer) for answer in from_arrays] == [2, 2, 2]
    paths = [tmp_path / f"{i}.png" for i in range(3)]
    for path, image in zip(paths, images, strict=True):
        keras.utils.save_img(path, image, scale=False)
    for one, other in zip(from_arrays, run.predict(paths, top=2), strict=True):
        assert one[0][0] == other[0][0]
        assert one[0][1] == pytest.approx(other[0][1], abs=1e-5)


def test_predict_names_a_bad_file(finished, tmp_path):
    run = keras_resnet.load(finished)
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"no image")
    with pytest.raises(ValueError, match="bad.png must be a JPEG"):
        run.predict([bad])
    with pytest.raises(FileNotFoundError, match="missing.png"):
        run.predict([tmp_path / "missing.png"])


def test_a_finished_run_is_left_alone(finished, capsys):
    before = {path: path.stat().st_mtime_ns for path in finished.rglob("*")}
    again = reproduce.train(output_dir=finished.parent, verbose=2)
    assert again == finished
    assert "is finished: there is nothing to train" in capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in finished.rglob("*")} == before


def test_a_finished_run_says_which_snapshots_it_lacks(finished):
    with pytest.warns(UserWarning) as said:
        again = reproduce.train(output_dir=finished.parent, snapshots=3, verbose=0)
    assert again == finished
    assert not (finished / SNAPSHOTS).exists()
    told = str(said[0].message)
    assert "is finished and has none of the 3 sets of weights" in told
    assert "--snapshots 3" in told
    assert "--name quickstart_with_snapshots" in told


@pytest.mark.parametrize("options", [{}, {"devices": "cpu"}])
def test_a_finished_run_needs_no_data(finished, monkeypatch, options):
    def load(name, data_dir=None):
        raise AssertionError("The data was loaded.")

    monkeypatch.setattr(sources, "load", load)
    assert reproduce.train(output_dir=finished.parent, verbose=0, **options) == finished
    # Other settings are another run, of which the data is needed.
    for other in ({"steps": 6}, {"epochs": 1}, {"batch_size": 8}):
        with pytest.raises(AssertionError, match="was loaded"):
            reproduce.train(output_dir=finished.parent, verbose=0, **other)


def test_another_backends_run_is_refused(finished, tmp_path):
    folder = tmp_path / finished.name
    shutil.copytree(finished, folder)
    (folder / "record.json").unlink()
    path = folder / "settings.json"
    settings = json.loads(path.read_text())
    assert settings["backend"] == "tensorflow"
    path.write_text(json.dumps(settings | {"backend": "jax"}))
    with pytest.raises(
        ValueError, match=r"backend \(there 'jax', here 'tensorflow'\).*Give the same"
    ):
        reproduce.train(output_dir=tmp_path, verbose=0)


def test_a_run_begun_before_the_backend_was_written_goes_on(finished, tmp_path):
    folder = tmp_path / finished.name
    shutil.copytree(finished, folder)
    path = folder / "settings.json"
    settings = json.loads(path.read_text())
    del settings["backend"]
    path.write_text(json.dumps(settings))
    assert reproduce.train(output_dir=tmp_path, verbose=0) == folder


class Stopped(Exception):
    """In place of training: precision and XLA."""


def test_a_run_goes_on_as_it_began(finished, tmp_path, monkeypatch, capsys):
    def fit(model, *args, **kwargs):
        raise Stopped(keras.config.dtype_policy().name, model.jit_compile)

    monkeypatch.setattr(reproduce, "fit", fit)
    path = tmp_path / finished.name / "settings.json"
    (path.parent / "checkpoints" / "step_1").mkdir(parents=True)
    settings = json.loads((finished / "settings.json").read_text())
    assert (settings["precision"], settings["xla"]) == ("float32", False)
    other = {"precision": "mixed_bfloat16", "xla": True}
    path.write_text(json.dumps(settings | other))
    options = {"output_dir": tmp_path, "devices": "cpu"}
    with pytest.raises(Stopped, match=r"\('mixed_bfloat16', True\)"):
        reproduce.train(**options)
    assert "goes on in mixed_bfloat16, with XLA, as it began" in capsys.readouterr().out
    with pytest.raises(ValueError, match=r"precision \(there 'mixed_bfloat16', here"):
        reproduce.train(precision="float32", **options)
    path.write_text(json.dumps(settings | {"precision": "mixed_float16"}))
    with pytest.raises(
        ValueError, match="precision='mixed_float16', .* can't go on so"
    ):
        reproduce.train(**options)


@pytest.mark.exhaustive
def test_deterministic_runs_are_equal(tmp_path):
    from tensorflow.python.framework import config

    try:
        folders = [
            reproduce.train(output_dir=tmp_path / name, deterministic=True, verbose=0)
            for name in "ab"
        ]
        assert config.is_op_determinism_enabled()
    finally:
        config.disable_op_determinism()
    one, other = map(keras_resnet.load, folders)
    assert one.record["overrides"] == {"deterministic": True}
    for a, b in zip(one.model.get_weights(), other.model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.slow
def test_all_is_computed_in_the_devices_scope(tmp_path, monkeypatch):
    inside = []

    @contextlib.contextmanager
    def scope(devices):
        inside.append(devices)
        yield
        inside.pop()

    def checked(module, name):
        function = getattr(module, name)

        def call(*args, **kwargs):
            assert inside, f"{name} was called outside of the device's scope."
            return function(*args, **kwargs)

        monkeypatch.setattr(module, name, call)

    monkeypatch.setattr(reproduce.distribute, "first_device", scope)
    checked(build, "compile_model")
    checked(reproduce, "fit")
    for name in ("as_float32", "measure"):
        checked(finish, name)
    checked(pictures, "examples_to_show")
    reproduce.train(output_dir=tmp_path, devices="cpu", verbose=0)


def test_another_recipes_folder_is_refused(finished):
    before = {path: path.stat().st_mtime_ns for path in finished.rglob("*")}
    with pytest.raises(
        ValueError, match=r"other settings: .*steps \(there 4, here 6\)"
    ):
        reproduce.train(output_dir=finished.parent, steps=6, verbose=0)
    assert {path: path.stat().st_mtime_ns for path in finished.rglob("*")} == before


def test_a_folder_with_other_files_is_refused(tmp_path):
    folder = tmp_path / "quickstart_seed0"
    folder.mkdir()
    (folder / "thesis.txt").write_text("keep me")
    with pytest.raises(ValueError, match="must be empty or hold this run"):
        reproduce.train(output_dir=tmp_path, verbose=0)
    assert [path.name for path in folder.iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"recipe": "quickstrat"}, "Did you mean 'quickstart'"),
        ({"network": "resnet81"}, "Did you mean 'resnet18'"),
        ({"data": "nowhere", "network": "resnet18"}, "no folder of that name"),
        ({"data": "cifar10"}, "needs a `network`"),
        ({"devices": 2}, "must be 'all'.* Received: devices=2"),
        ({"val_fraction": 0.2}, "give a folder as `data`"),
        ({"group": "video"}, "give a folder as `data`"),
        ({"recipe": "quickstart", "data": "photos"}, "no folder of that name"),
        ({"data": "cifar10", "network": "resnet51"}, "Did you mean"),
        ({"steps": 3, "epochs": 1}, "not both"),
        ({"epochs": 0}, "must be positive"),
        ({"epochs": 1e300}, "at most 1,000,000,000 updates"),
        ({"epochs": 1e308}, "at most 1,000,000,000 updates"),
        ({"steps": 2_000_000_000}, "an integer from 1 to 1,000,000,000"),
        ({"batch_size": 0}, "positive integer"),
        ({"batch_size": 10_000}, "must not exceed the 160 training images"),
        ({"devices": "abacus"}, "must be 'all'"),
        ({"precision": "float8"}, "must be one of"),
        ({"xla": "perhaps"}, "must be 'auto'"),
        ({"learning_rate": 0}, "`learning_rate` .* must be positive"),
        ({"freeze": 1}, "`freeze` .* needs `weights`"),
        ({"log": ("tensorbord",)}, "Did you mean 'tensorboard'"),
        ({"deterministic": True, "xla": "on"}, "TensorFlow backend without XLA"),
        ({"accumulate": 0}, "must be a positive integer"),
        ({"accumulate": 2.0}, "must be a positive integer"),
        ({"accumulate": 3}, "must divide the images .* that each device has, 16"),
    ],
)
def test_bad_input_writes_nothing(tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        reproduce.train(output_dir=tmp_path / "runs", verbose=0, **options)
    assert not (tmp_path / "runs").exists()


def test_a_run_is_locked_before_its_settings_are_written(tmp_path):
    pytest.importorskip("fcntl")
    folder = tmp_path / "quickstart_seed0"
    with lock_folder(folder), pytest.raises(RuntimeError, match="One process at"):
        reproduce.train(output_dir=tmp_path, verbose=0)
    assert [path.name for path in folder.iterdir()] == [LOCK]


def test_the_lock_is_closed_when_training_ends(tmp_path, monkeypatch):
    locks = []

    def lock(folder):
        locks.append(lock_folder(folder))
        return locks[0]

    monkeypatch.setattr(build, "build", lambda job: (job, None, None))
    monkeypatch.setattr("keras_resnet.runs.folder.lock_folder", lock)
    monkeypatch.setattr(
        "keras_resnet.runs.folder.claim_folder", lambda *_: locks[0].closed
    )
    monkeypatch.setattr("keras_resnet.runs.begin.is_seen", lambda _: 1 / 0)
    with pytest.raises(ZeroDivisionError):  # It was open until then.
        reproduce.train(output_dir=tmp_path, verbose=0)
    assert locks[0].closed


def test_a_folder_that_cannot_be_is_said_before_the_work(tmp_path, monkeypatch):
    monkeypatch.setattr(build, "build", None)  # Comes later.
    (tmp_path / "file").write_text("mine")
    with pytest.raises(FileExistsError, match="--output-dir.*file is a file"):
        reproduce.train(output_dir=tmp_path / "file", verbose=0)


def test_what_would_fail_in_training_writes_nothing(tmp_path, monkeypatch):
    hardware = find.Devices("cpu", tuple(f"cpu:{n}" for n in range(64)))
    monkeypatch.setattr(reproduce, "find_devices", lambda *_: hardware)
    with pytest.raises(ValueError, match="must give each of 64 devices its share"):
        reproduce.train(output_dir=tmp_path / "runs", batch_size=64, verbose=0)
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("finished_there", [True, False])
def test_the_chief_alone_looks_into_the_folder(monkeypatch, finished, finished_there):
    # To another worker it may look otherwise, before the chief has written and after.
    two = find.Devices("cpu", ("cpu:0",), workers=2, worker=1)
    monkeypatch.setattr(reproduce, "find_devices", lambda *_: two)
    monkeypatch.setattr(reproduce, "scope", lambda job: contextlib.nullcontext())
    monkeypatch.setattr(build, "build", lambda job: (job, None, None))
    monkeypatch.setattr(build, "data_of", lambda job: None)
    monkeypatch.setattr(reproduce, "fit", lambda *_, **__: 1 / 0)
    monkeypatch.setattr(agreement, "must_agree", lambda values: None)
    monkeypatch.setattr(agreement, "must_see", lambda folder, seen: None)
    monkeypatch.setattr(agreement, "gathered", lambda own: [finished_there, own])

    def train():
        return reproduce.train(output_dir=finished.parent, learning_rate=0.3, verbose=0)

    if finished_there:
        assert train() == finished
    else:
        with pytest.raises(ZeroDivisionError):  # It trains.
            train()


def test_a_path_is_a_folder_whatever_its_name(tmp_path):
    with pytest.raises(FileNotFoundError, match="cifar10', which isn't a folder"):
        reproduce.train(
            data=pathlib.Path("cifar10"), network="resnet20", output_dir=tmp_path
        )


@pytest.mark.slow
def test_a_users_own_dtype_policy_changes_nothing(tmp_path):
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        folder = reproduce.train(output_dir=tmp_path, precision="float32", verbose=0)
    finally:
        keras.config.set_dtype_policy("float32")
    assert read_record(folder / "record.json")["precision"] == "float32"
    model = keras_resnet.load(folder).model
    assert {layer.compute_dtype for layer in model.layers} == {"float32"}


@pytest.mark.exhaustive
def test_what_keras_is_told_changes_nothing(tmp_path, finished, keras_is_told):
    image = np.zeros((1, 28, 28, 1), "uint8")
    scores = keras_resnet.load(finished).scores(image)
    keras_is_told()
    folder = reproduce.train(output_dir=tmp_path, verbose=0)
    times = ("seconds", "images_per_second")
    for row, expected in zip(
        read_history(folder / "history.csv"),
        read_history(finished / "history.csv"),
        strict=True,
    ):
        assert {k: row[k] for k in row if k not in times} == {
            k: expected[k] for k in expected if k not in times
        }
    run = keras_resnet.load(folder)
    assert run.model.inputs[0].dtype == "float32"
    np.testing.assert_array_equal(run.scores(image), scores)
    result = run.evaluate()
    # Training measures in other batches, for which some CPUs sum in another order.
    expected = read_record(finished / "record.json")["test"]["loss"]
    assert result["loss"] == pytest.approx(expected, rel=1e-6)
    written, report = run.export(output=tmp_path / "exported")
    assert report["max_difference"] < 1e-6


@pytest.mark.exhaustive
def test_objects_of_ones_own_train_go_on_and_load(tmp_path):
    spec = replace(ARCHITECTURES["resnet20"], name="small", stem_filters=8)
    recipe = replace(RECIPES["quickstart"], name="mine", network=spec)
    folder = reproduce.train(recipe, output_dir=tmp_path, verbose=0)
    assert folder.name == "mine_seed0"
    run = keras_resnet.load(folder)
    assert (run.record["recipe"], run.record["network"]) == ("mine", "small")
    assert run.model.get_layer("stem_conv").filters == 8
    assert network_of(run.record) == spec
    converted = convert(folder, tmp_path / "converted")
    assert (converted.network, converted.library) == ("small", None)
    assert network_of(keras_resnet.load(tmp_path / "converted").record) == spec
    alone = convert(folder / "model.keras", tmp_path / "weights.npz")
    assert alone.network == "small"
    # The same again is the same run; another recipe of that name is not.
    (folder / "record.json").unlink()
    assert reproduce.train(recipe, output_dir=tmp_path, verbose=0) == folder
    other = replace(recipe, momentum=0.5)
    with pytest.raises(ValueError, match=r"momentum \(there 0.9, here 0.5\)"):
        reproduce.train(other, output_dir=tmp_path, verbose=0)
    distilled = reproduce.train(
        recipe, output_dir=tmp_path, name="student", teacher=folder, verbose=0
    )
    assert distilled.name == "student_seed0"
    assert keras_resnet.load(distilled).record["overrides"] == {"teacher": str(folder)}


@pytest.mark.slow
def test_a_recipe_file_trains_as_its_recipe(finished, tmp_path):
    file = tmp_path / "quick.toml"
    file.write_text(tomli_w.dumps(for_toml(RECIPES["quickstart"])))
    folder = reproduce.train(file, output_dir=tmp_path, verbose=0)
    assert folder.name == "quick_seed0"
    one, other = (keras_resnet.load(path).model for path in (finished, folder))
    for a, b in zip(one.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_load_says_what_is_missing(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        keras_resnet.load(tmp_path / "nothing")
    with pytest.raises(FileNotFoundError, match="training has not finished"):
        keras_resnet.load(tmp_path)
    (tmp_path / "form.json").write_text("{}")
    with pytest.raises(FileNotFoundError, match="it is an export. Name the run"):
        keras_resnet.load(tmp_path)


def test_a_truncated_model_is_named(finished, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(finished, copy)
    model = copy / "model.keras"
    model.write_bytes(model.read_bytes()[:5000])
    with pytest.raises(ValueError, match="model.keras can't be used: it is damaged"):
        keras_resnet.load(copy)


@pytest.mark.slow
def test_model_loads_with_plain_keras(finished):
    code = (
        "import sys, keras; model = keras.saving.load_model(sys.argv[1]); "
        "assert 'keras_resnet' not in sys.modules; print(model.output_shape)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, finished / "model.keras"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "(None, 10)"
    # Keras 3.10 to 3.14 refuse what only later versions know.
    with zipfile.ZipFile(finished / "model.keras") as archive:
        assert b"renorm" not in archive.read("config.json")


def image_folder(path, classes=("cat", "dog"), n=8):
    rng = np.random.default_rng(0)
    for label, name in enumerate(classes):
        (path / name).mkdir(parents=True)
        for i in range(n):
            image = rng.integers(0, 128, (40, 48, 3)) + 100 * label
            keras.utils.save_img(path / name / f"{i}.png", image, scale=False)
    return path


@pytest.mark.slow
def test_own_images(tmp_path):
    folder = reproduce.train(
        data=str(image_folder(tmp_path / "pets")),
        network="resnet20",
        val_fraction=0.25,
        steps=4,
        output_dir=tmp_path / "runs",
        verbose=0,
    )
    assert folder.name == "resnet20_on_pets_seed0"
    run = keras_resnet.load(folder)
    assert run.classes == ("cat", "dog")
    assert run.record["dataset"]["splits"] == {"train": 12, "validation": 4}
    assert run.record["test"] is None
    answer = run.predict([tmp_path / "pets" / "cat" / "0.png"])
    assert {name for name, _ in answer[0]} == {"cat", "dog"}
    assert evaluation.evaluate(folder, split="validation")["n"] == 4
    with pytest.raises(ValueError, match="no test split"):
        evaluation.evaluate(folder)
    others = image_folder(tmp_path / "others", n=3)
    for number in range(4):  # Whatever their names.
        copy = others / f"dog/copy{number}.png"
        shutil.copy(tmp_path / f"pets/dog/{number}.png", copy)
    learnt = {f.path for f in read_files(folder / "images.csv") if f.split == "train"}
    # The first cats are the same, too.
    common = {f"cat/{n}.png" for n in range(3)} | {f"dog/{n}.png" for n in range(4)}
    number = len(learnt & common)
    with pytest.warns(
        UserWarning, match=f"^{number} of these 10 images were trained on"
    ):
        result = evaluation.evaluate(run, data=others)
    assert (result["n"], result["split"], result["trained_on"]) == (10, "all", number)
    assert number
    (folder / "images.csv").rename(tmp_path / "images.csv")  # Of an earlier version.
    images = folders.load(others, val_fraction=0).train
    assert count_trained_on(run, images) == number
    (tmp_path / "images.csv").rename(folder / "images.csv")
    with pytest.raises(ValueError, match=r"`split` \(--split\) goes with"):
        evaluation.evaluate(run, data=others, split="test")
    # Too few to split any off.
    single = image_folder(tmp_path / "single", n=1)
    assert evaluation.evaluate(run, data=single)["n"] == 2
    with pytest.raises(FileNotFoundError, match="cifar10', which isn't a folder"):
        evaluation.evaluate(run, data=pathlib.Path("cifar10"))
    (tmp_path / "pets" / "cat" / "0.png").rename(tmp_path / "0.png")
    with pytest.raises(ValueError, match=r"since: 1 image is gone \('cat/0.png'\). W"):
        evaluation.evaluate(run, split="validation")
    (tmp_path / "0.png").rename(tmp_path / "pets" / "cat" / "0.png")
    birds = image_folder(tmp_path / "birds", classes=("owl", "robin"))
    with pytest.raises(ValueError, match="the run's classes"):
        evaluation.evaluate(run, data=birds)
    _has_moved(run, tmp_path / "pets", tmp_path / "animals")


def _has_moved(run, there, here):
    """What `test_own_images` trained on lies elsewhere, under another name."""
    before = run.record["validation"]
    there.rename(here)
    with pytest.raises(FileNotFoundError, match="isn't there. Name the folder where"):
        evaluation.evaluate(run, split="validation")
    found = evaluation.evaluate(run, data=here, split="validation")
    assert {key: found[key] for key in before} == before
    assert found["trained_on"] is None
    with pytest.raises(ValueError, match="animals has no test split"):
        evaluation.evaluate(run, data=here)
    again = reproduce.train(
        data=here,
        network="resnet20",
        val_fraction=0.25,
        steps=4,
        output_dir=run.folder.parent,
        verbose=0,
    )
    assert again == run.folder  # It is finished.


@pytest.mark.slow
def test_own_images_from_weights_of_other_classes(tmp_path):
    source = keras_resnet.create("resnet20", classes=10)
    weights = tmp_path / "resnet20.weights.h5"
    source.save_weights(weights)
    folder = reproduce.train(
        data=str(image_folder(tmp_path / "pets")),
        network="resnet20",
        weights=str(weights),
        steps=1,
        val_fraction=0.25,
        output_dir=tmp_path / "runs",
        verbose=0,
    )
    trained = keras_resnet.load(folder).model
    # One update at a small rate: still near where it began.
    name = "stage3_block1_2_conv"
    before = source.get_layer(name).get_weights()[0]
    np.testing.assert_allclose(
        trained.get_layer(name).get_weights()[0], before, atol=0.05
    )


@pytest.mark.slow
def test_executions_of_several_steps_change_nothing(finished, tmp_path):
    folder = reproduce.train(output_dir=tmp_path, steps_per_execution=2, verbose=0)
    one, other = (keras_resnet.load(path).model for path in (finished, folder))
    for a, b in zip(one.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    rows = [read_history(path / "history.csv") for path in (finished, folder)]
    for row in (*rows[0], *rows[1]):
        assert row.pop("images_per_second") > 0
    assert rows[0] == rows[1]


@pytest.mark.slow
def test_a_plan_trains_nothing(tmp_path, monkeypatch):
    with pytest.raises(TypeError, match="stepz"):
        reproduce.plan(stepz=40)
    sizes = ((0.0, 16), (0.5, 24))
    recipe = replace(RECIPES["quickstart"], image_sizes=sizes)
    monkeypatch.setitem(RECIPES, "quickstart", recipe)
    starts = []
    batches = build.batches_in_fit

    def counted(job, start=0):
        starts.append(start)
        return batches(job, start)

    monkeypatch.setattr(build, "batches_in_fit", counted)
    text = reproduce.plan(output_dir=tmp_path / "runs", devices="cpu", steps=40)
    assert not (tmp_path / "runs").exists()
    assert starts == [0, 20]  # Each size is measured.
    rows = dict(line.split(maxsplit=1) for line in text.splitlines())
    assert rows["run"] == "quickstart: resnet20 on fashion_mini"
    assert rows["batch"] == "16 images, 16 per device"
    assert rows["updates"].startswith("40, 4.0 epochs of 160 images; 20 validations")
    assert re.match(r"\d+\.\d GiB at the most", rows["memory"])
    speed = r"[\d,.]+ images/s at"
    assert re.match(f"{speed} 16 pixels, {speed} 24 pixels, median", rows["speed"])
    assert re.match(r"\d+:\d\d:\d\d expected", rows["time"])
    assert "steps=40 was asked for" in text


@pytest.mark.slow
def test_a_plan_knows_what_is_done(finished, tmp_path):
    parent = finished.parent
    given = {"output_dir": parent, "devices": "cpu"}
    assert reproduce.plan(**given).endswith("is finished: there is nothing to train.")
    with pytest.raises(ValueError, match="a run with other settings: .*0.05"):
        reproduce.plan(learning_rate=0.05, **given)

    begun = tmp_path / finished.name
    shutil.copytree(finished, begun)
    (begun / "record.json").unlink()
    text = reproduce.plan(output_dir=tmp_path, devices="cpu")
    assert text.endswith("is trained: there is only to measure and to export.")
    shutil.rmtree(begun / "checkpoints" / "step_00000004")
    text = reproduce.plan(output_dir=tmp_path, devices="cpu")
    assert "; 2 updates are done" in text

    shutil.rmtree(begun)
    begun.mkdir()
    (begun / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match="must be empty or hold this run"):
        reproduce.plan(output_dir=tmp_path, devices="cpu")


@pytest.mark.slow
def test_frozen_stages_stay(finished, tmp_path):
    given = keras_resnet.load(finished).model
    folder = reproduce.train(
        data="fashion_mini",
        network="resnet20",
        weights=finished / "model.keras",
        freeze=1,
        steps=2,
        batch_size=16,
        output_dir=tmp_path,
        verbose=0,
    )
    run = keras_resnet.load(folder)
    assert run.record["parameters"] == parameters(given)
    trained = run.model
    for layer, before in zip(trained.layers, given.layers, strict=True):
        if layer.name == "logits":
            continue  # May begin anew.
        frozen = layer.name.split("_")[0] in ("stem", "stage1")
        assert layer.trainable != frozen  # Also for whoever trains the model on.
        for a, b in zip(layer.get_weights(), before.get_weights(), strict=True):
            assert np.array_equal(a, b) == frozen, layer.name


@pytest.mark.slow
def test_a_student_learns_from_a_teacher(finished, tmp_path):
    options = {"output_dir": tmp_path, "devices": "cpu", "verbose": 0}
    folder = reproduce.train(teacher=finished, **options)
    record = read_record(folder / "record.json")
    assert record["overrides"]["teacher"] == str(finished.resolve())
    alone = keras_resnet.load(finished).model.get_weights()
    taught = keras_resnet.load(folder).model.get_weights()
    assert len(alone) == len(taught)
    assert any(not np.array_equal(a, b) for a, b in zip(alone, taught, strict=True))
    with pytest.raises(ValueError, match="other settings"):
        reproduce.train(**options)


@pytest.mark.slow
def test_tensorboard_gets_each_row_once(tmp_path, monkeypatch):
    from tensorboard.backend.event_processing import event_accumulator

    schedule = StepDecay(learning_rate=0.01, at=(2,))
    recipe = replace(RECIPES["quickstart"], schedule=schedule)
    monkeypatch.setitem(RECIPES, "quickstart", recipe)
    options = {"output_dir": tmp_path, "devices": "cpu", "log": ("tensorboard",)}
    folder = reproduce.train(**options, verbose=0)
    events = event_accumulator.EventAccumulator(str(folder / "tensorboard"))
    events.Reload()
    steps = [event.step for event in events.Tensors("val_accuracy")]
    assert steps == [2, 4]
    assert "training images" in events.Tags()["tensors"]
    assert events.Tags()["graph"]


def test_words_and_new_columns_do_not_lock_a_run_out(finished, tmp_path):
    folder = tmp_path / finished.name
    shutil.copytree(finished, folder)
    path = folder / "settings.json"
    settings = json.loads(path.read_text())
    del settings["recipe"]["average"]
    settings["recipe"]["source"] = "said otherwise"
    path.write_text(json.dumps(settings))
    assert reproduce.train(output_dir=tmp_path, verbose=0) == folder


def test_a_teacher_of_other_colours_is_refused(finished, tmp_path):
    folder = tmp_path / "teacher"
    shutil.copytree(finished, folder)
    record = json.loads((folder / "record.json").read_text())
    record["preprocessing"]["mean"] = [1.0]
    (folder / "record.json").write_text(json.dumps(record))
    with pytest.raises(ValueError, match="see the same colours"):
        reproduce.train(teacher=folder, output_dir=tmp_path / "runs", verbose=0)
    assert not (tmp_path / "runs").exists()


@pytest.mark.slow
def test_a_logger_that_fails_ends_nothing(tmp_path, monkeypatch):
    class Broken(loggers.WeightsAndBiases):
        def begin(self):
            raise ConnectionError("no network")

    # Named like a package that is there.
    monkeypatch.setitem(loggers.LOGGERS, "pytest", Broken)
    with pytest.warns(UserWarning, match="Broken can't log .*no network"):
        folder = reproduce.train(output_dir=tmp_path, log=("pytest",), verbose=0)
    assert (folder / "record.json").exists()


@pytest.mark.exhaustive
def test_short_runs_validate_more_often_and_get_the_same_bits(
    tmp_path, monkeypatch, capsys
):
    def failing(*arguments, **options):
        raise RuntimeError("no such glyph")

    def weights(folder):
        return keras_resnet.load(folder).model.get_weights()

    recipe = replace(RECIPES["quickstart"], validate_every=4)
    monkeypatch.setitem(RECIPES, "quickstart", recipe)
    often = reproduce.train(steps=6, name="a", output_dir=tmp_path, verbose=2)
    said = capsys.readouterr().out
    assert re.search(r"^test +\d+\.\d\d %", said, re.M)  # The summary.
    rows = read_history(often / "history.csv")
    assert [row["step"] for row in rows] == [2, 4, 6]  # 3 x 32 images, as in training.
    # A picture that fails takes nothing else away.
    with (
        monkeypatch.context() as patch,
        pytest.warns(UserWarning, match=r"curves.png can't be drawn .*no such glyph"),
    ):
        patch.setattr(pictures.plots, "training_curves", failing)
        once = reproduce.train(
            steps=6, name="b", output_dir=tmp_path, verbose=0,
            changes={"validate_every": 6},
        )  # fmt: skip
    assert {path.name for path in once.iterdir()} >= FILES - {"curves.png"}
    assert [row["step"] for row in read_history(once / "history.csv")] == [6]
    first = weights(often)
    for one, other in zip(first, weights(once), strict=True):
        np.testing.assert_array_equal(one, other)

    # A run that began when short runs validated once is the same run.
    settings = json.loads((often / "settings.json").read_text())
    settings["recipe"]["validate_every"] = 6
    (often / "settings.json").write_text(json.dumps(settings))
    again = {"steps": 6, "name": "a", "output_dir": tmp_path, "verbose": 1}
    reproduce.train(**again)
    assert "is finished" in capsys.readouterr().out
    # And a network that was damaged is made again.
    contents = bytearray((often / "model.keras").read_bytes())
    contents[len(contents) // 2] ^= 1
    (often / "model.keras").write_bytes(contents)
    reproduce.train(**again)
    assert "is made again from the last checkpoint" in capsys.readouterr().out
    for one, other in zip(first, weights(often), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_plan_downloads_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sources, "is_here", lambda name, data_dir: False)
    monkeypatch.setattr(sources, "load", None)  # It would download.
    with pytest.raises(FileNotFoundError, match="downloads nothing: cifar10 is not in"):
        keras_resnet.plan("resnet20_cifar10", data_dir="here")
    assert not list(tmp_path.iterdir())


def test_the_rate_of_a_schedule_is_known_before_the_first_validation():
    recipe = replace(RECIPES["quickstart"], steps=100)
    found = dict(pictures.rates(replace(
        recipe, schedule=StepDecay(learning_rate=0.1, at=(50,))
    )))  # fmt: skip
    assert found[1] == pytest.approx(0.1)
    assert found[50] == pytest.approx(0.1)
    assert found[51] == pytest.approx(0.01)
    rising = replace(recipe, schedule=CosineDecay(learning_rate=0.1, warmup=0.2))
    found = pictures.rates(rising)
    assert found[0] == (1, 0.0)
    assert max(found, key=lambda point: point[1])[0] == 21
    reactive = replace(recipe, warmup_learning_rate=0.01)
    assert pictures.rates(reactive) is None


def test_what_one_worker_lacks_is_told_to_the_others(monkeypatch):
    told = []

    class Links:
        def fail(self, message, by_input):
            told.append((message, by_input))

        def close(self):
            pass

    def meet(*_):
        agreement.begin(Links(), SimpleNamespace(advice=""))
        return find.Devices("cpu", ("cpu:0",), workers=2, worker=1)

    def check(names):
        raise ImportError(f"no {names[0]}")

    monkeypatch.setattr(reproduce, "find_devices", meet)
    monkeypatch.setattr(loggers, "check", check)
    with pytest.raises(ImportError):
        reproduce.train("quickstart", log=("wandb",))
    assert told == [("no wandb", False)]
