"""Rows to plain values and back, and what is refused on the way."""

import json

import pytest

from keras_resnet.config.architectures import ARCHITECTURES
from keras_resnet.config.recipe import Recipe
from keras_resnet.config.recipes import RECIPES
from keras_resnet.config.spec import ResNetSpec
from keras_resnet.config.values import from_values, to_values


def through_json(row):
    return json.loads(json.dumps(to_values(row)))


def test_every_row_comes_back():
    for recipe in RECIPES.values():
        assert from_values(Recipe, through_json(recipe)) == recipe
    for spec in ARCHITECTURES.values():
        assert from_values(ResNetSpec, through_json(spec)) == spec


def changed(path, value):
    values = through_json(RECIPES["resnet50_tv2_imagenet"])
    *outer, last = path.split(".")
    part = values
    for name in outer:
        part = part[name]
    if value is KeyError:
        del part[last]
    else:
        part[last] = value
    return values


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("batch_sise", 64, "`batch_sise` is no field. Did you mean 'batch_size'"),
        ("schedule.learning_rat", 1, "`schedule.learning_rat` is no field"),
        ("schedule.kind", "Cosine", "`schedule.kind` must be one of StepDecay"),
        ("schedule.kind", KeyError, "`schedule.kind` must be one of .*None"),
        ("schedule.learning_rate", "high", "`schedule.learning_rate` must be a number"),
        ("schedule.learning_rate", True, "`schedule.learning_rate` must be a number"),
        ("schedule.learning_rate", -1, "In `schedule`: `learning_rate` must be pos"),
        ("batch_size", 2.5, "`batch_size` must be a whole number"),
        ("batch_size", KeyError, "`batch_size` must be given"),
        ("mixing", [{"kind": "MixUp"}], r"`mixing\[0\].alpha` must be given"),
        ("mean", "image", "`mean` must be 'channel' or 'pixel'"),
        ("target.protocol", "none_such", "Unknown protocol"),
        ("network", 7, "`network` must be text or a table"),
        ("preprocessing.size", [224], r"`preprocessing.size` must hold 2 values"),
        ("average", 3, r"`average` must be a table \(WeightAverage\) or absent"),
    ],
)
def test_the_field_is_named(path, value, message):
    with pytest.raises(ValueError, match=message):
        from_values(Recipe, changed(path, value))


def test_absent_is_the_default_and_none_where_there_is_none():
    values = changed("augmentation", KeyError)
    del values["momentum"], values["average"]
    recipe = from_values(Recipe, values)
    assert (recipe.augmentation, recipe.average, recipe.momentum) == (None, None, 0.9)
    plain = through_json(ARCHITECTURES["plain20"])
    assert from_values(ResNetSpec, plain | {"shortcut": "none"}).shortcut is None
