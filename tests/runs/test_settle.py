"""What is asked for, against what the network and the data allow."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from keras_resnet.config.architectures import ARCHITECTURES
from keras_resnet.config.augmentations import InceptionCrop
from keras_resnet.config.datasets import DATASETS
from keras_resnet.config.preprocessing import (
    EARLIER,
    Preprocessing,
    default_preprocessing,
)
from keras_resnet.config.recipes import RECIPES
from keras_resnet.config.schedules import CosineDecay, StepDecay
from keras_resnet.config.spec import doubling
from keras_resnet.data import pipelines, sources
from keras_resnet.devices.find import Devices
from keras_resnet.runs.build import as_weights_want
from keras_resnet.runs.differ import differences
from keras_resnet.runs.job import equal_batches
from keras_resnet.runs.lengths import with_lengths
from keras_resnet.runs.request import TrainRequest
from keras_resnet.runs.settle import (
    as_begun,
    check_batch_size,
    check_steps_per_execution,
    settle,
)

ONE = Devices("cpu", ("cpu:0",))


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Twelve photographs a class, in folders."""
    folder = tmp_path_factory.mktemp("photos") / "photos"
    random = np.random.default_rng(0)
    for name in ("cat", "dog"):
        (folder / name).mkdir(parents=True)
        for number in range(12):
            pixels = random.integers(0, 256, (40, 52, 3), "uint8")
            Image.fromarray(pixels).save(folder / name / f"{number}.png")
    return folder


def settled(**options):
    return settle(TrainRequest(**options), ONE)


@pytest.mark.parametrize(("network", "side"), [("resnet20", 28), ("resnet18", 224)])
def test_greyscale_images_suit_every_stem(network, side):
    job = settled(data="fashion_mini", network=network)
    assert job.name == f"{network}_on_fashion_mini"
    batches = pipelines.training_batches(
        job.splits.train,
        job.preprocessing,
        replace(job.recipe, batch_size=2),
        classes=10,
        seed=0,
    )
    images, labels = next(iter(batches))
    assert images.shape == (2, side, side, 1)
    assert labels.shape == (2,)
    # Normalized: within a few standard deviations of nothing.
    assert abs(float(images.numpy().mean())) < 2


@pytest.mark.exhaustive
def test_every_recipe_settles_on_photographs(photos):
    for name, recipe in RECIPES.items():
        job = settled(recipe=name, data=photos, batch_size=4, precision="float32")
        assert job.name == f"{name}_on_photos"
        assert job.splits.class_names == ("cat", "dog")
        for kept in ("mixing", "label_smoothing", "rand_augment", "erasing"):
            assert getattr(job.recipe, kept) == getattr(recipe, kept)
        assert job.recipe.augmentation == recipe.augmentation
        assert type(job.recipe.schedule) is type(recipe.schedule)
        if known := recipe.preprocessing:
            # Photographs keep their aspect ratio, and are seen as they were taken.
            own = replace(known, resize=known.resize or max(known.size))
            assert job.preprocessing == replace(own, exif_orientation=True)
        assert job.recipe.target is None


def test_photographs_of_ones_own_are_turned_upright(photos):
    for network in ("resnet20", "resnet18"):
        assert settled(data=photos, network=network).preprocessing.exif_orientation
    moved = {"recipe": "resnet50_fb_imagenet", "data": photos, "batch_size": 4}
    job = settled(**moved)
    assert job.preprocessing.exif_orientation
    assert job.preprocessing.crop_rounding == "ceil"  # As the recipe's source.
    undone = {"preprocessing.exif_orientation": False}
    assert not settled(**moved, changes=undone).preprocessing.exif_orientation
    assert job.settings()["exif_orientation"] and job.settings()["crop_rounding"]


def test_published_protocols_take_files_as_they_are_stored():
    published = [r for r in RECIPES.values() if r.dataset.startswith("imagene")]
    rows = [recipe.preprocessing for recipe in published]
    rows.append(DATASETS["imagenet2012"].preprocessing)
    assert not any(row.exif_orientation for row in rows if row is not None)


def test_a_run_that_was_begun_earlier_keeps_its_images(photos):
    job = settled(data=photos, network="resnet18", precision="float32", xla="off")
    assert as_begun(job, {}) == job
    as_it_was = as_begun(job, EARLIER).preprocessing
    assert as_it_was == replace(job.preprocessing, **EARLIER) != job.preprocessing


def test_a_recipe_has_as_many_epochs_on_own_images(photos):
    recipe = RECIPES["resnet50_tv2_imagenet"]
    asked = {"recipe": recipe.name, "data": photos, "precision": "float32"}
    job = settled(batch_size=4, **asked)
    epochs = recipe.steps * recipe.batch_size / 1_271_167
    assert job.recipe.steps == round(epochs * job.splits.train.size / 4)
    # The average spans the same share of the updates.
    before, after = (
        one.average.every / one.steps / -np.log(one.average.decay)
        for one in (recipe, job.recipe)
    )
    assert after == pytest.approx(before, rel=1e-6)
    assert settled(batch_size=4, steps=3, **asked).recipe.steps == 3


def test_a_batch_larger_than_the_data_says_what_to_give(photos):
    with pytest.raises(ValueError, match=r"--batch-size 4 .*--learning-rate 0.00195"):
        settled(recipe="resnet50_tv2_imagenet", data=photos)


def test_changes_are_meant_on_the_data_at_hand(photos):
    asked = {"recipe": "resnet50_tv2_imagenet", "data": photos, "precision": "float32"}
    by_option = settled(batch_size=4, **asked).recipe
    assert settled(changes={"batch_size": 4}, **asked).recipe == by_option
    changes = {"steps": 100, "validate_every": 10, "batch_size": 4}
    job = settled(changes=changes, **asked)
    assert (job.recipe.steps, job.recipe.validate_every) == (100, 10)


def test_a_recipes_own_folder_is_adapted_however_it_is_written(photos, monkeypatch):
    monkeypatch.chdir(photos.parent)
    row = replace(RECIPES["resnet20_cifar10"], name="mine", batch_size=4)
    for dataset in ("photos", str(photos)):
        job = settled(recipe=replace(row, dataset=dataset))
        assert (job.name, job.recipe.mean, job.recipe.target) == (
            "mine_on_photos",
            "channel",
            None,
        )
        assert job.recipe.steps == row.steps
    half = settled(recipe=replace(row, dataset="photos"), val_fraction=0.5)
    assert half.splits.validation.size == 12
    with pytest.raises(ValueError, match="give a folder as `data`"):
        settled(val_fraction=0.5)


def test_lists_in_objects_are_taken(photos):
    decay = StepDecay(learning_rate=0.1, at=[100])
    recipe = replace(
        RECIPES["quickstart"], name="mine", schedule=decay, deviations=["none"]
    )
    assert recipe.deviations == ("none",)
    assert settled(recipe=recipe).recipe.schedule.at == (100,)


def test_objects_are_taken_as_names_are(photos):
    spec = replace(
        ARCHITECTURES["resnet20"],
        name="tiny",
        stem_filters=8,
        stages=doubling("basic", (1, 1, 1), 8),
    )
    recipe = replace(RECIPES["quickstart"], name="mine", network=spec, weight_decay=0.0)
    job = settled(recipe=recipe)
    assert (job.name, job.spec, job.recipe.weight_decay) == ("mine", spec, 0.0)
    json.dumps(job.settings())
    assert settled(network=spec, data=photos, steps=2).name == "tiny_on_photos"
    assert settled(network=spec).overrides == {"network": "tiny"}
    assert settled(recipe=recipe, name="other").name == "other"


@pytest.mark.parametrize(
    "changed",
    [
        {"recipe": replace(RECIPES["quickstart"], weight_decay=0.5)},
        {"network": replace(ARCHITECTURES["resnet20"], stem_filters=8)},
    ],
    ids=["recipe", "network"],
)
def test_an_object_may_not_pass_for_a_published_row(changed):
    with pytest.raises(ValueError, match="needs a name of its own"):
        settled(**changed)


def test_fields_are_changed_by_their_names():
    job = settled(changes={"schedule.learning_rate": 0.02, "augmentation": "none"})
    assert job.recipe.schedule.learning_rate == 0.02
    assert job.recipe.augmentation is None
    assert job.overrides["changes"]["schedule.learning_rate"] == 0.02
    with pytest.raises(ValueError, match="`steps` must be given once.*`epochs`"):
        settled(changes={"steps": 4}, epochs=1)
    decay = CosineDecay(learning_rate=0.3)
    assert settled(changes={"schedule": decay}).recipe.schedule == decay
    with pytest.raises(
        ValueError, match="`schedule` must be given once.*--learning-ra"
    ):
        settled(changes={"schedule": decay}, learning_rate=0.1)
    with pytest.raises(
        ValueError, match="`schedule` must be given once.*schedule.lear"
    ):
        settled(changes={"schedule": decay, "schedule.learning_rate": 0.1})
    with pytest.raises(ValueError, match=r"`dataset` can't be .*\(--data\)"):
        settled(changes={"dataset": "cifar10"})
    with pytest.raises(ValueError, match="must be pairs of a share of the updates and"):
        settled(changes={"image_sizes": [[0, -24]]})
    with pytest.raises(ValueError, match="`schedule.rate` is no field"):
        settled(changes={"schedule.rate": 0.02})
    with pytest.raises(ValueError, match="`momentum` must be at least 0 and less"):
        settled(changes={"momentum": 2.0})
    with pytest.raises(ValueError, match="change a recipe: name one"):
        settled(changes={"momentum": 0.5}, data="fashion_mini", network="resnet20")


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
    found = as_weights_want(own, caffe)
    assert (found.mean, found.std, found.channel_order) == (
        caffe.mean,
        caffe.std,
        "bgr",
    )
    assert found.size == (32, 32)
    assert as_weights_want(own, None) is own
    grey = replace(own, channels=1, mean=(0.0,), std=(1.0,))
    assert as_weights_want(grey, caffe) is grey


def test_epochs_become_updates():
    recipe = RECIPES["quickstart"]
    asked = TrainRequest(epochs=1.5, batch_size=100, learning_rate=0.2)
    longer = with_lengths(recipe, 13_300, asked)
    assert longer.batch_size == 100
    assert longer.steps == 200
    assert longer.schedule == replace(recipe.schedule, learning_rate=0.2)


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
    found = equal_batches(64, images, replicas)
    assert found == expected


@pytest.mark.parametrize("replicas", [2, 4, 8])
def test_validation_in_large_batches_leaves_out_few_images(replicas):
    for images in range(200, 3000):
        size, batches = equal_batches(128, images, replicas)
        assert size % replicas == 0
        assert 32 <= size <= 128
        assert 0 <= images - size * batches <= 0.08 * images


def test_more_devices_than_validation_images():
    with pytest.raises(ValueError, match="give each of 4 devices its share"):
        equal_batches(64, 3, 4)


def test_batches_divide_among_devices():
    devices = Devices("cpu", ("cpu:0", "cpu:1", "cpu:2"))
    with pytest.raises(ValueError, match="multiple of the 3 devices"):
        check_batch_size(RECIPES["quickstart"], sources.load("fashion_mini"), devices)


@pytest.mark.parametrize(
    ("count", "backend", "recipe", "message"),
    [
        (2, "torch", "quickstart", "must be 1 on PyTorch"),
        (2, "tensorflow", "resnet110_cifar10", "warms up until the error falls"),
        (3, "jax", "imagenette_fast", r"validate_every \(140\): any of 1, 2, 4, 5, 7,"),
        (3, "jax", "resnet50_tv2_imagenet", r"average.every \(32\)"),
    ],
)
def test_executions_must_divide(count, backend, recipe, message):
    with pytest.raises(ValueError, match=message):
        check_steps_per_execution(
            RECIPES[recipe], count, Devices("cpu", ("cpu:0",)), backend
        )
    check_steps_per_execution(RECIPES[recipe], 1, Devices("cpu", ("cpu:0",)), backend)


# --- Size and augmentation of the images ------------------------------------------


@pytest.mark.parametrize(
    ("network", "recipe"),
    [
        ("resnet18", "resnet50_tv2_imagenet"),
        pytest.param("resnet20", None, marks=pytest.mark.slow),
        pytest.param("resnet18", None, marks=pytest.mark.slow),
        pytest.param("resnet20", "resnet50_tv2_imagenet", marks=pytest.mark.slow),
    ],
)
def test_own_images_can_undo_every_choice(photos, recipe, network):
    asked = {"recipe": recipe, "data": photos, "network": network, "batch_size": 4}
    asked["changes"] = {"image_sizes": []} if recipe else None
    plain = settled(**asked)
    job = settled(augment="light", no_flip=True, size=96, **asked)
    assert job.recipe.augmentation.flip is False
    assert (job.recipe.rand_augment, job.recipe.erasing, job.recipe.mixing) == (
        None,
        0.0,
        (),
    )
    assert job.preprocessing.size == (96, 96)
    assert job.shape == (96, 96, 3)
    assert job.recipe.schedule == plain.recipe.schedule
    # Recorded: asked for, and what is done.
    for name, value in {"augment": "light", "no_flip": True, "size": 96}.items():
        assert job.overrides[name] == value
        assert name not in plain.overrides
    images, _ = next(
        iter(
            pipelines.training_batches(
                job.splits.train, job.preprocessing, job.recipe, classes=2, seed=0
            )
        )
    )
    assert images.shape == (4, 96, 96, 3)


def test_scales_of_own_images_follow_the_size(photos):
    job = settled(data=photos, network="resnet18", size=448, batch_size=4)
    assert job.recipe.augmentation.shorter_side == (512, 960)
    assert (job.preprocessing.resize, job.preprocessing.size) == (512, (448, 448))


def test_a_change_is_made_to_the_augmentation_that_is_asked_for(photos):
    asked = {"data": photos, "recipe": "resnet50_fb_imagenet", "batch_size": 4}
    changes = {"augmentation.area": [0.7, 1.0]}
    job = settled(augment="light", no_flip=True, changes=changes, **asked)
    assert job.recipe.augmentation == InceptionCrop(
        area=(0.7, 1.0), jitter=0.0, color=0.0, flip=False
    )
    with pytest.raises(ValueError, match="`augmentation` must be given once"):
        settled(augment="light", changes={"augmentation": "none"}, **asked)


def test_what_no_recipe_has_is_refused(photos):
    with pytest.raises(ValueError, match="--augment. must be one of none, light, str"):
        TrainRequest(augment="much")
    with pytest.raises(ValueError, match="--size. must be a positive integer"):
        TrainRequest(size=True)
    with pytest.raises(ValueError, match="--set image_sizes"):
        settled(data=photos, recipe="resnet50_tv2_imagenet", batch_size=4, size=96)


@pytest.mark.parametrize(
    ("held", "message"),
    [
        ([], "a folder. Did you mean --data '{}'?"),
        (["settings.json"], "an unfinished run. To go on with it, give the command"),
        (
            ["settings.json", "record.json", "model.keras"],
            "Did you mean --weights '{}',",
        ),
        (["source.json", "model.keras"], "Did you mean --weights '{}',"),
    ],
)
def test_a_folder_is_no_recipe(tmp_path, held, message):
    for name in held:
        (tmp_path / name).touch()
    for folder in (tmp_path, str(tmp_path)):
        with pytest.raises(ValueError, match=re.escape(message.format(tmp_path))):
            settled(recipe=folder)


def test_a_file_is_no_data(tmp_path):
    path = tmp_path / "a.jpg"
    path.touch()
    for data in (path, str(path)):
        with pytest.raises(
            FileNotFoundError, match="'.*a.jpg', which isn't a folder but a file"
        ):
            settled(data=data, network="resnet18")


def test_an_unknown_teacher_is_refused_with_a_suggestion():
    distill = RECIPES["resnet50d_distill_imagenet"].distillation
    mine = replace(
        RECIPES["quickstart"],
        name="mine",
        distillation=replace(distill, teacher="resnet20x"),
    )
    message = "Unknown network as a teacher 'resnet20x'. Did you mean 'resnet20'"
    with pytest.raises(ValueError, match=message):
        settled(recipe=mine)
    changes = {"distillation": {"kind": "Distillation", "teacher": "resnet20x"}}
    with pytest.raises(ValueError, match=message):
        settled(changes=changes)


def test_options_that_ask_for_what_is_there_make_no_other_run():
    before, row = settled(), RECIPES["quickstart"]
    spelled = {
        "steps": row.steps,
        "batch_size": row.batch_size,
        "learning_rate": row.schedule.learning_rate,
        "changes": {"weight_decay": row.weight_decay},
    }
    job = as_begun(settled(**spelled), {"validate_every": row.validate_every})
    assert job.overrides.keys() == spelled.keys()  # The record has them.
    assert not differences(before.settings(), job.settings())
    shorter = job.settings()
    shorter["recipe"]["steps"] -= 1
    told = [key for key, *_ in differences(before.settings(), shorter)]
    assert {"--steps", "steps"} <= set(told)


def test_snapshots_make_no_other_run():
    before, job = settled(), settled(snapshots=5)
    assert job.snapshot_updates() == [0, 195, 390, 585, 780]
    assert before.settings() == job.settings()
    # Earlier versions wrote their number.
    assert not differences(before.settings() | {"snapshots": 3}, job.settings())
    assert job.overrides == before.overrides
    with pytest.raises(ValueError, match="to 781, those .* of the 780 updates"):
        settled(snapshots=782)
    with pytest.raises(ValueError, match="snapshots - 1 divides 6. Received: sn"):
        settled(snapshots=5, steps_per_execution=130)
