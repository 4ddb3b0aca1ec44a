"""`TrainRequest`: each option stands in one place, and impossible ones are refused."""

import inspect
import json
import pathlib
from dataclasses import fields, replace

import numpy as np
import pytest

from keras_resnet.cli.parser import parser
from keras_resnet.config.class_names import named_classes
from keras_resnet.config.datasets import CIFAR10_CLASSES
from keras_resnet.config.recipes import RECIPES
from keras_resnet.reproduce import train
from keras_resnet.runs.choose import asked_recipe
from keras_resnet.runs.places import folder_of
from keras_resnet.runs.request import TrainRequest, flag
from keras_resnet.runs.settle import finished

OPTIONS = {option.name: option for option in fields(TrainRequest)}


def test_train_has_the_same_options_with_the_same_defaults():
    parameters = inspect.signature(train).parameters
    assert {name: one.default for name, one in parameters.items()} == {
        name: option.default for name, option in OPTIONS.items()
    }
    documented = inspect.getdoc(train)
    for name in OPTIONS:
        assert f"\n    {name}: " in documented


def test_the_command_line_has_the_same_options(capsys):
    with pytest.raises(SystemExit):
        parser().parse_args(["train", "--help"])
    help = capsys.readouterr().out
    for name, option in OPTIONS.items():
        if option.metadata["group"] and name != "recipe":
            assert f"  {flag(option)}" in help
    given = vars(parser().parse_args(["train"]))
    assert not given.keys() & OPTIONS.keys()  # What isn't given is the field's default.


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("resnet20_cifar10 --seed 3", {"recipe": "resnet20_cifar10", "seed": 3}),
        ("--epochs 1.5 --freeze 2", {"epochs": 1.5, "freeze": 2}),
        ("--log wandb --log mlflow", {"log": ["wandb", "mlflow"]}),
        ("--sync-batch-norm --deterministic", {"sync_batch_norm": True}),
        (
            "--set batch_size=64 --set dataset=photos --set image_sizes=[[0,64]]",
            {
                "changes": [
                    ("batch_size", 64),
                    ("dataset", "photos"),
                    ("image_sizes", [[0, 64]]),
                ]
            },
        ),
    ],
)
def test_words_become_options(words, expected):
    given = vars(parser().parse_args(["train", *words.split()]))
    assert {name: given[name] for name in expected} == expected


@pytest.mark.parametrize(
    "words", ["--set batch_size", "--seeds 3", "--seeds 4-0", "--steps 3 --epochs 1"]
)
def test_words_that_mean_nothing_are_refused(words, capsys):
    with pytest.raises(SystemExit):
        parser().parse_args(["train", *words.split()])
    assert words.split()[0].strip("-") in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"data": "photos", "network": "resnet20", "val_fraction": 1.0}, "between 0"),
        ({"data": "photos"}, "needs a `network`"),
        ({"group": "video("}, r"`group` .--group. must be a regular .*'video\('"),
        ({"group": 3}, "`group` .--group. must be a regular expression, such as"),
        ({"freeze": 1}, "`freeze`.*needs `weights`.*Received: freeze=1, weights=None"),
        ({"freeze": True, "weights": "a:b"}, "`freeze` .*must be an integer of at"),
        ({"seed": True}, "an integer from 0"),
        ({"accumulate": True}, "positive integer"),
        ({"batch_size": True}, "positive integer"),
        ({"steps": 3, "epochs": 1}, "not both"),
        ({"steps": True}, "`steps` .--steps. must be an integer from 1"),
        ({"steps": np.float32(2)}, "`steps` .--steps. must be an integer from 1"),
        ({"steps": np.bool_(True)}, "`steps` .--steps. must be an integer from 1"),
        ({"epochs": "many"}, "`epochs` .--epochs. must be positive"),
        ({"seed": -1}, "an integer from 0"),
        (
            {"snapshots": 1},
            "`snapshots` .--snapshots. must be an integer of at least 2",
        ),
        ({"steps_per_execution": 0}, "positive integer"),
        ({"name": "../elsewhere"}, "as it names a folder"),
        ({"name": ""}, "as it names a folder"),
        ({"data": ["photos"]}, r"`data` must be a path .*Received: data=\['photos'\]"),
        ({"weights": 3}, "`weights` must be a path or a name"),
        ({"recipe": ["quickstart"]}, "`recipe` must be a name, the path"),
        ({"changes": [("steps", 3)]}, "`changes` must be a dict"),
    ],
)
def test_impossible_requests_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        TrainRequest(**options)


def test_defaults():
    assert TrainRequest().recipe == "quickstart"
    assert TrainRequest(data="photos", network="resnet18").recipe is None
    assert TrainRequest(log="wandb").log == ("wandb",)


def test_numbers_of_numpy_are_recorded_as_pythons():
    request = TrainRequest(
        steps=np.int64(2),
        batch_size=np.int32(4),
        seed=np.uint8(3),
        learning_rate=np.float32(0.5),
        changes={"epochs": np.int64(5), "image_sizes": [[np.int64(0), 64]]},
    )
    assert request.seed == 3
    assert json.loads(json.dumps(request.overrides())) == {
        "steps": 2,
        "batch_size": 4,
        "learning_rate": 0.5,
        "changes": {"epochs": 5, "image_sizes": [[0, 64]]},
    }


def test_weights_are_a_file_however_written_or_a_name(tmp_path, monkeypatch):
    def weights(value):
        return TrainRequest(weights=value).overrides()["weights"]

    file = tmp_path / "resnet18.pth"
    file.touch()
    monkeypatch.chdir(tmp_path)
    assert weights("resnet18.pth") == weights(file) == str(file.resolve())
    assert weights("torchvision:IMAGENET1K_V1") == "torchvision:IMAGENET1K_V1"
    (tmp_path / "run").mkdir()
    (tmp_path / "drn").mkdir()
    (tmp_path / "run/model.keras").touch()
    assert weights("run") == weights(tmp_path / "run") == str(tmp_path / "run")
    assert weights("drn") == "drn"  # The source, whatever else has its name here.
    monkeypatch.setenv("HOME", str(tmp_path))
    assert weights("~/resnet18.pth") == str(file.resolve())


@pytest.fixture
def cifar10(tmp_path, monkeypatch):
    """A folder here that is called like a data set."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cifar10").mkdir()
    return tmp_path / "cifar10"


def test_a_name_of_a_data_set_and_of_a_folder_must_be_decided(cifar10):
    both = rf"'cifar10'.* the folder {cifar10}\. Give tfds:cifar10 .* \./cifar10 for"
    with pytest.raises(ValueError, match=both):
        TrainRequest(data="cifar10", network="resnet20")
    for data in ("./cifar10", "cifar10/", pathlib.Path("cifar10"), str(cifar10)):
        request = TrainRequest(data=data, network="resnet20")
        assert request.has_own_images
        assert request.overrides()["data"] == str(cifar10)
        assert replace(request, seed=1).overrides()["data"] == str(cifar10)
    request = TrainRequest(data="tfds:cifar10", network="resnet20")
    assert not request.has_own_images
    assert request.overrides()["data"] == "cifar10"
    request = TrainRequest(data="cifar100", network="resnet20")
    assert request.data == "tfds:cifar100" and request.overrides()["data"] == "cifar100"
    # A recipe of the package names its data set, and a teacher is a run.
    teacher = TrainRequest(recipe="resnet20_cifar10", teacher="cifar10")
    assert teacher.overrides()["teacher"] == str(cifar10)


def test_a_data_set_may_be_downloaded_into_a_folder_of_its_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    request = TrainRequest(data="cifar10", network="resnet20", data_dir=".")
    (tmp_path / "cifar10").mkdir()  # As TensorFlow Datasets does.
    assert not request.has_own_images
    assert replace(request, steps=3).overrides()["data"] == "cifar10"


def test_a_data_set_that_does_not_exist_is_named():
    with pytest.raises(ValueError, match=r"'cifar11'.*Did you mean 'cifar10'"):
        TrainRequest(data="tfds:cifar11", network="resnet20")


def test_a_recipe_of_ones_own_decides_as_well(cifar10):
    mine = replace(RECIPES["resnet20_cifar10"], name="mine")
    with pytest.raises(ValueError, match=r"recipe 'mine' .* Give tfds:cifar10"):
        asked_recipe(TrainRequest(recipe=mine))
    asked = asked_recipe(TrainRequest(recipe=replace(mine, dataset="tfds:cifar10")))
    assert asked == mine
    for named in (mine, replace(mine, dataset="tfds:cifar10")):
        assert asked_recipe(TrainRequest(recipe=named, data="photos")) == mine
    path = replace(mine, dataset="./cifar10")
    assert asked_recipe(TrainRequest(recipe=path)) == path
    published = RECIPES["resnet20_cifar10"]
    assert asked_recipe(TrainRequest(recipe="resnet20_cifar10")) == published
    assert asked_recipe(TrainRequest(recipe=published)) == published


@pytest.mark.parametrize("option", ["recipe", "weights"])
def test_a_path_does_not_become_a_name(option):
    given = TrainRequest(**{option: "./drn"})
    assert getattr(given, option) == pathlib.Path("drn")
    assert getattr(TrainRequest(**{option: "drn"}), option) == "drn"


def test_overrides_are_what_changes_a_result(tmp_path):
    assert TrainRequest(accumulate=1, devices="cpu", name="x").overrides() == {}
    asked = TrainRequest(data=tmp_path, network="resnet18", freeze=0, weights="a:b")
    assert asked.overrides(val_fraction=0.1) == {
        "data": str(tmp_path),
        "network": "resnet18",
        "val_fraction": 0.1,
        "weights": "a:b",
        "freeze": 0,
    }


def test_names_of_classes_must_be_decided_as_well(cifar10):
    cifar10.rmdir()
    cifar10.write_text("cat\ndog\n")
    with pytest.raises(
        ValueError, match=r"file .*cifar10\. Give tfds:cifar10 .* \./cif"
    ):
        named_classes("cifar10")
    for names in ("./cifar10", cifar10, pathlib.Path("cifar10")):
        assert named_classes(names) == ("cat", "dog")
    assert named_classes("tfds:cifar10") == CIFAR10_CLASSES
    assert len(named_classes("imagenet")) == len(named_classes("tfds:imagenet")) == 1000


def test_a_run_of_a_name_too_long_for_a_folder_is_refused():
    request = TrainRequest(recipe="quickstart")
    assert folder_of(request, "é" * 124).name == "é" * 124 + "_seed0"
    with pytest.raises(ValueError, match=r"at most 255 bytes. .* 256 bytes. .*--name"):
        folder_of(request, "é" * 125)


@pytest.mark.parametrize(
    "recipe", [RECIPES["quickstart"], f"{'recipes/' * 40}own.toml"]
)
def test_a_recipe_of_ones_own_may_have_a_long_text(tmp_path, recipe):
    assert finished(TrainRequest(recipe=recipe, output_dir=tmp_path)) is None
