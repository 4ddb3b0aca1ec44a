"""What is asked for, against what the network and the data allow."""

import pytest

from keras_resnet import request
from keras_resnet.config.architectures import ARCHITECTURES
from keras_resnet.config.recipes import RECIPES
from keras_resnet.data import pipelines, sources
from keras_resnet.training.strategy import Devices


def chosen(network):
    return request.choose(
        "quickstart", "fashion_mini", network, None, val_fraction=0.1, data_dir=None
    )


@pytest.mark.parametrize(("network", "side"), [("resnet20", 28), ("resnet18", 224)])
def test_greyscale_images_suit_every_stem(network, side):
    name, recipe, splits = chosen(network)
    assert name == f"{network}_on_fashion_mini"
    prepare = request.preprocessing_of(recipe, ARCHITECTURES[network], splits)
    batches = pipelines.training_batches(
        splits.train, prepare, recipe.augmentation, batch_size=2, seed=0, steps=1
    )
    images, labels = next(iter(batches))
    assert images.shape == (2, side, side, 1)
    assert labels.shape == (2,)
    # Normalized: within a few standard deviations of nothing.
    assert abs(float(images.numpy().mean())) < 2


def test_epochs_become_updates():
    recipe = RECIPES["quickstart"]
    longer = request.override(recipe, 13_300, None, 1.5, 100)
    assert longer.batch_size == 100
    assert longer.steps == 200


@pytest.mark.parametrize(("replicas", "size"), [(1, 64), (2, 50), (4, 20)])
def test_validation_divides_among_devices(replicas, size):
    splits = sources.load("fashion_mini")  # 500 images for validation.
    devices = Devices("cpu", tuple(f"cpu:{i}" for i in range(replicas)))
    recipe = RECIPES["quickstart"]
    assert request.validation_batch_size(recipe, splits, devices) == size


def test_batches_divide_among_devices():
    devices = Devices("cpu", ("cpu:0", "cpu:1", "cpu:2"))
    with pytest.raises(ValueError, match="multiple of the 3 devices"):
        request.check_batch_size(
            RECIPES["quickstart"], sources.load("fashion_mini"), devices
        )
