"""What is asked for, against what the network and the data allow."""

from dataclasses import replace

import pytest

from keras_resnet import request
from keras_resnet.config.architectures import ARCHITECTURES
from keras_resnet.config.preprocessing import Preprocessing, default_preprocessing
from keras_resnet.config.recipes import RECIPES
from keras_resnet.data import pipelines, sources
from keras_resnet.training.strategy import Devices


def chosen(network):
    return request.choose(
        None, "fashion_mini", network, None, val_fraction=0.1, data_dir=None
    )


def test_colours_are_as_the_weights_want_them():
    own = default_preprocessing(ARCHITECTURES["resnet20"])
    caffe = Preprocessing(
        channels=3,
        resize=None,
        size=(224, 224),
        mean=(103.939, 116.779, 123.68),
        std=(1.0, 1.0, 1.0),
        channel_order="bgr",
    )
    found = request.as_weights_want(own, caffe)
    assert (found.mean, found.std, found.channel_order) == (
        caffe.mean,
        caffe.std,
        "bgr",
    )
    assert found.size == (32, 32)
    assert request.as_weights_want(own, None) is own
    grey = replace(own, channels=1, mean=(0.0,), std=(1.0,))
    assert request.as_weights_want(grey, caffe) is grey


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


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ((None, None, None), ("quickstart", None)),
        (("resnet20_cifar10", None, None), ("resnet20_cifar10", None)),
        ((None, "cifar10", None), (None, None)),
        ((None, "photos", None), (None, 0.1)),
        ((None, "photos", 0.2), (None, 0.2)),
    ],
)
def test_defaults_follow_the_data(given, expected):
    assert request.complete(*given) == expected


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (("quickstart", "photos", None), "leave out one of them"),
        ((None, None, 0.2), "give a folder as `data`"),
        ((None, "cifar10", 0.2), "give a folder as `data`"),
    ],
)
def test_what_the_data_has_no_use_for_is_refused(given, message):
    with pytest.raises(ValueError, match=message):
        request.complete(*given)


def test_epochs_become_updates():
    recipe = RECIPES["quickstart"]
    longer = request.override(recipe, 13_300, None, 1.5, 100)
    assert longer.batch_size == 100
    assert longer.steps == 200


@pytest.mark.parametrize(
    ("replicas", "n", "size"), [(1, 500, 64), (2, 500, 50), (4, 500, 20), (8, 496, 16)]
)
def test_validation_divides_among_devices(replicas, n, size):
    splits = sources.load("fashion_mini")  # 500 images for validation.
    devices = Devices("cpu", tuple(f"cpu:{i}" for i in range(replicas)))
    examples, batch_size = request.validation_in_fit(
        RECIPES["quickstart"], splits, devices
    )
    assert (examples.size, batch_size) == (n, size)


def test_more_devices_than_validation_images():
    splits = sources.load("fashion_mini")
    few = sources.Examples(splits.validation.images[:3], splits.validation.labels[:3])
    devices = Devices("cpu", tuple(f"cpu:{i}" for i in range(4)))
    with pytest.raises(ValueError, match="give each of 4 devices its share"):
        request.validation_in_fit(
            RECIPES["quickstart"], replace(splits, validation=few), devices
        )


def test_batches_divide_among_devices():
    devices = Devices("cpu", ("cpu:0", "cpu:1", "cpu:2"))
    with pytest.raises(ValueError, match="multiple of the 3 devices"):
        request.check_batch_size(
            RECIPES["quickstart"], sources.load("fashion_mini"), devices
        )
