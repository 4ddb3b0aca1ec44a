"""Recipes say what the papers say, and impossible ones can't be made."""

import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from keras_resnet.config.adapted import for_own_images, with_steps
from keras_resnet.config.architectures import ARCHITECTURES
from keras_resnet.config.augmentations import InceptionCrop, MixUp, PadCropFlip
from keras_resnet.config.datasets import DATASETS
from keras_resnet.config.recipe import Target
from keras_resnet.config.recipes import RECIPES
from keras_resnet.config.schedules import CosineDecay, StepDecay
from keras_resnet.data.pipelines import training_batches
from keras_resnet.data.sources import Examples
from keras_resnet.training.schedules import learning_rate
from tests.helpers import paper_facts
from tests.helpers.smoke import smoke


@pytest.mark.parametrize("name", RECIPES)
def test_recipes_name_known_networks_and_data(name):
    assert RECIPES[name].network in ARCHITECTURES
    assert RECIPES[name].dataset in DATASETS


@pytest.mark.parametrize("network", paper_facts.CIFAR10_ERROR)
def test_cifar_targets_are_the_papers(network):
    recipe = RECIPES[f"{network}_cifar10"]
    assert recipe.target.error == paper_facts.CIFAR10_ERROR[network]
    assert recipe.target.protocol == "single_crop"
    assert recipe.batch_size == 128
    assert recipe.steps == 64_000
    assert recipe.schedule == StepDecay(learning_rate=0.1, at=(32_000, 48_000))
    assert recipe.weight_decay == 1e-4
    assert recipe.momentum == 0.9
    assert DATASETS[recipe.dataset].validation == 5_000


@pytest.mark.parametrize(
    "errors",
    [
        paper_facts.CIFAR_ERROR_V2,
        paper_facts.CIFAR_ERROR_WIDE,
        paper_facts.CIFAR_ERROR_RESNEXT,
    ],
)
def test_targets_on_both_cifars_are_the_papers(errors):
    for network, (on_10, on_100) in errors.items():
        assert RECIPES[f"{network}_cifar10"].target.error == on_10
        if on_100 is not None:
            assert RECIPES[f"{network}_cifar100"].target.error == on_100
    assert RECIPES["wide_resnet16_8_svhn"].target.error == paper_facts.SVHN_ERROR_WIDE


def test_targets_on_imagenet_are_the_sources():
    for name, error in paper_facts.IMAGENET_ERROR.items():
        assert RECIPES[f"{name}_imagenet"].target.error == error
    for name, accuracy in paper_facts.IMAGENET_ACCURACY.items():
        target = RECIPES[f"{name}_imagenet"].target.error
        assert target == pytest.approx(100 - accuracy, abs=1e-6)


@pytest.mark.parametrize("name", paper_facts.STEPS)
def test_learning_rates_fall_where_the_sources_say(name):
    images, batch_size, epochs, falls, factor, rate = paper_facts.STEPS[name]
    recipe = RECIPES[name]
    assert recipe.batch_size == batch_size
    assert abs(recipe.steps * batch_size / images / epochs - 1) < 0.003
    schedule = learning_rate(recipe.schedule, recipe.steps)
    # An epoch has an update more where its last, smaller batch is one.
    updates = recipe.steps / epochs
    assert updates in (images // batch_size, -(-images // batch_size))
    assert float(schedule(0)) == pytest.approx(rate)
    for number, epoch in enumerate(falls):
        before, after = (
            float(schedule(int(epoch * updates) + step)) for step in (-1, 1)
        )
        assert before == pytest.approx(rate * factor**number)
        assert after == pytest.approx(rate * factor ** (number + 1))
    assert float(schedule(recipe.steps - 1)) == pytest.approx(
        rate * factor ** len(falls)
    )


@pytest.mark.parametrize("name", paper_facts.COSINES)
def test_cosines_rise_and_fall_where_the_sources_say(name):
    images, batch_size, epochs, warmup, rate = paper_facts.COSINES[name]
    recipe = RECIPES[name]
    assert abs(recipe.steps * batch_size / images / epochs - 1) < 0.002
    schedule = learning_rate(recipe.schedule, recipe.steps)
    updates = recipe.steps // epochs
    assert float(schedule(warmup * updates)) == pytest.approx(rate, rel=1e-3)
    half = (warmup + epochs) * updates // 2
    assert float(schedule(half)) == pytest.approx(rate / 2, rel=2e-2)
    assert float(schedule(warmup * updates // 2)) == pytest.approx(rate / 2, rel=3e-2)
    assert float(schedule(recipe.steps)) < rate * 1e-4


@pytest.mark.parametrize("name", paper_facts.OF_SOURCES)
def test_rows_are_the_sources_code(name):
    momentum, nesterov, weight_decay, updates, mean, std = paper_facts.OF_SOURCES[name]
    recipe = RECIPES[name]
    assert (recipe.momentum, recipe.nesterov) == (momentum, nesterov)
    assert recipe.weight_decay == weight_decay
    assert recipe.validate_every == updates
    assert recipe.steps % updates == 0
    images = recipe.preprocessing or DATASETS[recipe.dataset].preprocessing
    assert (images.mean, images.std) == (mean, std)


@pytest.mark.parametrize(("beginning", "dataset"), paper_facts.DECLARED)
def test_rows_say_what_they_do_otherwise(beginning, dataset):
    rows = [
        recipe
        for name, recipe in RECIPES.items()
        if name.startswith(beginning) and recipe.dataset == dataset
    ]
    assert rows
    for recipe in rows:
        said = " ".join(recipe.deviations)
        for words in paper_facts.DECLARED[beginning, dataset]:
            assert words in said, (recipe.name, words)
    # The source flips a coin for each image, too: train.lua, hflip.
    assert "flipped" not in " ".join(" ".join(r.deviations) for r in RECIPES.values())


def test_darknets_rate_burns_in_and_falls_with_the_fourth_power():
    recipe = RECIPES["darknet53_imagenet"]
    schedule = learning_rate(recipe.schedule, recipe.steps)
    assert float(schedule(500)) == pytest.approx(0.1 * 0.5**4, rel=1e-3)
    assert float(schedule(400_000)) == pytest.approx(0.1 * 0.5**4, rel=1e-3)


def same_pipeline(recipe):
    """What two recipes have in common whose batches are made in the same way."""
    return (
        DATASETS[recipe.dataset].preprocessing.size,
        recipe.augmentation,
        recipe.rand_augment,
        recipe.erasing,
        recipe.mixing,
        recipe.image_sizes,
        recipe.preprocessing,
        recipe.label_smoothing,
    )


def kind_of_pipeline(recipe):
    """What two recipes have in common whose batches differ by numbers alone."""
    kinds = (type(recipe.augmentation), *map(type, recipe.mixing))
    return kinds, DATASETS[recipe.dataset].storage, bool(recipe.image_sizes)


PIPELINES = {same_pipeline(recipe): name for name, recipe in RECIPES.items()}
ONE_OF_EACH_KIND = {
    kind_of_pipeline(RECIPES[name]): name for name in PIPELINES.values()
}.values()


@pytest.fixture(scope="module")
def photos():
    """Four noisy JPEG files, as an ImageNet of its own."""
    rng = np.random.default_rng(0)
    files = []
    for size in ((300, 400, 3), (400, 260, 3), (256, 256, 3), (280, 500, 3)):
        file = io.BytesIO()
        small = Image.fromarray(rng.integers(0, 256, (20, 20, 3), np.uint8))
        small.resize(size[1::-1]).save(file, "JPEG")
        files.append(file.getvalue())
    return Examples(np.array(files, dtype=object), np.arange(4, dtype=np.int32))


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(
            name, marks=() if name in ONE_OF_EACH_KIND else pytest.mark.exhaustive
        )
        for name in PIPELINES.values()
    ],
)
def test_every_row_builds_its_pipeline(name, photos):
    recipe = smoke(RECIPES[name])
    data = DATASETS[recipe.dataset]
    prepare = recipe.preprocessing or data.preprocessing
    if data.storage == "pixels":
        shape = (8, *prepare.size, prepare.channels)
        images = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
        examples = Examples(images, np.arange(8, dtype=np.int32))
    else:
        examples = photos
    batches = training_batches(
        examples,
        prepare,
        replace(recipe, batch_size=2),
        classes=data.classes,
        seed=0,
        start_step=3,
    )
    images, labels = next(batches.as_numpy_iterator())
    side = recipe.image_sizes[-1][1] if recipe.image_sizes else prepare.size[0]
    assert images.shape == (2, side, side, prepare.channels)
    assert np.isfinite(images).all() and images.std() > 0.1
    if recipe.soft_labels:
        np.testing.assert_allclose(labels.sum(1), 1, atol=1e-5)
        assert labels.shape == (2, data.classes)
    else:
        assert labels.shape == (2,)


@pytest.mark.parametrize("name", RECIPES)
def test_every_row_builds_its_schedule(name):
    recipe = RECIPES[name]
    rate = learning_rate(recipe.schedule, recipe.steps)
    middle = float(rate(recipe.steps // 2) if callable(rate) else rate)
    assert 0 < middle <= recipe.schedule.learning_rate * 1.001


def test_dropout_is_asked_of_networks_that_have_it():
    for recipe in RECIPES.values():
        # Raises where the network has no place for it.
        replace(ARCHITECTURES[recipe.network], dropout=recipe.dropout)
    assert sum(recipe.dropout > 0 for recipe in RECIPES.values()) == 5


def test_only_the_deepest_cifar_nets_warm_up():
    warm = {n for n, r in RECIPES.items() if r.warmup_learning_rate is not None}
    assert warm == {"resnet110_cifar10", "resnet1202_cifar10"}


@pytest.mark.parametrize("name", RECIPES)
def test_smoke_twins_are_short(name):
    twin = smoke(RECIPES[name])
    assert twin.steps == 4
    assert twin.batch_size <= 16
    assert twin.precise_batch_norm <= twin.batch_size
    assert twin.average is None or twin.average.every == 1
    assert type(twin.schedule) is type(RECIPES[name].schedule)


def test_milestones_move_in_proportion():
    short = with_steps(RECIPES["resnet20_cifar10"], 5_000)
    assert short.schedule.at == (2_500, 3_750)
    assert short.validate_every == 400


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"steps": 0}, "`steps` must be a positive integer. Received: steps=0"),
        ({"steps": 2**31}, "`steps` must be at most 1,000,000,000"),
        ({"batch_size": 1.5}, "Received: batch_size=1.5"),
        ({"augmentation": "flip"}, "Received: augmentation=.flip."),
        ({"schedule": StepDecay(learning_rate=0.1, at=(9, 5))}, "must rise"),
        ({"schedule": StepDecay(learning_rate=0.1, at=(70_000,))}, "steps=64000"),
        ({"schedule": "cosine"}, "`schedule` must be one of StepDecay"),
        ({"momentum": 1.0}, "at least 0 and less than 1. Received: momentum=1.0"),
        ({"name": "../mine"}, "as it names a folder"),
        ({"label_smoothing": 1.0}, "Received: label_smoothing=1.0"),
        ({"image_sizes": ((0.1, 96),)}, "must begin at the share 0"),
        ({"image_sizes": ((0, 96), (0.5, 128), (0.5, 160))}, "rise to below 1"),
    ],
)
def test_impossible_recipes_cannot_be_made(change, message):
    with pytest.raises(ValueError, match=message):
        replace(RECIPES["resnet20_cifar10"], **change)


@pytest.mark.parametrize(
    ("part", "values", "message"),
    [
        (CosineDecay, {"learning_rate": -1.0}, "`learning_rate` must be positive"),
        (CosineDecay, {"learning_rate": float("nan")}, "must be positive and finite"),
        (StepDecay, {"learning_rate": 0.1, "at": (), "factor": 0}, "`factor` must"),
        (InceptionCrop, {"area": (0.5, 1.5)}, "`area` must be two numbers that rise"),
        (InceptionCrop, {"aspect": (2, 1)}, "`aspect` must be two numbers that rise"),
        (PadCropFlip, {"padding": 4, "mode": "mirror"}, "'zero' or 'reflect'"),
        (MixUp, {"alpha": 0}, "`alpha` must be positive"),
        (Target, {"error": 5, "protocol": "x", "where": ""}, "Unknown protocol 'x'"),
    ],
)
def test_impossible_parts_cannot_be_made(part, values, message):
    with pytest.raises(ValueError, match=message):
        part(**values)


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
