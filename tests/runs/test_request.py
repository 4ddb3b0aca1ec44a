"""What is asked for, against what the network and the data allow."""

from dataclasses import replace

import pytest

from keras_resnet.config.architectures import ARCHITECTURES
from keras_resnet.config.preprocessing import Preprocessing, default_preprocessing
from keras_resnet.config.recipes import RECIPES
from keras_resnet.data import pipelines, sources
from keras_resnet.devices.find import Devices
from keras_resnet.runs import request


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
        splits.train, prepare, replace(recipe, batch_size=2), classes=10, seed=0
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
    options = dict(zip(("recipe", "data", "val_fraction"), given, strict=True))
    done = request.complete(options | {"seed": 3})
    assert (done["recipe"], done["val_fraction"], done["seed"]) == (*expected, 3)


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
        request.complete(
            dict(zip(("recipe", "data", "val_fraction"), given, strict=True))
        )


def test_epochs_become_updates():
    recipe = RECIPES["quickstart"]
    options = {"epochs": 1.5, "batch_size": 100, "learning_rate": 0.2}
    longer = request.override(recipe, 13_300, options)
    assert longer.batch_size == 100
    assert longer.steps == 200
    assert longer.schedule == replace(recipe.schedule, learning_rate=0.2)


def test_weights_are_a_file_however_written_or_a_name(tmp_path, monkeypatch):
    def weights(value):
        options = dict.fromkeys(request.CHANGES) | {"weights": value}
        return request.overrides(options)["weights"]

    file = tmp_path / "resnet18.pth"
    file.touch()
    monkeypatch.chdir(tmp_path)
    assert weights("resnet18.pth") == weights(file) == str(file.resolve())
    assert weights("torchvision:IMAGENET1K_V1") == "torchvision:IMAGENET1K_V1"


@pytest.mark.parametrize(
    ("replicas", "images", "expected"),
    [
        (1, 500, (64, 8)),
        (2, 500, (50, 10)),
        (4, 500, (20, 25)),
        (8, 500, (16, 31)),
        (2, 194, (64, 3)),  # Two times a prime: only 2 divides it.
        (8, 9, (8, 1)),
        (2, 2, (2, 1)),
    ],
)
def test_validation_divides_among_devices(replicas, images, expected):
    found = request.validation_in_fit(64, images, replicas)
    assert found == expected


@pytest.mark.parametrize("replicas", [2, 4, 8])
def test_validation_in_large_batches_leaves_out_few_images(replicas):
    for images in range(200, 3000):
        size, batches = request.validation_in_fit(128, images, replicas)
        assert size % replicas == 0
        assert 32 <= size <= 128
        assert 0 <= images - size * batches <= 0.08 * images


def test_more_devices_than_validation_images():
    with pytest.raises(ValueError, match="give each of 4 devices its share"):
        request.validation_in_fit(64, 3, 4)


def test_batches_divide_among_devices():
    devices = Devices("cpu", ("cpu:0", "cpu:1", "cpu:2"))
    with pytest.raises(ValueError, match="multiple of the 3 devices"):
        request.check_batch_size(
            RECIPES["quickstart"], sources.load("fashion_mini"), devices
        )


@pytest.mark.parametrize(
    ("count", "backend", "recipe", "message"),
    [
        (0, "tensorflow", "quickstart", "positive integer"),
        (2, "torch", "quickstart", "must be 1 on PyTorch"),
        (2, "tensorflow", "resnet110_cifar10", "warms up until the error falls"),
        (3, "jax", "imagenette_fast", r"validate_every \(140\): any of 1, 2, 4, 5, 7,"),
        (3, "jax", "resnet50_tv2_imagenet", r"average.every \(32\)"),
    ],
)
def test_executions_must_divide(count, backend, recipe, message):
    with pytest.raises(ValueError, match=message):
        request.check_steps_per_execution(
            RECIPES[recipe], count, Devices("cpu", ("cpu:0",)), backend
        )
    request.check_steps_per_execution(
        RECIPES[recipe], 1, Devices("cpu", ("cpu:0",)), backend
    )
