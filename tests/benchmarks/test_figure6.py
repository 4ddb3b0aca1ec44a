"""The small figure 6 is trained by the paper's recipe, and its table counts orders."""

import pytest

from benchmarks import accuracy_tables, figure6
from keras_resnet.config.recipes import RECIPES
from keras_resnet.config.values import to_values

OURS = {  # What the setting may change; the rest is the paper's.
    "name", "dataset", "mean", "preprocessing", "steps", "validate_every", "schedule",
    "warmup_learning_rate", "augmentation", "target", "deviations",
}  # fmt: skip


@pytest.mark.parametrize("network", figure6.NETWORKS)
def test_the_recipe_is_the_papers_in_fewer_updates(network):
    paper = to_values(RECIPES[f"{network}_cifar10"])
    small = to_values(figure6.recipe(network, figure6.Setting(size=8, steps=1_600)))
    assert {name for name in paper if paper[name] != small.get(name)} <= OURS
    assert small["schedule"]["at"] == [800, 1200]
    assert small["schedule"]["learning_rate"] == paper["schedule"]["learning_rate"]
    warmup = small["warmup_learning_rate"]
    assert warmup == (0.01 if network == "resnet56" else paper["warmup_learning_rate"])


def result(network, seed, error):
    return {
        "network": network,
        "seed": seed,
        "training_error": error,
        "record": {"wall_seconds": 60.0},
    }


def test_an_order_is_of_a_seed_with_all_four_networks_and_strict():
    errors = {"plain56": 60.0, "plain20": 9.0, "resnet20": 7.0, "resnet56": 5.0}
    found = [result(network, 0, error) for network, error in errors.items()]
    found += [result(n, 1, e) for n, e in (errors | {"resnet56": 7.0}).items()]
    found += [result("resnet56", 2, 5.0)]
    assert accuracy_tables.figure6_seeds(found) == ([True, False], [4.0, 4.0])
