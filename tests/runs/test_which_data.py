"""A folder that is called like a data set: which of the two is meant, everywhere."""

import json
import pathlib
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from keras_resnet import reproduce
from keras_resnet.config.recipes import RECIPES
from keras_resnet.config.values import to_values
from keras_resnet.data import folders, sources
from keras_resnet.data.splitting import PATH, with_validation
from keras_resnet.devices.find import Devices
from keras_resnet.runs import sample
from keras_resnet.runs.examples import examples_of
from keras_resnet.runs.kept import as_once_called
from keras_resnet.runs.request import TrainRequest
from keras_resnet.runs.settle import settle

NAME = "fashion_mini"
BOTH = rf"'{NAME}'.*Give tfds:{NAME} .* \./{NAME} for"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Twelve images of each of two classes, in a folder called like the bundled set."""
    random = np.random.default_rng(0)
    for name in ("cat", "dog"):
        (tmp_path / NAME / name).mkdir(parents=True)
        for number in range(12):
            pixels = random.integers(0, 256, (9, 9, 3), "uint8")
            Image.fromarray(pixels).save(tmp_path / NAME / name / f"{number}.png")
    monkeypatch.chdir(tmp_path)
    return tmp_path / NAME


def settled(data):
    request = TrainRequest(data=data, network="resnet20")
    return settle(request, Devices("cpu", ("cpu:0",)))


def run_on(folder, **overrides):
    """A run, as far as it says what it was trained on."""
    splits = folders.load(folder)
    facts = ("name", "sha256", "split_by")
    record = {
        "dataset": {fact: getattr(splits, fact) for fact in facts},
        "overrides": {"data": str(folder), "val_fraction": 0.1} | overrides,
    }
    return SimpleNamespace(record=record, folder=pathlib.Path("run"))


def test_runs_on_the_two_lie_in_two_folders(folder):
    job = settled(f"./{NAME}")
    assert job.name == f"resnet20_on_{NAME}_folder"
    assert job.splits.class_names == ("cat", "dog")
    job = settled(f"tfds:{NAME}")
    assert job.name == f"resnet20_on_{NAME}"
    assert len(job.splits.class_names) == 10
    assert job.overrides["data"] == NAME  # As of a run of before.


@pytest.mark.parametrize("does", [reproduce.train, reproduce.plan])
def test_a_run_is_told_at_once(folder, does):
    with pytest.raises(ValueError, match=BOTH):
        does(data=NAME, network="resnet20")


def begun(folder, data):
    """A run as far as it says what it began on."""
    folder.mkdir()
    values = {"recipe": to_values(RECIPES["quickstart"]), "overrides": {"data": data}}
    (folder / "settings.json").write_text(json.dumps(values))
    return folder


def test_a_run_of_before_goes_on_under_its_name(tmp_path):
    def once_called(place, name=f"resnet20_on_{NAME}_folder"):
        data = f"{place}/{NAME}"
        request = TrainRequest(data=data, network="resnet20", output_dir=tmp_path)
        return as_once_called(request, name)

    names = [f"resnet20_on_{NAME}{end}" for end in ("", "_folder")]
    old, new = (tmp_path / f"{name}_seed0" for name in names)
    begun(old, f"/mine/{NAME}")
    assert once_called("/mine") == old
    assert once_called("/others") == new
    assert once_called("/mine", names[0]) == old
    new.mkdir()  # Where both are there, the name of now counts.
    assert once_called("/mine") == new


@pytest.mark.parametrize("data", ["/photos", f"/photos/{NAME}", f"tfds:{NAME}"])
def test_a_run_may_have_a_name_that_ends_so(tmp_path, data):
    options = {"data": data, "network": "resnet20", "output_dir": tmp_path}
    begun(tmp_path / "mine_seed0", data.removeprefix("tfds:"))
    mine = TrainRequest(name="mine_folder", **options)
    assert as_once_called(mine, "mine_folder") == tmp_path / "mine_folder_seed0"
    # Nor of one that was made of a folder's name.
    begun(tmp_path / "resnet20_on_a_seed0", "/photos/a_folder")
    options["data"] = "/photos/a_folder"
    name = "resnet20_on_a_folder"
    assert as_once_called(TrainRequest(**options), name) == tmp_path / f"{name}_seed0"


DATA_SET = SimpleNamespace(name=NAME, test="images")


@pytest.fixture
def loaded(monkeypatch):
    """Has the data set loaded at once."""

    def load(name, data_dir):
        assert name == NAME
        return DATA_SET

    monkeypatch.setattr(sources, "load", load)


def test_evaluate_and_export_ask_which(folder, loaded):
    run = run_on(folder)
    with pytest.raises(ValueError, match=BOTH):
        examples_of(run, NAME, None, None)
    with pytest.raises(ValueError, match=BOTH):
        sample.sample_of(run, NAME, None, calibrate=False)
    splits, split, _ = examples_of(run, f"./{NAME}", None, "validation")
    assert (splits.name, split, splits.validation.size) == (
        f"{NAME}_folder",
        "validation",
        2,
    )
    assert examples_of(run, f"tfds:{NAME}", None, None) == (DATA_SET, "test", "images")


def test_a_folder_that_is_measured_has_a_fingerprint(folder, tmp_path):
    run = run_on(folder)
    others = shutil.copytree(folder, tmp_path / "others")
    assert (
        examples_of(run, others, None, None)[0].sha256
        == run.record["dataset"]["sha256"]
    )
    (others / "cat/0.png").unlink()
    splits, split, examples = examples_of(run, others, None, None)
    assert (split, examples.size) == ("all", 23)
    assert splits.sha256 == with_validation(splits, 0, None, PATH).sha256 != ""


def test_a_run_on_a_folder_does_not_ask_for_the_data_set(folder, loaded, monkeypatch):
    run = run_on(folder)
    run.record["dataset"]["name"] = "cifar10"  # As runs of before called it.
    monkeypatch.setattr(sources, "is_here", lambda *_: pytest.fail("the data set"))
    _, split, examples = sample._examples(run, None, None)
    assert (split, examples.size) == ("validation", 2)
    data_set = run_on(folder)
    data_set.record["overrides"] = {}
    data_set.record["dataset"]["name"] = NAME
    # Recorded, so there is no question.
    assert examples_of(data_set, None, None, None) == (DATA_SET, "test", "images")
