"""Recipes say what the papers say, and impossible ones can't be made."""

from dataclasses import replace

import pytest

from keras_resnet.config.architectures import ARCHITECTURES
from keras_resnet.config.datasets import DATASETS
from keras_resnet.config.recipes import (
    RECIPES,
    OneCycle,
    StepDecay,
    for_own_images,
    smoke,
    with_steps,
)
from tests import paper_facts


@pytest.mark.parametrize("name", RECIPES)
def test_recipes_name_known_networks_and_data(name):
    assert RECIPES[name].network in ARCHITECTURES
    assert RECIPES[name].dataset in DATASETS


@pytest.mark.parametrize("network", paper_facts.CIFAR10_ERROR)
def test_cifar_targets_are_the_papers(network):
    recipe = RECIPES[f"{network}_cifar10"]
    assert recipe.target == paper_facts.CIFAR10_ERROR[network]
    assert recipe.batch_size == 128
    assert recipe.steps == 64_000
    assert recipe.schedule == StepDecay(learning_rate=0.1, at=(32_000, 48_000))
    assert recipe.weight_decay == 1e-4
    assert recipe.momentum == 0.9
    assert DATASETS[recipe.dataset].validation == 5_000


def test_only_the_deepest_cifar_nets_warm_up():
    warm = {n for n, r in RECIPES.items() if r.warmup_learning_rate is not None}
    assert warm == {"resnet110_cifar10", "resnet1202_cifar10"}


@pytest.mark.parametrize("name", RECIPES)
def test_smoke_twins_are_short(name):
    twin = smoke(RECIPES[name])
    assert twin.steps == 4
    assert twin.batch_size <= 16
    assert type(twin.schedule) is type(RECIPES[name].schedule)


def test_milestones_move_in_proportion():
    short = with_steps(RECIPES["resnet20_cifar10"], 5_000)
    assert short.schedule.at == (2_500, 3_750)
    assert short.validate_every == 400


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"steps": 0}, "`steps` must be a positive integer. Received: steps=0"),
        ({"batch_size": 1.5}, "Received: batch_size=1.5"),
        ({"schedule": StepDecay(learning_rate=0.1, at=(9, 5))}, "must rise"),
        ({"schedule": StepDecay(learning_rate=0.1, at=(70_000,))}, "steps=64000"),
        ({"schedule": OneCycle(learning_rate=-1.0, warmup=0.1)}, "must be positive"),
    ],
)
def test_impossible_recipes_cannot_be_made(change, message):
    with pytest.raises(ValueError, match=message):
        replace(RECIPES["resnet20_cifar10"], **change)


def test_plateau_and_warmup_exclude_each_other():
    with pytest.raises(ValueError, match="can't both own the learning rate"):
        replace(RECIPES["resnet34_imagenet"], warmup_learning_rate=0.01)


def test_own_images_train_with_few_examples():
    recipe = for_own_images(
        network="resnet18",
        small=False,
        channels=1,
        dataset="x",
        examples=9,
        pretrained=True,
    )
    assert recipe.batch_size == 2
    assert recipe.steps == 30 * 5
    assert recipe.augmentation.color == 0  # Greyscale images have none.
