"""Recipes as TOML files."""

from dataclasses import replace

import pytest
import tomli_w

from keras_resnet.__main__ import main
from keras_resnet.config.architectures import ARCHITECTURES
from keras_resnet.config.recipe_files import changed, for_toml, read_recipe
from keras_resnet.config.recipes import RECIPES


def test_every_recipe_comes_back_from_its_file(tmp_path, capsys):
    for name, recipe in RECIPES.items():
        assert main(["show", name, "--toml"]) == 0
        file = tmp_path / f"{name}.toml"
        file.write_text(capsys.readouterr().out)
        assert read_recipe(file) == recipe


def test_a_file_holds_a_network_of_ones_own(tmp_path):
    spec = replace(ARCHITECTURES["plain20"], name="my_plain")  # Without a shortcut.
    recipe = replace(RECIPES["resnet20_cifar10"], network=spec)
    file = tmp_path / "mine.toml"
    file.write_text(tomli_w.dumps(for_toml(recipe)))
    found = read_recipe(file)
    assert found == replace(recipe, name="mine")
    assert found.network.shortcut is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("batch_size = ", "must be TOML"),
        ("\x00", "must be TOML"),
        (
            'network = "resnet20"',
            "mine.toml must hold a recipe. `dataset` must be given",
        ),
        ("batchsize = 3", "Did you mean 'batch_size'"),
        ('name = "other"', "must have no `name`"),
    ],
)
def test_what_is_no_recipe_is_refused(text, message, tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text(text)
    with pytest.raises(ValueError, match=message):
        read_recipe(file)
    assert main(["show", str(file)]) == 2
    with pytest.raises(FileNotFoundError, match="show RECIPE --toml"):
        read_recipe(tmp_path / "gone.toml")


def test_a_file_may_begin_with_a_byte_order_mark(tmp_path, capsys):
    assert main(["show", "quickstart", "--toml"]) == 0
    file = tmp_path / "mine.toml"  # As editors on Windows and PowerShell write UTF-8.
    file.write_text(capsys.readouterr().out, encoding="utf-8-sig")
    assert replace(read_recipe(file), name="quickstart") == RECIPES["quickstart"]


def test_single_fields_are_changed():
    schedule = {"kind": "StepDecay", "learning_rate": 0.1, "at": [3]}
    changes = {"schedule": schedule, "steps": 9, "validate_every": 3}
    recipe = changed(RECIPES["quickstart"], changes)
    assert (recipe.schedule.at, recipe.steps, recipe.name) == ((3,), 9, "quickstart")


def test_show_prints_every_number(capsys):
    assert main(["show", "resnet50_tv2_imagenet"]) == 0
    text = capsys.readouterr().out
    for value in (
        "750,600",
        "604.7",
        "0.99890773",
        "19.142",
        "torchvision_v2",
        "2e-05",
    ):
        assert value in text
