"""What a plan says follows from what was measured."""

import re
from dataclasses import replace

from keras_resnet.config.recipes import RECIPES
from keras_resnet.devices.find import ALONE
from keras_resnet.training import plan


def test_larger_images_count_by_their_updates():
    recipe = replace(RECIPES["imagenette_fast"], steps=100, validate_every=50)
    schedule = replace(recipe.schedule, learning_rate=0.1 * 0.0125)
    assert schedule.learning_rate == 0.0012500000000000002
    recipe = replace(recipe, schedule=schedule)
    measured = plan.Measured(
        stages=(
            plan.Stage(side=64, updates=40, first=5.0, update=1.0),
            plan.Stage(side=96, updates=30, first=2.0, update=2.0),
            plan.Stage(side=128, updates=30, first=3.0, update=4.0),
        ),
        validation_batch=0.5,
        memory=3 * 2**30,
    )
    text = plan.text(
        "imagenette_fast",
        recipe,
        ALONE,
        measured,
        done=0,
        examples=8_969,
        validation_batches=10,
        computing="float32",
        notes=(),
    )
    # 10 s of first executions, 40 + 60 + 120 s of updates, two validations of 5 s.
    assert "time      0:04:00 expected" in text
    assert (
        "speed     64.0 images/s at 64 pixels, 32.0 images/s at 96 pixels, 16.0 "
        "images/s at 128 pixels, median of a few updates; the first took 5.0 s" in text
    )
    assert re.search(r"schedule  \w+\(learning_rate=0\.00125, ", text)
    assert "3.0 GiB at the most" in text


def test_labels_fit_their_column():
    recipe = RECIPES["quickstart"]
    measured = plan.Measured((plan.Stage(None, 10, 1.0, 0.5),), 0.5, None)
    text = plan.text(
        "quickstart",
        recipe,
        ALONE,
        measured,
        done=0,
        examples=1_000,
        validation_batches=1,
        computing="float32",
        notes=("One.", "Two."),
    )
    assert "not as published" not in text
    lines = text.splitlines()
    assert lines[-2:] == ["notes     One.", "          Two."]
    assert all(line[9] == " " and line[10] != " " for line in lines)


def test_one_of_anything_is_in_the_singular():
    recipe = replace(RECIPES["quickstart"], batch_size=1, steps=2, validate_every=2)
    measured = plan.Measured((plan.Stage(None, 2, 1.0, 0.5),), 0.5, None)
    text = plan.text(
        "quickstart",
        recipe,
        ALONE,
        measured,
        done=1,
        examples=1,
        validation_batches=1,
        computing="float32",
        notes=(),
    )
    assert "1 image, 1 per device" in text
    assert "epochs of 1 image; 1 validation; 1 update is done" in text
