"""A run before it runs."""

from keras_resnet import job as jobs
from keras_resnet.config.recipe import with_steps
from keras_resnet.config.recipes import RECIPES


def test_stages_are_the_updates_of_one_image_size():
    recipe = RECIPES["imagenette_fast"]
    assert jobs.stages(recipe) == [
        (0, 896, 64),
        (896, 1568, 96),
        (1568, 2240, 128),
    ]
    assert jobs.stages(with_steps(recipe, 2)) == [(0, 1, 64), (1, 2, 96)]
    assert jobs.stages(RECIPES["quickstart"]) == [(0, 780, None)]
    assert jobs.stages(recipe, 1000) == [(1000, 1568, 96), (1568, 2240, 128)]
